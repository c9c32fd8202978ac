"""The shards of an evaluation on the command line: one process' share, and `retinanet merge`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_retinanet.cli.arguments import Data, Split, output_folder
from keras_retinanet.cli.console import counted, described_dataset, out, print_metrics
from keras_retinanet.cli.evaluation_report import write_evaluation_report

SHARD_HELP = (
    "Evaluate share I of N, 0/N to N-1/N, and write its part into --output; `retinanet merge` "
    "makes one evaluation of all parts."
)


def run_shard(
    file: Path,
    detector: Any,
    dataset: Any,
    shard: Any,
    output: Path,
    batch_size: int,
    max_detections: int,
) -> None:
    """Write a shard's part, and say what was done."""
    from keras_retinanet.evaluation.shards.evaluate_shard import evaluate_shard
    from keras_retinanet.system.digests import sha256

    path, num_images = evaluate_shard(
        detector,
        dataset,
        shard,
        output,
        model=sha256(file),
        batch_size=batch_size,
        max_detections=max_detections,
    )
    done = f"{counted(num_images, 'image')} evaluated" if num_images else "was finished already"
    out.print(f"part {shard.index}/{shard.count}: {done}: {path}")


def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="PART...", help="Parts, or folders.")],
    data: Data,
    split: Split = "val",
    output: Annotated[
        Path | None,
        output_folder("Folder for report.html, its plots, metrics.json and detections.json."),
    ] = None,
) -> None:
    """Make one evaluation of the parts that `evaluate --shard` wrote, as of one process."""
    from keras_retinanet.evaluation.evaluate import write_evaluation
    from keras_retinanet.evaluation.shards.evaluate_shard import merge_parts

    evaluator = merge_parts(parts, described_dataset(data, split))
    metrics = evaluator.metrics()
    print_metrics(metrics)
    if output is not None:
        write_evaluation(metrics, evaluator.results, output)
        report = write_evaluation_report(
            evaluator,
            output,
            title=f"{Path(data).name}, {split}",
            facts={"parts": ", ".join(map(str, parts)), "data": f"{data}, {split}"},
        )
        out.print(f"{report}, {output / 'metrics.json'}, {output / 'detections.json'}")
