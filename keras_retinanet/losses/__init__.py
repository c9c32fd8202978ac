"""The losses of the paper: of classes and of boxes per anchor, and DetectionLoss over both.

Class targets are integers per anchor (a class, BACKGROUND or IGNORE), never one-hot vectors.
Everything is `keras.ops` and runs on any Keras backend.
"""

from keras_retinanet.losses.anchor_loss import AnchorLoss
from keras_retinanet.losses.binary import (
    BalancedCrossEntropy,
    FocalLoss,
    FocalLossStar,
    HingeLoss,
)
from keras_retinanet.losses.box import CIoULoss, DIoULoss, GIoULoss, SmoothL1
from keras_retinanet.losses.detection import NORMALIZERS, DetectionLoss
from keras_retinanet.losses.hard_examples import OHEM, OHEM1To3
from keras_retinanet.losses.quality import QualityFocalLoss, VarifocalLoss
from keras_retinanet.losses.softmax import SoftmaxFocalLoss

__all__ = [
    "NORMALIZERS",
    "OHEM",
    "AnchorLoss",
    "BalancedCrossEntropy",
    "CIoULoss",
    "DIoULoss",
    "DetectionLoss",
    "FocalLoss",
    "FocalLossStar",
    "GIoULoss",
    "HingeLoss",
    "OHEM1To3",
    "QualityFocalLoss",
    "SmoothL1",
    "SoftmaxFocalLoss",
    "VarifocalLoss",
]
