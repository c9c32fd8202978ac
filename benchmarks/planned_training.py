"""AP of trainings that `train --minutes` plans, over seeds, beside a config in the same time.

    python benchmarks/planned_training.py --data data.yaml --minutes 10 --seeds 0 1 2

Each training is a process of its own, one after the other. The plan is made once, before, and its
time is told apart. A config to compare with is trained as it is, and told with its own time.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import measure


def best(run: Path) -> tuple[float, float]:
    """Return the AP of a run's best model, and its AP50."""
    return max((float(row["AP"]), float(row["AP50"])) for row in measure.evaluations(run))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--against", help="a config to train as well")
    parser.add_argument("--output", type=Path, help="keep the runs here")
    parser.add_argument("settings", nargs="*", help="KEY=VALUE for the plan")
    arguments = parser.parse_args()
    folder = arguments.output or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    plan, data = folder / "plan.yaml", ("--data", arguments.data)
    planning = ("plan", *data, "--minutes", arguments.minutes, "--output", folder)
    seconds = measure.command_line(*planning, *arguments.settings)
    print(f"plan: {seconds:.0f} s, {plan}", flush=True)
    configs = {"planned": str(plan)}
    if arguments.against:
        configs[arguments.against] = arguments.against
    for name, config in configs.items():
        found = []
        for seed in arguments.seeds:
            run = folder / f"{name}-{seed}"
            training = ("train", config, *data, "--output", run, f"training.seed={seed}")
            seconds = measure.command_line(*training)
            found.append(best(run))
            ap, ap50 = found[-1]
            figures = f"AP {ap:.3f}, AP50 {ap50:.3f}, {seconds / 60:.1f} min"
            print(f"{name}, seed {seed}: {figures}", flush=True)
        aps = [ap for ap, _ in found]
        spread = f" ({min(aps):.3f} to {max(aps):.3f})" if len(aps) > 1 else ""
        print(f"{name}: AP {statistics.mean(aps):.3f}{spread}", flush=True)


if __name__ == "__main__":
    main()
