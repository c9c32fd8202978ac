"""A split that lost its labels on the way: no command takes it for a split of background."""

from collections import Counter
from collections.abc import Sequence

from keras_retinanet.data.dataset import DetectionDataset, Finding
from keras_retinanet.data.faults import stop

# Above this share of dropped annotations, the files are not what they were taken for.
MAX_DROPPED_SHARE = 0.5
BOX_DROPPED = "box dropped"
# Kinds of loss that are told, the commonest first.
_MAX_TOLD = 3


def refuse_lost_labels(dataset: DetectionDataset, source: str) -> None:
    """Stop where a split has no class, no object, or has lost most of its annotations.

    Args:
        source: names the split in the message.

    Raises:
        DataError: with the reasons and their first places.
    """
    num_objects, num_images = int((~dataset.is_ignored).sum()), len(dataset)
    num_dropped = sum(finding.action == BOX_DROPPED for finding in dataset.findings)
    num_annotations = dataset.num_boxes + num_dropped
    if not dataset.class_names:
        stop(
            "no class at all",
            source,
            f"{source} names no class, and none of its {num_images} images has an object: look "
            "whether these are the right annotation files",
        )
    elif not num_objects:
        reasons = _reasons(dataset.findings) or _without_reason(dataset)
        stop(
            "split without any object",
            f"{source}: {reasons}",
            f"{source}: none of {num_images} images has an object: {reasons}",
        )
    elif num_dropped > MAX_DROPPED_SHARE * num_annotations:
        share = f"{num_dropped} of {num_annotations}"
        stop(
            "most annotations are dropped",
            f"{source}: {share}",
            f"{source}: {share} annotations are dropped: {_reasons(dataset.findings)}: are these "
            "the right annotations for these images?",
        )


def _reasons(findings: Sequence[Finding]) -> str:
    """Return the commonest reasons for which boxes were dropped, each with its first place."""
    dropped = [finding for finding in findings if finding.action == BOX_DROPPED]
    counts = Counter(finding.problem for finding in dropped)
    first = {finding.problem: finding.where for finding in reversed(dropped)}
    told = [f"{n} x {p} (first: {first[p]})" for p, n in counts.most_common(_MAX_TOLD)]
    return "; ".join(told)


def _without_reason(dataset: DetectionDataset) -> str:
    if dataset.num_boxes:
        return f"all of its {dataset.num_boxes} annotations are regions to ignore"
    return (
        "its annotation files hold no box that is understood; docs/data.md tells what is read of "
        "each format"
    )
