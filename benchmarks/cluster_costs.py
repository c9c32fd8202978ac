"""What a cluster needs to train R50 by arithmetic: input, gradients' sum, checkpoints. No clock.

The figures behind it that were measured are constants with their source; what accelerators, links
and images are like is assumed, and given by options.
"""

from dataclasses import dataclass

import measure

# `training_batches` at 640 px on two cores (benchmarks/input_pipeline.py, docs/performance.md).
IMAGES_PER_CORE_SECOND = 440 / 2
# RetinaNet-50-FPN with 80 classes; gradients are float32.
TRAINABLE_PARAMETERS = 37_995_252
GRADIENT_BYTES = 4 * TRAINABLE_PARAMETERS
# A checkpoint with momenta, between two steps (benchmarks/checkpointing.py); one worker writes it.
CHECKPOINT_SECONDS = 0.27
SIZES = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Assumed:
    """What was not measured.

    Attributes:
        images_per_second, batch: of an accelerator.
        gigabits: a second, of an accelerator's share of the network, in each direction.
        image_bytes: of a file; Open Images' training set has 561 GB in 1,743,042.
        checkpoint_every: steps.
    """

    images_per_second: float = 50.0
    batch: int = 2
    gigabits: float = 25.0
    image_bytes: float = 322_000.0
    checkpoint_every: int = 1000


def costs(accelerators: int, assumed: Assumed) -> dict[str, float]:
    """Return what a cluster of so many accelerators needs."""
    rate = accelerators * assumed.images_per_second
    step = assumed.batch / assumed.images_per_second
    # A ring sends each part of the gradients round twice, but for the place where it begins.
    sent = 2 * (accelerators - 1) / accelerators * GRADIENT_BYTES
    reduce = sent * 8 / (assumed.gigabits * 1e9)
    pause = CHECKPOINT_SECONDS / assumed.checkpoint_every
    return {
        "images_per_second": rate,
        "cores": rate / IMAGES_PER_CORE_SECOND,
        "read_mb_per_second": rate * assumed.image_bytes / 1e6,
        "sent_mb_per_step": sent / 1e6,
        "reduce_ms": reduce * 1e3,
        # If nothing of the sum is done beside the backward pass, which is the worst case.
        "efficiency": step / (step + reduce + pause),
        "checkpoint_share": pause / (step + reduce + pause),
    }


def table(assumed: Assumed) -> list[str]:
    """Return the lines of a table in Markdown."""
    titles = (
        "accelerators", "images/s", "cores for input", "read, MB/s", "sent a step, MB each",
        "its time", "left of the speed", "checkpoints",
    )  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", "|---:" * len(titles) + "|"]
    for accelerators in SIZES:
        c = costs(accelerators, assumed)
        lines.append(
            f"| {accelerators} | {c['images_per_second']:,.0f} | {c['cores']:,.1f} | "
            f"{c['read_mb_per_second']:,.0f} | {c['sent_mb_per_step']:.0f} | "
            f"{c['reduce_ms']:.0f} ms | {c['efficiency']:.0%} | {c['checkpoint_share']:.1%} |"
        )
    return lines


def main() -> None:
    parser = measure.parser(__doc__)
    for name, default in vars(Assumed()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    options = parser.parse_args()
    assumed = Assumed(**{name: getattr(options, name) for name in vars(Assumed())})
    print("\n".join(table(assumed)))
    rows = {str(size): costs(size, assumed) for size in SIZES}
    measure.finish({"assumed": vars(assumed), "costs": rows}, options.json)


if __name__ == "__main__":
    main()
