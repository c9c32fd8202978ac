"""The errors that a user can mend; the command line prints them as one line, no traceback."""


class UserError(ValueError):
    """Something given by the user cannot be used; the message says what, and how to mend it."""


class ConfigError(UserError):
    """A setting is unknown, or its value does not fit."""


class DataError(UserError):
    """A data set, an annotation file or an image cannot be used."""


class WeightsError(UserError):
    """Weights or a saved model cannot be read or had."""


class TrainingDiverged(UserError):
    """The loss became NaN or infinite."""
