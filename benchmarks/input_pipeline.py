"""Images per second of the training pipeline: decode, flip, resize, anchors matched, batched.

Needs a data set: by default coco_subset in the folder KERAS_RETINANET_DATA.
"""

import sys
import time
from pathlib import Path

import measure


def main() -> None:
    parser = measure.parser(__doc__)
    default = Path(__file__).parents[1] / "configs" / "data" / "coco_subset.yaml"
    parser.add_argument("--data", default=default, help="data YAML; its split train is read")
    parser.add_argument("--size", type=int, default=640, help="side of the square input")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--passes", type=int, default=5, help="times through the data set")
    options = parser.parse_args()

    import tensorflow as tf

    from keras_retinanet import (
        AnchorGenerator,
        InputPolicy,
        TrainingPlan,
        load_dataset,
        training_batches,
    )
    from keras_retinanet.data.image_files import decode_image
    from keras_retinanet.errors import UserError

    try:
        dataset = load_dataset(options.data, "train", decode_images=False)
    except UserError as error:
        sys.exit(f"input_pipeline.py: {error}")
    policy = InputPolicy("square", options.size)
    plan = TrainingPlan(dataset.heights, dataset.widths, policy, options.batch_size)
    anchors = AnchorGenerator()
    batches = training_batches(dataset, plan, anchor_generator=anchors)
    # What no pipeline can do without: the decoder alone, on the same cores.
    decoder = (
        tf.data.Dataset.from_tensor_slices(dataset.image_paths)
        .repeat()
        .map(lambda path: decode_image(tf.io.read_file(path)), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )

    full, decoding = iter(batches), iter(decoder)
    steps = plan.steps_per_epoch
    num_images = steps * options.batch_size

    def rate(pull: object, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            next(pull)
        return num_images / (time.perf_counter() - start)

    rate(full, steps), rate(decoding, num_images)  # file cache and tf.data's tuning
    rates = {"pipeline": [], "decoder": []}
    for _ in range(options.passes):
        rates["pipeline"].append(rate(full, steps))
        rates["decoder"].append(rate(decoding, num_images))
    result = {
        "images_per_second": measure.spread(rates["pipeline"]),
        "decoder_alone_images_per_second": measure.spread(rates["decoder"]),
        "anchors": sum(anchors.num_anchors_per_level(options.size, options.size)),
        "size": options.size,
        "batch_size": options.batch_size,
        "images": len(dataset),
    }
    result["share_of_decoder"] = (
        result["images_per_second"]["median"] / result["decoder_alone_images_per_second"]["median"]
    )
    print(
        f"{options.size} px, {result['anchors']} anchors, batch {options.batch_size}: "
        f"{result['images_per_second']['median']:.0f} images/s "
        f"(min {result['images_per_second']['min']:.0f}, "
        f"max {result['images_per_second']['max']:.0f}); "
        f"the JPEG decoder alone: {result['decoder_alone_images_per_second']['median']:.0f}"
    )
    measure.finish(result, options.json)


if __name__ == "__main__":
    main()
