"""What the detection loss costs: a training step against the same step with a trivial mean loss."""

import argparse
from typing import Any

import measure


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()

    models = {
        "detection_loss": build(options, trivial=False),
        "mean_loss": build(options, trivial=True),
    }
    images, targets = random_batch(options, models["mean_loss"].anchor_generator)
    steps = {
        name: lambda model=model: model.train_on_batch(images, targets)
        for name, model in models.items()
    }
    seconds = measure.alternate(steps, rounds=options.rounds)
    ratios = [a / b for a, b in zip(seconds["detection_loss"], seconds["mean_loss"], strict=True)]
    traffic = {name: int(array.nbytes) for name, array in targets.items()}
    result = {
        "seconds": {name: measure.spread(values) for name, values in seconds.items()},
        "ratio": measure.spread(ratios),
        "ratio_of_minima": min(seconds["detection_loss"]) / min(seconds["mean_loss"]),
        "images_bytes": int(images.nbytes),
        "targets_bytes": traffic,
        "anchors": int(targets["matches"].shape[1]),
    }
    medians = {name: values["median"] for name, values in result["seconds"].items()}
    print(
        f"{options.backbone}, {options.size} px, batch {options.batch_size}, float32, "
        f"{options.classes} classes, {result['anchors']} anchors: "
        f"{medians['detection_loss']:.3f} s a step, with a mean loss {medians['mean_loss']:.3f} s: "
        f"ratio {result['ratio']['median']:.3f} (of minima {result['ratio_of_minima']:.3f})"
    )
    dense = options.batch_size * result["anchors"] * options.classes * 4
    print(
        f"host memory traffic of a batch: images {images.nbytes / 1e6:.2f} MB, targets "
        f"{sum(traffic.values()) / 1e6:.2f} MB (one-hot targets would be {dense / 1e6:.1f} MB)"
    )
    measure.finish(result, options.json)


def build(options: argparse.Namespace, *, trivial: bool) -> Any:
    """Return a model compiled with the detection loss, or with a trivial mean of its outputs."""
    import keras

    from keras_retinanet import DetectionLoss, RetinaNet, SGDWithL2

    def mean_loss(targets: dict, outputs: dict, **_: object) -> dict:
        return {
            "class_loss": keras.ops.mean(outputs["class_logits"]),
            "box_loss": keras.ops.mean(outputs["box_deltas"]),
        }

    model = RetinaNet(options.backbone, options.classes, weights=None, batchnorm="frozen")
    loss = mean_loss if trivial else DetectionLoss()
    model.compile(optimizer=SGDWithL2(1e-4, momentum=0.9, l2=1e-4), loss=loss)
    return model


def random_batch(options: argparse.Namespace, generator: Any) -> tuple[Any, dict[str, Any]]:
    """Return images and targets with seven objects an image, as in COCO."""
    import numpy as np

    from keras_retinanet.geometry.matching import match_anchors

    rng = np.random.default_rng(0)
    size, batch_size = options.size, options.batch_size
    images = rng.integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
    corner = rng.uniform(0, 0.7 * size, (batch_size, 7, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(16, 0.3 * size, corner.shape)], axis=2)
    boxes = boxes.astype(np.float32)
    no_boxes = np.zeros((0, 4), np.float32)
    matches = [
        match_anchors(b, no_boxes, anchor_generator=generator, height=size, width=size)
        for b in boxes
    ]
    labels = rng.integers(0, options.classes, (batch_size, 7), dtype=np.int32)
    return images, {"gt_boxes": boxes, "gt_labels": labels, "matches": np.stack(matches)}


if __name__ == "__main__":
    main()
