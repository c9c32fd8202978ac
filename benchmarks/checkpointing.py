"""What a checkpoint costs: the copy between two steps, and the file that a thread writes."""

import tempfile
import time
from pathlib import Path

import measure


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    from keras_retinanet import DetectionLoss, RetinaNet, SGDWithL2
    from keras_retinanet.models.checkpoint_files import (
        Checkpoint,
        checkpoint_path,
        read_checkpoint,
        write_checkpoint,
    )
    from keras_retinanet.training.runs.training_state import (
        describe_model,
        not_finite,
        put_arrays,
        take_arrays,
    )

    model = RetinaNet(options.backbone, 80, weights=None, batchnorm="frozen")
    model.compile(SGDWithL2(0.01, momentum=0.9, l2=1e-4), loss=DetectionLoss())
    model.optimizer.build(model.trainable_variables)
    seconds: dict[str, list[float]] = {"copy": [], "write": [], "read": []}

    def timed(name: str, start: float) -> None:
        seconds[name].append(time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        for step in range(options.rounds):
            start = time.perf_counter()
            arrays = take_arrays(model)
            assert not_finite(arrays) is None
            timed("copy", start)
            path = checkpoint_path(Path(folder), step % 2)
            start = time.perf_counter()
            write_checkpoint(path, Checkpoint(arrays, {"model": describe_model(model)}))
            timed("write", start)
            start = time.perf_counter()
            put_arrays(model, read_checkpoint(path).arrays, with_metrics=True)
            timed("read", start)
        size = path.stat().st_size
    result = {name: measure.spread(values) for name, values in seconds.items()}
    lines = ", ".join(f"{name} {of['median']:.2f} s" for name, of in result.items())
    print(f"{options.backbone}, 80 classes, SGD with momentum: {size / 1e6:.0f} MB; {lines}")
    print("the copy is between two steps; the file is written while the next steps run")
    measure.finish({"bytes": size, "seconds": result}, options.json)


if __name__ == "__main__":
    main()
