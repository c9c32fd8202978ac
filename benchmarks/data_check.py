"""Images per second of `retinanet data check`: headers and labels, and with full decoding.

Needs a data set: by default bccd in the folder KERAS_RETINANET_DATA. CPU time is told beside wall
time, since only that holds on a machine with other work.
"""

import os
import sys
import time
from pathlib import Path

import measure


def main() -> None:
    parser = measure.parser(__doc__)
    default = Path(__file__).parents[1] / "configs" / "data" / "bccd.yaml"
    parser.add_argument("--data", default=default, help="data YAML")
    parser.add_argument("--splits", nargs="*", default=["train", "val"])
    parser.add_argument("--passes", type=int, default=5)
    options = parser.parse_args()

    from keras_retinanet.data.checks.check import check_dataset
    from keras_retinanet.errors import UserError

    def run(decode: bool) -> tuple[float, float, int]:
        wall, cpu = time.perf_counter(), time.process_time()
        report = check_dataset(options.data, options.splits, decode=decode)
        if not report.num_images:
            sys.exit(f"data_check.py: no image in {options.splits}: {report.findings[0].where}")
        count = report.num_images
        return (
            count / (time.perf_counter() - wall),
            1e3 * (time.process_time() - cpu) / count,
            count,
        )

    result = {}
    for name, decode in (("headers and labels", False), ("with decoding", True)):
        try:
            run(decode)  # file cache, and TensorFlow's graphs
            rates, cpu, counts = zip(*(run(decode) for _ in range(options.passes)), strict=True)
        except UserError as error:
            sys.exit(f"data_check.py: {error}")
        result[name] = {
            "images": counts[0],
            "images_per_second": measure.spread(rates),
            "cpu_ms_per_image": measure.spread(cpu),
        }
        print(
            f"{name}: {counts[0]} images, {measure.spread(rates)['median']:.0f} images/s "
            f"(max {max(rates):.0f}), CPU {measure.spread(cpu)['median']:.2f} ms an image "
            f"(min {min(cpu):.2f})"
        )
    print(f"load average: {os.getloadavg()[0]:.1f}")
    measure.finish(result, options.json)


if __name__ == "__main__":
    main()
