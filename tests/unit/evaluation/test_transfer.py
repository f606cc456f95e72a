"""Features for other pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attnvgg_training.errors import ConfigError
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    transfer,
)

Make = Callable[..., Subject]


def test_a_linear_machine_finds_what_can_be_told_apart() -> None:
    generator = np.random.default_rng(0)
    targets = np.arange(60) % 3
    values = generator.normal(size=(60, 5)).astype(np.float32)
    values[np.arange(60), targets] += 5
    half = np.arange(60) < 30
    score = transfer.scored(values, targets, np.flatnonzero(half), np.flatnonzero(~half))
    assert score > 0.9
    noise = generator.normal(size=(60, 5)).astype(np.float32)
    assert transfer.scored(noise, targets, np.flatnonzero(half), np.flatnonzero(~half)) < 0.75


def test_features_after_batch_norm_are_what_the_linear_layer_sees(
    subject: Subject, pixels: Tensor
) -> None:
    descriptor = subject.model.explain(pixels).descriptor
    normed = transfer._normed(subject, descriptor)
    head: Any = subject.network.head
    torch.testing.assert_close(head.classify(normed), subject.model(pixels))
    assert (normed >= 0).all()


def test_transfer_says_what_it_needs(context: Context) -> None:
    with pytest.raises(ConfigError, match="--pictures transfer=SPEC"):
        transfer.run(context)
