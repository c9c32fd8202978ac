"""EarlyStopping: ends a training that gets no better, and says so."""

from collections.abc import Callable

from keras_retinanet.training.callbacks.run_callback import Evaluation, RunCallback
from keras_retinanet.training.progress import Progress


class EarlyStopping(RunCallback):
    """Stops when AP has not risen, or the training loss not fallen, for some time.

    AP is judged at each evaluation, the loss after each epoch. It comes before the evaluation, so
    that an epoch which the loss makes the last one is evaluated.

    Args:
        monitor: "AP" or "loss".
        patience: evaluations (AP) or epochs (loss) without a new best before the training ends.
        min_delta: by how much a value has to be better than the best one to take its place.
        say: is given the line that tells why.
    """

    def __init__(
        self,
        *,
        progress: Progress,
        monitor: str,
        patience: int,
        min_delta: float,
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.progress = progress
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.say = say
        self.best: float | None = None
        self.best_epoch = 0
        self.waited = 0

    def on_evaluation(self, evaluation: Evaluation) -> None:
        if self.monitor == "AP" and evaluation.metrics["AP"] is not None:
            self._judge(evaluation.metrics["AP"], better=1)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.monitor == "loss" and self.progress.is_epoch_end:
            self._judge(float((logs or {})["loss"]), better=-1)

    def _judge(self, value: float, *, better: int) -> None:
        if self.best is None or better * (value - self.best) > self.min_delta:
            self.best, self.best_epoch, self.waited = value, self.progress.epoch, 0
            return
        self.waited += 1
        if self.waited < self.patience or self.stop_reason:
            return
        self.model.stop_training = True
        unit = "evaluation" if self.monitor == "AP" else "epoch"
        unit += "" if self.waited == 1 else "s"
        verb = "risen" if better > 0 else "fallen"
        by = f" by more than {self.min_delta:g}" if self.min_delta else ""
        self.stop_reason = (
            f"early stopping after epoch {self.progress.epoch}, step {self.progress.step}: "
            f"{self.monitor} has not {verb}{by} for {self.waited} {unit}; its best "
            f"was {self.best:.4g} in epoch {self.best_epoch}, now it is {value:.4g}"
        )
        self.say(self.stop_reason)

    def get_state(self) -> dict:
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "stopped": self.stop_reason,
        }

    def set_state(self, state: dict) -> None:
        self.best = state["best"]
        self.best_epoch = state["best_epoch"]
        self.waited = state["waited"]
        self.stop_reason = state["stopped"]
