"""Sentences on what an evaluation shows and what to do about it, the most costly first."""

from dataclasses import dataclass

import numpy as np

from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.evaluation.analysis.image_errors import NO_OBJECT, ErrorKind, ImageErrors
from keras_retinanet.reports.evaluation_report.measured import Measured

# What costs less AP than this is not worth a sentence.
MIN_LOST = 0.01
# A share of objects not found that is, whatever TIDE makes of it: of a class whose objects are all
# missed it counts none.
MANY_MISSED = 0.1
# Fewer objects than this make the AP of a class a matter of luck.
FEW_OBJECTS = 20
BAD_CALIBRATION = 0.1
WIDE_INTERVAL = 0.1
# Scores from which a detection that no label matches, or of another class, may be a label's fault.
SUSPECT_SCORE = 0.6


@dataclass(frozen=True)
class Advice:
    """What was found, what to do, and how much AP it is about (0 where that is not known)."""

    found: str
    advice: str
    lost: float = 0.0


def advise(measured: Measured) -> list[Advice]:
    """Return what to do next."""
    costly = [
        Advice(*_ON_ERRORS[kind](measured), lost)
        for kind, lost in measured.lost.lost.items()
        if lost >= MIN_LOST
    ]
    costly.sort(key=lambda advice: -advice.lost)
    if measured.lost.lost[ErrorKind.MISSED] < MIN_LOST and _share_missed(measured) >= MANY_MISSED:
        costly.append(Advice(*_missed(measured)))
    return costly + _on_labels(measured) + _on_figures(measured)


def _share_missed(measured: Measured) -> float:
    missed, total = (sum(column) for column in zip(*measured.missed_by_size.values(), strict=True))
    return missed / max(total, 1)


def points(lost: float) -> str:
    """Return a difference of AP in words: "3.1 points"."""
    return f"{100 * lost:.1f} points"


def _missed(measured: Measured) -> tuple[str, str]:
    sizes = measured.missed_by_size
    missed, total = (sum(column) for column in zip(*sizes.values(), strict=True))
    worst = max(sizes, key=lambda name: sizes[name][0])
    found = f"{missed} of {total} objects are not found, {sizes[worst][0]} of them {worst}"
    if worst == "small":
        return found, "raise image.size, or cut the images into smaller ones"
    return found, (
        "look at them below: are they of a kind that the training images lack? Train longer, and "
        "try the anchors that retinanet anchors --fit finds for the shapes"
    )


def _location(measured: Measured) -> tuple[str, str]:
    count = counted(measured.num_errors[ErrorKind.LOCATION], "box", "boxes")
    return (
        f"{count} on the right object overlap it by less than half",
        "train longer, set loss.box_loss=giou unless it is so already, and look below whether the "
        "labels' boxes are tight and drawn alike",
    )


def _class(measured: Measured) -> tuple[str, str]:
    matrix = measured.confusion[:-1, :-1].copy()
    np.fill_diagonal(matrix, 0)
    found = counted(measured.num_errors[ErrorKind.CLASS], "detection")
    found += " on an object of another class"
    if matrix.any():
        true, taken = np.unravel_index(matrix.argmax(), matrix.shape)
        names = measured.class_names
        found += f"; most often, {names[true]} is taken for {names[taken]} ({_often(matrix.max())})"
    return found, "look whether the labels agree, add images of both classes, or merge the two"


def _often(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _both(measured: Measured) -> tuple[str, str]:
    count = counted(measured.num_errors[ErrorKind.BOTH], "detection")
    return (
        f"{count} with the wrong class and a box that is far off",
        "train longer; if it stays, there are too few images of what they show",
    )


def _duplicate(measured: Measured) -> tuple[str, str]:
    count = counted(measured.num_errors[ErrorKind.DUPLICATE], "detection")
    return f"{count} of objects that are found already", "lower inference.nms_iou_threshold"


def _background(measured: Measured) -> tuple[str, str]:
    count = counted(measured.num_errors[ErrorKind.BACKGROUND], "detection")
    return (
        f"{count} on nothing that is labelled",
        "look below: if they are objects, label them; if not, add images of such backgrounds "
        "without objects to the training set",
    )


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: "1 box", "2 boxes"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


_ON_ERRORS = {
    ErrorKind.MISSED: _missed,
    ErrorKind.LOCATION: _location,
    ErrorKind.CLASS: _class,
    ErrorKind.BOTH: _both,
    ErrorKind.DUPLICATE: _duplicate,
    ErrorKind.BACKGROUND: _background,
}


def _on_labels(measured: Measured) -> list[Advice]:
    suspects = sum(int(is_suspect(errors).sum()) for errors in measured.errors)
    alone = sum(int(is_alone(errors).sum()) for errors in measured.errors)
    advice = []
    if suspects:
        advice.append(
            Advice(
                f"{counted(suspects, 'confident detection')} (score {SUSPECT_SCORE} or more) on "
                "nothing that is labelled, or on a label of another class",
                'look at them below under "label suspects": where the model is right, mend the '
                "label",
            )
        )
    if alone:
        advice.append(
            Advice(
                f"{counted(alone, 'label')} that no detection is about, whatever its score",
                'look at them below under "missed": where there is no such object, mend the label',
            )
        )
    return advice


def is_suspect(errors: ImageErrors) -> np.ndarray:
    """Return which detections of an image contradict its labels with confidence [n]."""
    kinds = np.isin(errors.kinds, (ErrorKind.BACKGROUND, ErrorKind.CLASS))
    return kinds & (errors.scores >= SUSPECT_SCORE) & ~errors.is_excused


def is_alone(errors: ImageErrors) -> np.ndarray:
    """Return which objects no detection of an image found, or was found to be wrong about [m]."""
    is_about = np.zeros(len(errors.is_found), bool)
    is_about[errors.objects[errors.objects != NO_OBJECT]] = True
    return ~is_about


def _on_figures(measured: Measured) -> list[Advice]:
    advice = []
    names, counts = measured.class_names, measured.num_objects
    rare = [f"{names[k]} ({counts[k]})" for k in np.argsort(counts) if 0 < counts[k] < FEW_OBJECTS]
    if rare:
        shown = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        advice.append(
            Advice(
                f"the figures of classes with fewer than {FEW_OBJECTS} objects here are a matter "
                f"of luck: {shown}",
                "put more images of them into this split before comparing models by them",
            )
        )
    if measured.interval is not None and np.diff(measured.interval)[0] > WIDE_INTERVAL:
        low, high = measured.interval
        advice.append(
            Advice(
                f"with other images of the same kind, AP might lie anywhere from {low:.2f} to "
                f"{high:.2f}",
                "do not choose between models whose AP differs by less; evaluate on more images",
            )
        )
    error = measured.calibration.error
    if error is not None and error > BAD_CALIBRATION:
        advice.append(
            Advice(
                f"scores are off by {100 * error:.0f} percentage points from the share of "
                "detections that are right",
                "do not read a score as a probability; keep detections of "
                f"{measured.best_score:.2f} or more, the threshold with the best F1",
            )
        )
    most = measured.max_detections
    crowded = sum(int((~image.is_ignored).sum() > most) for image in measured.objects)
    if crowded:
        counting = f"COCO counts {most}" if most == MAX_DETECTIONS else f"{most} count here"
        advice.append(
            Advice(
                f"{counted(crowded, 'image')} with more than {most} objects, where, of detections, "
                f"{counting}: even a perfect detector would stay below 1",
                "cut the images into smaller ones, or count more: retinanet evaluate "
                "--max-detections 300 or 1000",
            )
        )
    return advice
