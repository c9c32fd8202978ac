"""What an evaluation was of: evaluation.json beside its metrics, so that others can be compared."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.errors import DataError
from keras_retinanet.system.atomic_files import write_whole

RECORD_FILE = "evaluation.json"


@dataclass(frozen=True)
class EvaluationRecord:
    """What was measured on what.

    Attributes:
        model: the file; None where it is not known.
        data: as it is given to `load_dataset`, with an absolute path if it is one.
        max_detections: of an image, those that count.
    """

    model: str | None
    data: str
    split: str
    max_detections: int = MAX_DETECTIONS

    def write(self, folder: Path) -> None:
        write_whole(folder / RECORD_FILE, json.dumps(asdict(self), indent=1, ensure_ascii=False))

    @classmethod
    def read(cls, folder: Path) -> "EvaluationRecord | None":
        """Return what was written; None of an evaluation of version 0.1.0, which wrote nothing.

        Raises:
            DataError: the file is damaged.
        """
        path = folder / RECORD_FILE
        if not path.is_file():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path} cannot be read: {error}: evaluate again") from error
