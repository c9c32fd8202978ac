"""MetricsHistory: every epoch's and evaluation's figures, and metrics.csv made of them."""

import csv
import io
import math
from pathlib import Path
from typing import Any

from keras_retinanet.system.atomic_files import write_whole
from keras_retinanet.training.callbacks.clock import Clock
from keras_retinanet.training.callbacks.run_callback import Evaluation, RunCallback


class MetricsHistory(RunCallback):
    """Keeps the logs of all epochs, and of evaluations between them, as rows of a CSV file.

    The file is a picture of `rows`, written anew each time: columns may come later than the first
    row, a restart leaves no row twice, and whoever reads it sees a whole file.

    Args:
        path: of the CSV file; None: none is written.
    """

    def __init__(self, path: Path | None, *, clock: Clock) -> None:
        super().__init__()
        self.path = path
        self.clock = clock
        self.progress = clock.progress
        self.rows: list[dict[str, Any]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.progress.is_epoch_end:
            self._add({"epoch": epoch + 1, "step": self.progress.step, **(logs or {})})

    def on_evaluation(self, evaluation: Evaluation) -> None:
        if not self.progress.is_epoch_end:  # otherwise the figures are in the epoch's logs
            place = {"epoch": evaluation.epoch, "step": evaluation.step}
            self._add({**place, "seconds": self.clock.seconds, **evaluation.logs})

    def _add(self, row: dict[str, Any]) -> None:
        self.rows.append({name: _plain(value) for name, value in row.items()})
        self.write()

    def write(self) -> None:
        """Write the file."""
        if self.path is None:
            return
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_whole(self.path, text.getvalue())

    def get_state(self) -> dict:
        return {"rows": [dict(row) for row in self.rows]}

    def set_state(self, state: dict) -> None:
        self.rows = [dict(row) for row in state["rows"]]
        self.write()


def _plain(value: Any) -> Any:
    """Return a number as what JSON holds; NaN and infinity as words, which `float` reads."""
    if isinstance(value, int | str):
        return value
    number = float(value)
    return number if math.isfinite(number) else str(number)
