"""What is wrong with single images of a split, for those who look at them."""

from collections.abc import Sequence

from keras_retinanet.data.checks.check import severity
from keras_retinanet.data.checks.label_checks import BoxFinder, check_boxes
from keras_retinanet.data.dataset import DetectionDataset, Finding
from keras_retinanet.data.images.scan import scan_images
from keras_retinanet.data.raw_annotations import RawAnnotations


def remarks_of_images(
    dataset: DetectionDataset,
    raws: Sequence[RawAnnotations],
    findings: Sequence[Finding],
    images: Sequence[int],
) -> list[list[str]]:
    """Return lines on each of some images: on its file, and on the boxes it was annotated with.

    Args:
        raws: the annotations before cleaning, which know where each box is written.
        findings: of the reading.
    """
    findings = list(findings)
    for raw in raws:
        findings += check_boxes(raw, dataset)
    finders = [BoxFinder(raw) for raw in raws]
    by_place: dict[str, list[str]] = {}
    for finding in findings:
        if severity(finding) != "note":
            line = f"{finding.problem}: {finding.action}"
            by_place.setdefault(finding.where, []).append(line)
    paths = [dataset.image_paths[i] for i in images]
    remarks = []
    for path, scanned in zip(paths, scan_images(paths, with_looks=False), strict=True):
        places = [path]
        for raw, finder in zip(raws, finders, strict=True):
            places += [raw.describe_box(int(t)) for t in finder.boxes_of(path)]
        lines = [line for place in dict.fromkeys(places) for line in by_place.get(place, [])]
        remarks.append([*scanned.remarks, *lines])
    return remarks
