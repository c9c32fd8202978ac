"""Images per second read and decoded out of files of their own, and out of TFRecords in place.

Needs a data set: by default coco_subset in the folder KERAS_RETINANET_DATA.
"""

import sys
import tempfile
import time
from pathlib import Path

import measure


def main() -> None:
    parser = measure.parser(__doc__)
    default = Path(__file__).parents[1] / "configs" / "data" / "coco_subset.yaml"
    parser.add_argument("--data", default=default, help="data YAML; its split train is read")
    parser.add_argument("--passes", type=int, default=5, help="times through the data set")
    options = parser.parse_args()

    import tensorflow as tf

    from keras_retinanet.data.convert.convert import convert
    from keras_retinanet.data.images.address import image_reader
    from keras_retinanet.data.images.decoding import decode_image
    from keras_retinanet.data.source import load_dataset
    from keras_retinanet.errors import UserError

    with tempfile.TemporaryDirectory() as folder:
        try:
            files = load_dataset(options.data, "train", decode_images=False).image_paths
            records = convert(
                options.data,
                Path(folder) / "records",
                target="tfrecord",
                splits=["train"],
                check_images=False,
            )
        except UserError as error:
            sys.exit(f"image_bytes.py: {error}")
        start = time.process_time()
        in_place = load_dataset(records.data_yaml, "train", decode_images=False).image_paths
        result = {"index_cpu_ms_per_image": 1e3 * (time.process_time() - start) / len(in_place)}

        def pulling(paths: list[str], decode: bool) -> tuple[float, float]:
            """Return images per second, and milliseconds of all cores for one."""
            read = image_reader(paths)
            load = (lambda path: decode_image(read(path))) if decode else read
            dataset = tf.data.Dataset.from_tensor_slices(paths)
            dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE)
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in dataset.prefetch(tf.data.AUTOTUNE):
                pass
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            return len(paths) / wall, 1e3 * cpu / len(paths)

        for decode in (False, True):
            kinds = {"files": files, "records": in_place}
            rates = {kind: [] for kind in kinds}
            for number in range(options.passes + 1):
                for kind, paths in kinds.items():
                    rate = pulling(paths, decode)
                    if number:  # the first fills the file cache
                        rates[kind].append(rate)
            for kind, values in rates.items():
                name = f"{'decode' if decode else 'read'}_{kind}"
                result[f"{name}_per_second"] = measure.spread([v[0] for v in values])
                result[f"{name}_cpu_ms"] = measure.spread([v[1] for v in values])
                print(
                    f"{name}: {result[f'{name}_per_second']['median']:.0f} images/s, "
                    f"{result[f'{name}_cpu_ms']['median']:.2f} ms of CPU each"
                )
    measure.finish(result, options.json)


if __name__ == "__main__":
    main()
