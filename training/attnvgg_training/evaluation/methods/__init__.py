"""Ways to say where a network looked, behind one interface: learned maps, methods that are applied
afterwards, and controls that look at nothing."""

from attnvgg_training.evaluation.methods.afterwards import afterwards
from attnvgg_training.evaluation.methods.controls import controls
from attnvgg_training.evaluation.methods.learned import learned
from attnvgg_training.evaluation.methods.method import Kind, Method
from attnvgg_training.evaluation.subject import Subject

__all__ = ["Kind", "Method", "afterwards", "controls", "learned", "methods"]


def methods(subject: Subject) -> list[Method]:
    """All that fit the network: its own maps first, then what is applied afterwards, then the
    controls."""
    return [*learned(subject), *afterwards(subject), *controls()]
