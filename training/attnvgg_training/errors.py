"""What can go wrong in training, as a user sees it.

TrainingError (ValueError)
├── ConfigError      a setting is wrong; the message names the flag, the value and the range
├── DataError        a data set is missing, empty, or does not fit the network
├── CheckpointError  a checkpoint cannot be read, or belongs to something else
├── DivergedError    the loss is no longer a number
└── OtherProcessError  another process of the same run has failed, and says why
"""


class TrainingError(ValueError):
    """The root of this package's errors."""


class ConfigError(TrainingError):
    """A setting is wrong."""


class DataError(TrainingError):
    """A data set is missing, empty, or does not fit the network."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be read, or belongs to another network or configuration."""


class DivergedError(TrainingError):
    """The loss is no longer a number."""


class OtherProcessError(TrainingError):
    """Another process of the same run has failed, and says why."""
