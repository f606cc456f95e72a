"""Errors, calibration, and who errs more."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    classification,
)

Make = Callable[..., Subject]


def test_calibration_error_is_the_distance_of_confidence_from_accuracy() -> None:
    confidence = np.array([0.9] * 10 + [0.6] * 10)
    correct = np.array([True] * 7 + [False] * 3 + [True] * 6 + [False] * 4)
    found = classification.calibration_error(confidence, correct)
    assert found == pytest.approx(0.5 * 0.2 + 0.5 * 0.0)
    bins = classification.binned(np.array([1.0, 1 / 15]), np.array([True, False]))
    assert [count for *_, count in bins] == [1, 1]  # closed above


def test_classification_says_who_errs_more(context: Context, make: Make) -> None:
    other = replace(make("VGG-control"), name="control", sha256="2")
    both = replace(context, subjects={**context.subjects, "control": other})
    both.__dict__["test"] = context.test
    found = classification.run(both)
    errors = {row[0]: row[4] for row in found.tables[0].rows}
    logits = context.main.model(context.pixels(context.chosen()))
    wrong = (logits.argmax(1) != context.targets(context.chosen())).float().mean().item()
    assert errors["attention"].value == pytest.approx(100 * wrong)  # type: ignore[union-attr]
    assert len(found.sentences) == 1
    assert "control" in found.sentences[0]
