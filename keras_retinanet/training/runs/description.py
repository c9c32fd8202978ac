"""What is known of a run before its first step: files beside its config, and lines in the log."""

import json
import logging
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_retinanet.data.checks.anchor_recall import AnchorRecall
from keras_retinanet.data.dataset import Finding, write_findings
from keras_retinanet.system.atomic_files import write_whole
from keras_retinanet.system.distribution import DISTRIBUTION
from keras_retinanet.training.fine_tuning import TransferReport
from keras_retinanet.training.runs.run_directory import CONFIG_FILE

logger = logging.getLogger(__name__)

# Below this share of objects with an anchor, training says how to fit the anchors to the data.
LOW_ANCHOR_RECALL = 0.95


def describe_run(
    output: Path,
    *,
    findings: Sequence[Finding],
    anchor_recall: AnchorRecall,
    transfer: TransferReport | None,
    matches_by_iou: bool = True,
) -> None:
    """Write environment.json, data_findings.json, anchor_recall.json and init_from.json.

    Args:
        transfer: what the model took over from another; None: it did not.
        matches_by_iou: objects without an anchor of that IoU are not trained, which is warned of.
    """
    write_whole(output / "environment.json", json.dumps(describe_environment(), indent=1))
    write_findings(findings, output / "data_findings.json")
    report_anchor_recall(anchor_recall, output, matches_by_iou=matches_by_iou)
    if transfer is not None:
        report_transfer(transfer, output)


def report_anchor_recall(found: AnchorRecall, output: Path, *, matches_by_iou: bool = True) -> None:
    """Write anchor_recall.json; a low recall is a warning, with the command that helps.

    `output` holds the run's config.yaml, which is what that command reads.
    """
    (output / "anchor_recall.json").write_text(json.dumps(found.as_json(), indent=1))
    if matches_by_iou and found.recall is not None and found.recall < LOW_ANCHOR_RECALL:
        logger.warning(
            "anchor recall %.3f: %d of %d objects have no anchor of IoU %g and cannot be learnt "
            "well: retinanet anchors %s --data DATA --fit",
            found.recall,
            len(found.unmatched),
            len(found.rows),
            found.positive_iou,
            output / CONFIG_FILE,
        )


def report_transfer(transfer: TransferReport, output: Path) -> None:
    """Write init_from.json, and tell which weights were taken over."""
    write_whole(output / "init_from.json", json.dumps(transfer.as_json(), indent=1))
    for line in transfer.lines():
        logger.info("model.init_from: %s", line)


def describe_environment() -> dict[str, Any]:
    """Return what a run depends on beside its config: versions, devices, the command."""
    packages = (DISTRIBUTION, "tensorflow", "keras", "numpy", "pycocotools", "Pillow")
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "devices": [d.name for d in tf.config.list_logical_devices()],
        "packages": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
