"""Pictures with labels: where they come from, and how they reach a training step."""

from attnvgg_training.data.folders import SUFFIXES
from attnvgg_training.data.sources import load
from attnvgg_training.data.split import Dataset, FileSplit, MemorySplit, Split
from attnvgg_training.data.statistics import normalise

__all__ = [
    "SUFFIXES",
    "Dataset",
    "FileSplit",
    "MemorySplit",
    "Split",
    "load",
    "normalise",
]
