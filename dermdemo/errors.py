"""Every error the package raises on purpose.

DermdemoError
├── ConfigError       a setting is wrong or unknown
├── DataError         a data set, table or split cannot be used
│   └── ImageError    one image cannot be decoded
├── CheckpointError   weights or their metadata are missing, changed or do not fit
├── NotFittedError    a model, head or atlas has not been trained yet
├── TrainingError     a training run ended before its last epoch (NaN, divergence, full disk)
├── JobError          a background job cannot be started, stopped or found
└── AuthError         a request lacks the right to do what it asks

Messages are sentences for the person at the screen: what is wrong, and what to do about it.
"""


class DermdemoError(Exception):
    """Base of every expected error; its text is fit to be shown to a user."""


class ConfigError(DermdemoError):
    """A setting is out of range, contradicts another, or is not known."""


class DataError(DermdemoError):
    """A data set, lesion table or split cannot be used as it is."""


class ImageError(DataError):
    """An image is unreadable, unsafe or unsuitable.

    Attributes:
        reason: a short stable slug such as ``truncated`` or ``too-large``, for tables and tests.
    """

    def __init__(self, message: str, *, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


class CheckpointError(DermdemoError):
    """Weights or their metadata are missing, changed, or do not fit the model."""


class NotFittedError(DermdemoError):
    """Something that must be trained or fitted first has not been."""


class TrainingError(DermdemoError):
    """A training run could not go on.

    Attributes:
        reason: a short stable slug: ``nan``, ``diverged``, ``disk-full``, ``interrupted``.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class JobError(DermdemoError):
    """A background job cannot be started, stopped or found."""


class AuthError(DermdemoError):
    """The caller may not do this."""
