"""The planner's rules for the model: from data and machine to settings with reasons.

The constants are rules of thumb, with their source where there is one.
"""

import re
from collections.abc import Sequence
from typing import Literal

from keras_retinanet.conventions import MAX_DETECTIONS, POSITIVE_IOU
from keras_retinanet.data.checks.anchor_fit import fit_anchors
from keras_retinanet.data.checks.anchor_recall import anchor_recall
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.training.planning.decision import Decision
from keras_retinanet.training.planning.input_size import LONGEST, Worth
from keras_retinanet.training.planning.resources import Resources

Target = Literal["server", "edge"]

# Of the heads and the pyramid: the paper's 256 and 4 are half of the work of a small backbone.
SMALL_CHANNELS, SMALL_DEPTH = 96, 2
PHONE_CHANNELS = 64
# Those of Fast R-CNN's code; what they give with GIoU and AdamW: docs/planning.md.
BOX_VARIANCES = [0.1, 0.1, 0.2, 0.2]
# Fitted anchors below this recall leave too many objects without any.
GOOD_RECALL = 0.95
# Sizes that COCO's 100 detections may be raised to; the report then counts as many.
MORE_DETECTIONS = (300, 1000)
# Names of classes that mirroring turns into one another, or into nonsense.
_SIDED = re.compile(r"(^|[^a-z])(left|right)([^a-z]|$)", re.IGNORECASE)
_CHARACTERS = re.compile(r"^[A-Za-z0-9]$")


def network(resources: Resources, *, target: Target) -> list[Decision]:
    """Return the network: what the machine has the power for, and weights for."""
    weights = resources.weights
    decisions = [
        Decision(key, value, weights.reason) for key, value in sorted(weights.settings.items())
    ]
    precision, why = resources.precision
    decisions.append(Decision("model.precision", precision, why))
    if target == "edge":
        small = "a phone has to run it: a light pyramid and light heads"
        decisions += [
            Decision("model.separable", True, f"{small}, with depthwise separable convolutions"),
            Decision("model.fpn_channels", PHONE_CHANNELS, small),
            Decision("model.head_channels", PHONE_CHANNELS, small),
        ]
    elif not resources.gpus:
        small = (
            f"{resources.device}: with the paper's 256 channels and 4 layers, the heads would take "
            "longer than the backbone"
        )
        decisions += [
            Decision("model.fpn_channels", SMALL_CHANNELS, small),
            Decision("model.head_channels", SMALL_CHANNELS, small),
            Decision("model.head_depth", SMALL_DEPTH, small),
        ]
    return decisions


def images(worth: Worth, *, minutes: float, dataset: DetectionDataset) -> list[Decision]:
    """Return the size of the network's input, tiles and flips."""
    size, policy = worth.size, worth.size.policy
    seen = (
        f"half of the objects are larger than {worth.median_side:.0f} px there, nine of ten larger "
        f"than {worth.small_side:.0f}; {minutes:g} minutes show {worth.num_seen:,.0f} images of it"
    )
    kinds = {
        "shorter_side": "images keep their shape, as in the paper",
        "square": "tiles and phones need inputs of one size",
        "stretch": "the clients of TFLite models stretch images, and do nothing else",
    }
    decisions = [
        Decision("image.resize", policy.resize, kinds[policy.resize]),
        Decision("image.size", policy.size, seen),
    ]
    if policy.resize == "shorter_side":
        longest = f"the longer side is at most {LONGEST:.2f} times the shorter, as in the paper"
        decisions.append(Decision("image.max_size", policy.max_size, longest))
    if size.tiling is not None:
        decisions.append(
            Decision(
                "image.tile",
                {"size": size.tiling.size, "overlap": size.tiling.overlap},
                f"scaled as a whole, objects would be too small to see; tiles overlap by the size "
                f"of large objects; {worth.num_images:,} tiles in all",
            )
        )
    mirrored = _sided_classes(dataset.class_names)
    decisions.append(
        Decision(
            "image.horizontal_flip",
            not mirrored,
            f"mirrored, {mirrored} would be something else"
            if mirrored
            else "mirrored images are as likely, for all that class names tell",
        )
    )
    return decisions


def _sided_classes(names: Sequence[str]) -> str:
    sided = [name for name in names if _SIDED.search(name)]
    characters = [name for name in names if _CHARACTERS.match(name)]
    if len(characters) * 2 > len(names) and len(characters) > 1:
        sided += characters
    return ", ".join(sided[:3])


def anchors(dataset: DetectionDataset, policy: InputPolicy, *, target: Target) -> list[Decision]:
    """Return anchors that fit the objects.

    Args:
        dataset: a sample of the training images, cut into tiles where training cuts them.
    """
    if target == "edge":
        few = "one anchor a cell: a ninth of the boxes to suppress on the phone"
        return [
            Decision("anchors.matching", "atss", f"{few}; ATSS needs no more (Zhang et al. 2020)"),
            Decision("anchors.force_match", "best", "objects smaller than a cell get an anchor"),
            Decision("anchors.ratios", [1], few),
            Decision("anchors.scales", [1.5], f"{few}, of 1.5 times the level's size"),
            Decision("anchors.sizes", [16, 32, 64, 128, 256], "two strides of each level"),
        ]
    start = AnchorGenerator(sizes=[16.0, 32.0, 64.0, 128.0, 256.0])
    fitted = fit_anchors(dataset, anchor_generator=start, input_policy=policy)
    recalls = []
    for generator in (AnchorGenerator(), fitted):
        found = anchor_recall(dataset, anchor_generator=generator, input_policy=policy)
        recalls.append(found.recall or 0.0)
    why = (
        f"fitted to the objects at this size: {recalls[1]:.1%} of them have an anchor of IoU "
        f"{POSITIVE_IOU:g}; with the paper's anchors, {recalls[0]:.1%}"
    )
    decisions = [
        Decision(f"anchors.{name}", list(getattr(fitted, name)), why)
        for name in ("sizes", "scales", "ratios")
    ]
    if recalls[1] < GOOD_RECALL:
        lacking = f"{1 - recalls[1]:.1%} of the objects have no anchor of that IoU"
        decisions.append(Decision("anchors.force_match", "best", f"{lacking}: they get their best"))
    return decisions


def losses(*, target: Target, begins_from_detector: bool) -> list[Decision]:
    """Return the losses, and how boxes are coded for them.

    Args:
        begins_from_detector: which codes boxes in its own way; that is for the user to give.
    """
    decisions = [
        Decision("loss.box_loss", "giou", "errors count relative to the size of the box"),
        Decision("loss.box_weight", 2.0, "GIoU's values are smaller than smooth L1's (ATSS, GFL)"),
    ]
    if target == "server" and not begins_from_detector:
        finer = "a step of the optimizer then moves boxes less, and they come to fit better"
        decisions.append(Decision("model.box_variances", BOX_VARIANCES, finer))
    if target == "edge":
        decisions.append(
            Decision("loss.class_loss", "quality_focal", "scores then tell how well a box fits")
        )
    return decisions


def detections(train: DetectionDataset, *, has_val: bool, target: Target) -> list[Decision]:
    """Return how many detections are kept, and from which score on they are shown."""
    most = int(train.num_objects.max(initial=0))
    decisions = []
    if most > MAX_DETECTIONS:
        enough = next((n for n in MORE_DETECTIONS if n >= most), MORE_DETECTIONS[-1])
        decisions.append(
            Decision(
                "inference.max_detections",
                enough,
                f"an image has up to {most} objects; evaluate with --max-detections {enough}",
            )
        )
    if target == "edge":
        decisions.append(Decision("inference.pre_nms_top_k", 200, "fewer boxes to suppress"))
    if has_val:
        decisions.append(
            Decision(
                "inference.thresholds",
                "best",
                "pictures show what the best F1 on val keeps, class by class",
            )
        )
    return decisions
