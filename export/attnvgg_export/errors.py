"""What can go wrong in an export, as a user sees it.

    ExportError (ValueError)
    ├── OutputError        the output folder cannot be used
    └── ParityError        an exported graph does not compute what the checkpoint computes
        ├── OutputNamesError   other outputs, or in another order
        ├── AxesError          the batch axis is fixed, or another one is free
        ├── ShapeError         an output of another shape or type
        └── ValuesError        other values; names the output and the largest difference

Damaged bundles raise the errors of attnvgg_bundle.manifest, damaged checkpoints those of
attnvgg_training.checkpoint.
"""


class ExportError(ValueError):
    """The root of this package's errors."""


class OutputError(ExportError):
    """The output folder cannot be used."""


class ParityError(ExportError):
    """An exported graph does not compute what the checkpoint computes."""


class OutputNamesError(ParityError):
    """The graph has other outputs, or has them in another order."""


class AxesError(ParityError):
    """The graph's batch axis is fixed, or another axis is free."""


class ShapeError(ParityError):
    """An output has another shape or type."""


class ValuesError(ParityError):
    """An output has other values."""
