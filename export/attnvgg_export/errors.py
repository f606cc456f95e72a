"""What can go wrong in an export, as a user sees it.

    ExportError (ValueError)
    ├── OutputError        the output folder cannot be used
    ├── FormatError        a format is unknown, or lacks what it is made of
    └── ParityError        an exported graph does not compute what the checkpoint computes
        ├── AxesError          an axis that must be free is fixed, or the other way round
        └── HeldOutError       less accurate, or maps elsewhere, on held-out pictures

Outputs that differ raise the errors of attnvgg_bundle.compare, damaged bundles those of
attnvgg_bundle.manifest, damaged checkpoints those of attnvgg_training.checkpoint.
"""


class ExportError(ValueError):
    """The root of this package's errors."""


class OutputError(ExportError):
    """The output folder cannot be used."""


class FormatError(ExportError):
    """A format is unknown, or lacks what it is made of."""


class ParityError(ExportError):
    """An exported graph does not compute what the checkpoint computes."""


class AxesError(ParityError):
    """An axis that must be free is fixed, or the other way round."""


class HeldOutError(ParityError):
    """On held-out pictures a graph is less accurate, or its maps look elsewhere."""
