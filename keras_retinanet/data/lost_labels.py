"""A split that lost its labels on the way: no command takes it for a split of background."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from keras_retinanet.data.dataset import DetectionDataset, Finding
from keras_retinanet.data.faults import stop

# Above this share of dropped annotations, the files are not what they were taken for.
MAX_DROPPED_SHARE = 0.5
BOX_DROPPED = "box dropped"
# Kinds of loss that are told, the commonest first.
_MAX_TOLD = 3


@dataclass(frozen=True)
class LabelCounts:
    """What is left of a split: numbers of its images, of its boxes, and of those that are objects
    and no regions to ignore."""

    num_images: int
    num_boxes: int
    num_objects: int


def refuse_lost_labels(dataset: DetectionDataset, source: str) -> None:
    """Stop where a split has no class, no object, or has lost most of its annotations.

    Args:
        source: names the split in the message.

    Raises:
        DataError: with the reasons and their first places.
    """
    if not dataset.class_names:
        stop(
            "no class at all",
            source,
            f"{source} names no class, and none of its {len(dataset)} images has an object: look "
            "whether these are the right annotation files",
        )
        return
    num_objects = int((~dataset.is_ignored).sum())
    counts = LabelCounts(len(dataset), dataset.num_boxes, num_objects)
    refuse_lost_counts(counts, dataset.findings, source)


def refuse_lost_counts(counts: LabelCounts, findings: Sequence[Finding], source: str) -> None:
    """Stop where a split has no object, or has lost most of its annotations.

    Args:
        findings: of the split.

    Raises:
        DataError: as `refuse_lost_labels`.
    """
    num_dropped = sum(finding.action == BOX_DROPPED for finding in findings)
    num_annotations = counts.num_boxes + num_dropped
    if not counts.num_objects:
        reasons = _reasons(findings) or _without_reason(counts.num_boxes)
        stop(
            "split without any object",
            f"{source}: {reasons}",
            f"{source}: none of {counts.num_images} images has an object: {reasons}",
        )
    elif num_dropped > MAX_DROPPED_SHARE * num_annotations:
        share = f"{num_dropped} of {num_annotations}"
        stop(
            "most annotations are dropped",
            f"{source}: {share}",
            f"{source}: {share} annotations are dropped: {_reasons(findings)}: are these "
            "the right annotations for these images?",
        )


def _reasons(findings: Sequence[Finding]) -> str:
    """Return the commonest reasons for which boxes were dropped, each with its first place."""
    dropped = [finding for finding in findings if finding.action == BOX_DROPPED]
    counts = Counter(finding.problem for finding in dropped)
    first = {finding.problem: finding.where for finding in reversed(dropped)}
    told = [f"{n} x {p} (first: {first[p]})" for p, n in counts.most_common(_MAX_TOLD)]
    return "; ".join(told)


def _without_reason(num_boxes: int) -> str:
    if num_boxes:
        return f"all of its {num_boxes} annotations are regions to ignore"
    return (
        "its annotation files hold no box that is understood; docs/data.md tells what is read of "
        "each format"
    )
