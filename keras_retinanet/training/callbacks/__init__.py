"""Callbacks of a training: what watches it, what saves it, what stops it.

`RunCallback` is the base of those whose state survives a restart; `training.setup.run_callbacks`
puts all of them together.
"""

from keras_retinanet.training.callbacks.clock import Clock
from keras_retinanet.training.callbacks.early_stopping import EarlyStopping
from keras_retinanet.training.callbacks.evaluate_on_dataset import EvaluateOnDataset
from keras_retinanet.training.callbacks.log_learning_rate import LogLearningRate
from keras_retinanet.training.callbacks.metrics_history import MetricsHistory
from keras_retinanet.training.callbacks.progress_line import ProgressLine
from keras_retinanet.training.callbacks.run_callback import Evaluation, RunCallback
from keras_retinanet.training.callbacks.save_checkpoints import SaveCheckpoints
from keras_retinanet.training.callbacks.stop_on_nan import StopOnNaN
from keras_retinanet.training.callbacks.tensorboard import TensorBoard

__all__ = [
    "Clock",
    "EarlyStopping",
    "EvaluateOnDataset",
    "Evaluation",
    "LogLearningRate",
    "MetricsHistory",
    "ProgressLine",
    "RunCallback",
    "SaveCheckpoints",
    "StopOnNaN",
    "TensorBoard",
]
