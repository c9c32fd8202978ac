"""The errors that a user can mend; the command line prints them as one line, no traceback."""

# Longer parts of a message, which quote what was given, are cut out in the middle.
_LONGEST_PART = 500


class UserError(ValueError):
    """Something given by the user cannot be used; the message says what, and how to mend it.

    The message is one line that can be printed, whatever of the user's is quoted in it.
    """

    def __init__(self, message: str) -> None:
        line = message if message.isprintable() else _printable(message)
        super().__init__(", ".join(_shortened(part) for part in line.split(", ")))


class ConfigError(UserError):
    """A setting is unknown, or its value does not fit."""


class DataError(UserError):
    """A data set, an annotation file or an image cannot be used."""


class BucketError(UserError):
    """Something in a bucket cannot be had or written."""


class WeightsError(UserError):
    """Weights or a saved model cannot be read or had."""


class CheckpointError(UserError):
    """A checkpoint cannot be written or read, or does not belong to what is to be trained."""


class TrainingDiverged(UserError):
    """The loss became NaN or infinite."""


class TrainingInterrupted(UserError):
    """A signal ended the training, whose state is saved."""


def _printable(text: str) -> str:
    line = " ".join(part.strip() for part in text.splitlines())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_PART:
        return text
    half = _LONGEST_PART // 2
    return f"{text[:half]} ... {text[-half:]}"
