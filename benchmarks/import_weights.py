"""What `retinanet weights import` takes for a RetinaNet-R50: seconds, and memory beyond the model.

    python benchmarks/import_weights.py
    python benchmarks/import_weights.py model_final_971ab9.pkl

Without files it makes one in torchvision's layout, of random values. Each file is imported in a
process of its own, and another process builds the same model alone: the difference of the two peaks
of resident memory is what the import needs besides.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--worker", choices=("import", "model"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(work(args.files[0], args.worker)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in args.files or [write_file(Path(folder) / "torchvision_layout.pkl")]:
            size = sum(part.stat().st_size for part in files_of(file)) / 2**20
            arguments = arguments_of(file)
            alone = in_process(file, "model", arguments)
            imported = in_process(file, "import", arguments)
            more = imported["peak_mib"] - alone["peak_mib"]
            print(
                f"{file.name}: {size:.0f} MiB; {imported['seconds']:.1f} s, "
                f"{imported['cpu_seconds']:.1f} s of CPU; {more:.0f} MiB beyond the model, "
                f"{more / size:.2f} times the file's size"
            )


def files_of(path: Path) -> list[Path]:
    """Return a file, or those of a preset's folder or of a checkpoint."""
    if path.is_file():
        return [path]
    return [*path.iterdir()] if path.is_dir() else [*path.parent.glob(f"{path.name}.*")]


def in_process(file: Path, worker: str, arguments: dict) -> dict:
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, __file__, str(file), "--worker", worker],
        env={**os.environ, "PYTHONPATH": path, "IMPORT_ARGUMENTS": pickle.dumps(arguments).hex()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def work(file: Path, worker: str) -> dict:
    """Return seconds, without those of importing TensorFlow, and the peak of resident memory."""
    import resource

    from keras_retinanet.models.retinanet import RetinaNet
    from keras_retinanet.weights.import_weights import import_weights

    arguments = pickle.loads(bytes.fromhex(os.environ["IMPORT_ARGUMENTS"]))
    wall, cpu = time.perf_counter(), time.process_time()
    if worker == "model":
        RetinaNet(weights=None, **arguments)
    else:
        import_weights(file)
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }


def arguments_of(file: Path) -> dict:
    """Return the arguments of RetinaNet that the model of a file has."""
    from keras_retinanet.weights.files.read_arrays import read_weights_file
    from keras_retinanet.weights.import_weights import SOURCES

    read = read_weights_file(file)
    source = next(source for source in SOURCES.values() if source.is_own(read.arrays))
    network = source.network(source.renamed(read.arrays), read.about)
    count = network.num_outputs if network.outputs is None else len(network.outputs)
    return {"num_classes": count, **network.arguments}


def write_file(path: Path) -> Path:
    import numpy as np

    from keras_retinanet.models.retinanet import RetinaNet
    from keras_retinanet.models.variant import NetworkVariant
    from keras_retinanet.weights.sources.torchvision_names import TORCHVISION

    variant = NetworkVariant(p6_from="p5")
    model = RetinaNet("resnet50_v1_5", num_classes=91, weights=None, variant=variant)
    arrays = {}
    for layer in model.layers:
        for weight in layer.weights:
            value = weight.numpy()
            if value.ndim == 4:
                value = np.ascontiguousarray(value.transpose(3, 2, 0, 1))
            arrays[f"{TORCHVISION.name_of(layer.name)}.{TORCHVISION.parts[weight.name]}"] = value
    path.write_bytes(pickle.dumps(arrays))
    return path


if __name__ == "__main__":
    main()
