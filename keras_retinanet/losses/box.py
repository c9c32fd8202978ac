"""Box losses: smooth L1 (and L1) of the deltas; GIoU, DIoU and CIoU of the boxes."""

import keras
from keras import ops

from keras_retinanet.conventions import SMOOTH_L1_BETA, Tensor
from keras_retinanet.geometry.boxes import (
    aligned_iou,
    aspect_difference,
    distance_iou,
    generalized_iou,
)
from keras_retinanet.losses.anchor_loss import AnchorLoss


@keras.saving.register_keras_serializable(package="keras_retinanet")
class SmoothL1(AnchorLoss):
    """Smooth L1 of box deltas: `call` maps targets and predictions [..., 4] to losses [...].

    The sum over the four coordinates of |d| - beta / 2 where |d| >= beta, else d^2 / (2 beta);
    beta = 0 is L1 (Fast R-CNN, eq. 3, with Detectron's beta).
    """

    def __init__(
        self,
        beta: float = SMOOTH_L1_BETA,
        reduction: str | None = "sum",
        name: str = "smooth_l1",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        if beta < 0:
            raise ValueError(f"beta must not be negative, got {beta}")
        self.beta = beta

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        distance = ops.abs(y_pred - y_true)
        if self.beta > 0:
            quadratic = ops.square(distance) * (0.5 / self.beta)
            distance = ops.where(distance < self.beta, quadratic, distance - 0.5 * self.beta)
        return ops.sum(distance, axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "beta": self.beta}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class GIoULoss(AnchorLoss):
    """1 - GIoU of boxes, xyxy: `call` maps boxes [..., 4] to losses [...] between 0 and 2.

    Unlike L1 it weighs an error by the box's size (Rezatofighi et al. 2019).
    """

    needs_boxes = True

    def __init__(self, reduction: str | None = "sum", name: str = "giou_loss") -> None:
        super().__init__(reduction=reduction, name=name)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return 1.0 - generalized_iou(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_retinanet")
class DIoULoss(AnchorLoss):
    """1 - DIoU of boxes, xyxy: `call` maps boxes [..., 4] to losses [...] between 0 and 2.

    Unlike GIoU it also pulls a box that lies within the other to its centre (Zheng et al. 2020).
    """

    needs_boxes = True

    def __init__(self, reduction: str | None = "sum", name: str = "diou_loss") -> None:
        super().__init__(reduction=reduction, name=name)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return 1.0 - distance_iou(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_retinanet")
class CIoULoss(AnchorLoss):
    """1 - DIoU + alpha v of boxes, xyxy: `call` maps boxes [..., 4] to losses [...].

    v is the difference of the boxes' shapes, and alpha = v / (1 - IoU + v), which has no gradient,
    lets it count where the boxes overlap already (Zheng et al. 2020, eq. 8 to 11).
    """

    needs_boxes = True

    def __init__(self, reduction: str | None = "sum", name: str = "ciou_loss") -> None:
        super().__init__(reduction=reduction, name=name)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        shape = aspect_difference(y_true, y_pred)
        whole = 1.0 - aligned_iou(y_true, y_pred) + shape
        weight = ops.where(shape > 0, shape / ops.where(shape > 0, whole, 1.0), 0.0)
        return 1.0 - distance_iou(y_true, y_pred) + ops.stop_gradient(weight) * shape
