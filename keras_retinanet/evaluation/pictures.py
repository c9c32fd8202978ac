"""Pictures of an evaluation: detections beside the ground truth, and precision over recall."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.detection.detector import Detections
from keras_retinanet.detection.drawing import draw_detections, draw_hatched_box
from keras_retinanet.evaluation.coco_eval import IOU_THRESHOLDS, RECALLS

# Detections below this score are not drawn: a model gives up to 100 to an image.
MIN_SCORE = 0.3
SIDE = 480  # the longest of a picture's sides, in pixels
HEADER = 22
MAX_CLASSES = 10  # the commonest; more curves than this cannot be told apart
_GREY = (110, 110, 110)


def truth_and_detections(
    dataset: DetectionDataset, image: int, detections: Detections, *, min_score: float = MIN_SCORE
) -> Image.Image:
    """Return an image twice, with its objects and with its detections.

    Args:
        detections: "boxes" [n, 4] xyxy in pixels of the upright image, "scores" and "classes".
    """
    pixels = dataset.read_image(image)
    scale = min(1.0, SIDE / max(pixels.shape[:2]))
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)

    rows = dataset.rows(image)
    is_ignored = dataset.is_ignored[rows]
    boxes, labels = dataset.boxes[rows] * scale, dataset.labels[rows]
    truth = draw_detections(picture, boxes[~is_ignored], labels[~is_ignored], dataset.class_names)
    for box in boxes[is_ignored]:
        draw_hatched_box(truth, box)
    shown = detections["scores"] >= min_score
    found = draw_detections(
        picture,
        detections["boxes"][shown] * scale,
        detections["classes"][shown],
        dataset.class_names,
        detections["scores"][shown],
    )
    width, height = size
    sheet = Image.new("RGB", (2 * width + 4, height + HEADER), (255, 255, 255))
    sheet.paste(truth, (0, HEADER))
    sheet.paste(found, (width + 4, HEADER))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    draw.text((4, 2), f"objects: {int((~is_ignored).sum())}", fill=_GREY, font=font)
    text = f"detections of score {min_score:g} and more: {int(shown.sum())}"
    draw.text((width + 8, 2), text, fill=_GREY, font=font)
    return sheet


def precision_recall_curves(
    precisions: np.ndarray, class_names: tuple[str, ...], num_objects: np.ndarray
) -> Image.Image:
    """Return a plot of precisions [T, R, K] (-1: no objects): by IoU, and by class at IoU 0.5.

    Args:
        num_objects: [K]; the curves of the commonest classes are drawn.
    """
    # Not pyplot: no window, no state, and safe beside what the caller plots.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    has_objects = precisions[0, 0] > -1
    measured = precisions[:, :, has_objects]
    figure = Figure(figsize=(11, 4.6), dpi=90, layout="constrained")
    by_iou, by_class = figure.subplots(1, 2)
    if measured.size:
        for index in range(0, len(IOU_THRESHOLDS), 2):
            iou, curve = IOU_THRESHOLDS[index], measured[index].mean(axis=1)
            color = (0.0, 0.27 + 0.06 * index, 0.7)
            label = f"IoU {iou:.2f}: AP {curve.mean():.3f}"
            by_iou.plot(RECALLS, curve, color=color, alpha=1 - 0.08 * index, label=label)
        common = [k for k in np.argsort(-num_objects, kind="stable") if has_objects[k]]
        for k in common[:MAX_CLASSES]:
            curve = precisions[0, :, k]
            label = f"{class_names[k]}: AP {curve.mean():.3f} ({num_objects[k]} objects)"
            by_class.plot(RECALLS, curve, label=label)
    left_out = int(has_objects.sum()) - MAX_CLASSES
    by_iou.set_title("Mean of the classes")
    by_class.set_title("At IoU 0.5" + (f" ({left_out} rarer left out)" if left_out > 0 else ""))
    for axes in (by_iou, by_class):
        _frame(axes)
        if measured.size:
            axes.legend(frameon=False, fontsize="x-small", loc="lower left")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _frame(axes: Any) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
