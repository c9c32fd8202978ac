"""What share of an evaluation over a data set is spent outside the network.

The network is the detector's graph: forward pass and post-processing. Every image gets the most
detections that it can have, each measured against all objects: scores have no threshold.
"""

import time
from typing import Any

import measure


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--data", default="configs/data/coco_subset.yaml")
    parser.add_argument("--config", default="coco_subset_r18")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, help="only the first so many images")
    options = parser.parse_args()

    import keras
    import numpy as np

    from keras_retinanet.config.load import load_config
    from keras_retinanet.data.source import load_dataset
    from keras_retinanet.evaluation.evaluate import DatasetEvaluation
    from keras_retinanet.training.setup.model_and_loss import build_model

    keras.utils.set_random_seed(0)
    overrides = ["inference.score_threshold=0", "model.weights=none"]
    config = load_config(options.config, overrides)
    dataset = load_dataset(options.data, "val", decode_images=False)
    if options.images:
        dataset = dataset.select(range(options.images))
    model = build_model(config, dataset.class_names)
    rng = np.random.default_rng(0)
    for weight in model.weights:  # detections of all classes, as a trained model has them
        if "class_head" in weight.path and "kernel" in weight.path:
            weight.assign(rng.normal(0, 0.15, weight.shape))

    evaluation = DatasetEvaluation(model, dataset, batch_size=options.batch_size)
    rounds, found, metrics = timed_rounds(evaluation, options.rounds)
    shares = measure.spread([r["share_outside"] for r in rounds])
    print(
        f"{options.config}, {len(dataset)} images, {len(found.results)} detections, batch "
        f"{options.batch_size}: {shares['median']:.1%} outside the network (min "
        f"{shares['min']:.1%}, max {shares['max']:.1%}); AP {metrics['AP']}"
    )
    measure.finish({"rounds": rounds, "share_outside": shares}, options.json)


def timed_rounds(evaluation: Any, num_rounds: int) -> tuple[list[dict[str, float]], Any, dict]:
    """Return the times of each evaluation, and what the last one found and measured."""
    network = {"seconds": 0.0}
    run = evaluation.detector._run

    def timed(images: Any, sizes: Any) -> dict[str, "_Array"]:
        start = time.perf_counter()
        found = {name: value.numpy() for name, value in run(images, sizes).items()}
        network["seconds"] += time.perf_counter() - start
        return {name: _Array(value) for name, value in found.items()}

    evaluation.detector._run = timed
    rounds = []
    for number in range(num_rounds + 1):
        network["seconds"] = 0.0
        start, cpu = time.perf_counter(), time.process_time()
        found = evaluation.run()
        metrics = found.metrics()
        seconds = time.perf_counter() - start
        if number:  # the first makes the graphs
            rounds.append(
                {
                    "seconds": seconds,
                    "network": network["seconds"],
                    "cpu": time.process_time() - cpu,
                    "share_outside": 1 - network["seconds"] / seconds,
                }
            )
            print(
                f"{seconds:.2f} s, of which {network['seconds']:.2f} s in the network: "
                f"{rounds[-1]['share_outside']:.1%} outside; {rounds[-1]['cpu']:.2f} s of CPU time"
            )
    return rounds, found, metrics


class _Array:
    """What the detector asks `numpy()` of, already fetched."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def numpy(self) -> Any:
        return self._value


if __name__ == "__main__":
    main()
