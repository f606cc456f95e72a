"""Small networks under examination."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attnvgg_training.checkpoint import Record
from attnvgg_training.config import Config
from attnvgg_training.data.split import MemorySplit
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Seeing, Subject
from attnvgg_training.models import ModelConfig
from tiny_networks import WIDTHS, small

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
LABELS = tuple("abcdefghij")


def examined(name: str = "VGG-att3-concat-pc", **values: object) -> Subject:
    """A small random network of a registered name; see tiny_networks."""
    network = small(name, **values)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    model = ModelConfig(name, widths=WIDTHS, **values)  # type: ignore[arg-type]
    record = Record(replace(Config(), model=model), LABELS, MEAN, STD, {"epoch": 1}, {})
    return Subject("attention", Path("nowhere"), record, Seeing(network, MEAN, STD).eval(), "0")


@pytest.fixture
def make() -> Callable[..., Subject]:
    """`examined`, for tests that want another network."""
    return examined


@pytest.fixture(scope="session")
def subject() -> Subject:
    """VGG-att3-concat-pc."""
    return examined()


@pytest.fixture(scope="session")
def pixels() -> torch.Tensor:
    """[4, 3, 32, 32], noise."""
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def targets() -> torch.Tensor:
    """[4]."""
    return torch.tensor([1, 7, 3, 3])


@pytest.fixture
def context(subject: Subject, tmp_path: Path) -> Context:
    """Twenty noisy test pictures of ten classes."""
    made = Context({"attention": subject}, "pictures", None, tmp_path, torch.device("cpu"))
    images = torch.randint(256, (20, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    made.__dict__["test"] = MemorySplit(images.to(torch.uint8), torch.arange(20) % 10)
    return made
