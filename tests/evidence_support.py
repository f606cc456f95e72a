"""Methods for tests of evidence about maps."""

from torch import Tensor

from attnvgg_training.evaluation.methods import Method


def fixed(maps: Tensor) -> Method:
    """Gives these maps, whatever it is asked."""
    return Method("fixed", "learned", False, "a test", lambda pixels, targets: maps[: len(pixels)])
