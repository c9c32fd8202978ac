"""AP with each of the options since the paper switched on by itself, over seeds.

    python benchmarks/option_effects.py --data configs/data/bccd.yaml --seeds 0 1 2

All trainings have the same length in steps, so that a busy machine changes nothing but the time
they take. Each is a process of its own; those that --output already holds are not run again.
"""

import statistics
import tempfile
from pathlib import Path

import measure

CONFIG = "bccd_r18"
# A pretrained backbone, since effects on a network from scratch are those of a start.
BASE = (
    *("model.backbone=efficientnet_lite0", "model.weights=efficientnet-lite0"),
    *("image.size=192", "image.max_size=256", "image.vertical_flip=false"),
    *("schedule.length=4", "training.evaluate_every=4"),
)
ATSS = ("anchors.matching=atss", "anchors.force_match=true")
OPTIONS: dict[str, tuple[str, ...]] = {
    "as in the paper": (),
    "quality_focal": ("loss.class_loss=quality_focal",),
    "varifocal": ("loss.class_loss=varifocal",),
    "giou": ("loss.box_loss=giou", "loss.box_weight=2"),
    "diou": ("loss.box_loss=diou", "loss.box_weight=2"),
    "ciou": ("loss.box_loss=ciou", "loss.box_weight=2"),
    "atss, nine anchors": ATSS,
    "atss, one anchor": (*ATSS, "anchors.ratios=[1]", "anchors.scales=[2]"),
    "one anchor": ("anchors.ratios=[1]", "anchors.scales=[2]"),
    "task_aligned": ("anchors.matching=task_aligned", "anchors.force_match=true"),
    "head_norm: group": ("model.head_norm=group",),
    "box_level_scale": ("model.box_level_scale=true",),
    "box_variances": ("model.box_variances=[0.1,0.1,0.2,0.2]",),
    "normalizer: moving_average": ("loss.normalizer=moving_average",),
    "augment.scale 0.1 to 2": ("augment.scale=[0.1,2]",),
    "repeat_threshold 0.5": ("training.repeat_threshold=0.5",),
    "box_quality: iou": ("model.box_quality=iou",),
    "box_quality: centerness": ("model.box_quality=centerness",),
}


def average_precision(run: Path, data: str, settings: tuple[str, ...]) -> float:
    """Train into `run`, if that has not been done, and return the AP of the last epoch."""
    measure.train_once(run, CONFIG, "--data", data, *settings)
    return float(measure.evaluations(run)[-1]["AP"])


def main() -> None:
    parser = measure.parser(__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--options", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--output", type=Path, help="keep the runs here")
    parser.add_argument("settings", nargs="*", help="KEY=VALUE for all trainings")
    arguments = parser.parse_args()
    folder = arguments.output or Path(tempfile.mkdtemp())
    found: dict[str, list[float]] = {name: [] for name in arguments.options}
    for seed in arguments.seeds:  # every option once before any a second time
        for name in arguments.options:
            run = folder / f"{list(OPTIONS).index(name):02}-{seed}"
            settings = (*BASE, *arguments.settings, *OPTIONS[name], f"training.seed={seed}")
            ap = average_precision(run, arguments.data, settings)
            found[name].append(ap)
            print(f"seed {seed}, {name}: AP {ap:.3f}", flush=True)
    for name, aps in found.items():
        print(f"{name:28} {statistics.mean(aps):.3f}  ({min(aps):.3f} to {max(aps):.3f})")
    measure.finish({"AP": found}, arguments.json)


if __name__ == "__main__":
    main()
