"""Errors, calibration, and who errs more."""

from collections.abc import Callable
from dataclasses import replace
from math import isnan, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind
from torch import nn

from attnvgg_training.errors import ConfigError
from attnvgg_training.evaluation import peers
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Interval
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    classification,
)

Make = Callable[..., Subject]
UNFAIR = "what they differ by need not come from attention"


def trained(subject: Subject, name: str, seed: int = 0, epochs: int = 30) -> Subject:
    """The same network as if it had been trained for so long from this seed."""
    config = subject.record.config
    train = replace(config.train, seed=seed, epochs=epochs, keep=1 + seed, save_minutes=seed)
    data = replace(config.data, memory=("auto", "device")[seed % 2])
    record = replace(subject.record, config=replace(config, train=train, data=data))
    return replace(subject, name=name, record=record, sha256=f"{name} {seed}")


def among(context: Context, *others: Subject, main: Subject | None = None) -> Context:
    """The same pictures for these networks too."""
    subjects = {"attention": main or context.main} | {other.name: other for other in others}
    made = replace(context, subjects=subjects)
    made.__dict__["test"] = context.test
    return made


def wrong(**errors: int) -> classification.Wrong:
    """So many wrong answers to the first of 100 pictures; `control_2` means control#2."""
    return {
        name.replace("_", "#"): (np.arange(100) < count).astype(np.float64)
        for name, count in errors.items()
    }


def test_calibration_error_is_the_distance_of_confidence_from_accuracy() -> None:
    confidence = np.array([0.9] * 10 + [0.6] * 10)
    correct = np.array([True] * 7 + [False] * 3 + [True] * 6 + [False] * 4)
    found = classification.calibration_error(confidence, correct)
    assert found == pytest.approx(0.5 * 0.2 + 0.5 * 0.0)
    bins = classification.binned(np.array([1.0, 1 / 15]), np.array([True, False]))
    assert [count for *_, count in bins] == [1, 1]  # closed above


def test_the_table_has_what_the_network_answers(context: Context, make: Make) -> None:
    found = classification.run(among(context, trained(make("VGG-control"), "control")))
    rows = {row[0]: row for row in found.tables[0].rows}
    targets = context.targets(context.chosen())
    logits = context.main.model(context.pixels(context.chosen()))
    error = rows["attention"][4]
    assert isinstance(error, Interval)
    assert error.value == pytest.approx(100 * (logits.argmax(1) != targets).float().mean().item())
    assert rows["attention"][6] == pytest.approx(nn.functional.cross_entropy(logits, targets))
    assert [table.title for table in found.tables] == [
        "Error and calibration",
        "Error of each class, %",
    ]


@pytest.mark.parametrize("batch_size", [3, 64])
def test_a_network_that_is_sure_and_wrong_pays_all_of_it(
    context: Context, subject: Subject, batch_size: int
) -> None:
    class Sure(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            assert len(pixels) <= batch_size
            return torch.tensor([1000.0] + [0.0] * 9).expand(len(pixels), -1)

    sure = replace(subject, model=Sure())  # type: ignore[arg-type]
    asked = replace(context, batch_size=batch_size)
    asked.__dict__["test"] = context.test
    found = classification.answered(asked, sure)
    assert -found.log_right.mean() == pytest.approx(900)  # one picture in ten is of that class
    assert (found.confidence == 1).all()


def test_another_network_of_the_same_name_is_asked_anew(context: Context, make: Make) -> None:
    first, second = (trained(make("VGG-GAP"), "gap", seed) for seed in (0, 1))
    head: Any = second.network.head
    with torch.no_grad():
        head.classify.bias.copy_(torch.eye(10)[9] * 1e6)
    found = [classification.answered(among(context, each), each) for each in (first, second)]
    assert (found[1].predicted == 9).all()
    assert (found[0].predicted != 9).any()


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        (10, 40, "The network with attention errs less often than control: -30.00 points"),
        (40, 10, "The network with attention errs more often than control: +30.00 points"),
        (10, 11, "The network with attention cannot be told apart from control: -1.00 points"),
        (10, 10, "The network with attention cannot be told apart from control: +0.00 points"),
    ],
)
def test_sentences_say_who_errs_more(
    context: Context, make: Make, mine: int, theirs: int, words: str
) -> None:
    control, baseline = (trained(make("VGG-control"), name) for name in ("control", "baseline"))
    both = among(context, control, baseline)
    errors = wrong(attention=mine, control=theirs, baseline=0)
    first, second = classification._sentences(both, errors)
    assert first.startswith(words)
    assert "one seed each" in first
    assert "baseline" in second


def test_only_networks_to_compare_with_are_compared_in_words(context: Context, make: Make) -> None:
    names = ("control", "control#2", "baseline", "gap", "permuted", "dp", "attention#2")
    subjects = [trained(make(), name, seed=name.endswith("#2")) for name in names]
    errors = wrong(attention=1, permuted=90, dp=50, attention_2=3)
    errors |= wrong(control=2, control_2=2, baseline=2, gap=2)
    said = " ".join(classification._sentences(among(context, *subjects), errors))
    assert "permuted" not in said
    assert "dp" not in said
    assert "#2" not in said
    assert all(f"apart from {name}" in said for name in ("control", "baseline", "gap"))


def test_what_was_not_given_is_missed_only_by_attention(context: Context, make: Make) -> None:
    no_control, no_baseline = classification.run(context).sentences
    assert no_control.startswith("No control was given (--beside control=CHECKPOINT)")
    assert no_baseline.startswith("No baseline was given (--beside baseline=CHECKPOINT)")
    control = trained(make("VGG-control"), "control")
    assert len(peers.lacking(among(context, control))) == 1
    plain = among(context, trained(make("VGG-16-BN"), "baseline"), main=make("VGG-GAP"))
    (said,) = classification._sentences(plain, wrong(attention=1, baseline=50))
    assert said.startswith("VGG-GAP errs less often than baseline")
    assert "attention" not in said


@pytest.mark.parametrize(
    ("change", "named"),
    [({"epochs": 60}, "train.epochs 30 and 60"), ({}, "")],
)
def test_unequal_training_is_no_seed(
    context: Context, make: Make, change: dict[str, int], named: str
) -> None:
    other = trained(make(), "attention#2", seed=1, **change)
    if not named:
        assert len(classification.run(among(context, other)).tables) == 3
        return
    with pytest.raises(ConfigError, match=f"attention#2=nowhere was trained otherwise.*{named}"):
        classification.run(among(context, other))
    assert not (context.out / "parts").exists(), "it is said before anything is computed"


def test_other_pictures_and_other_networks_are_no_seeds(context: Context, make: Make) -> None:
    first, second = (trained(make("VGG-GAP"), name, n) for n, name in enumerate(("gap", "gap#2")))
    data = replace(second, record=replace(second.record, data={"fingerprint": "another"}))
    with pytest.raises(ConfigError, match="the pictures"):
        peers.check_seeds(among(context, first, data))
    with pytest.raises(ConfigError, match=r"model\.name VGG-GAP and VGG-16-BN"):
        peers.check_seeds(among(context, first, trained(make("VGG-16-BN"), "gap#2", 1)))


def test_a_peer_that_was_trained_otherwise_is_named(context: Context, make: Make) -> None:
    errors = wrong(attention=10, control=10)
    longer = among(context, trained(make("VGG-control"), "control", epochs=60))
    said = " ".join(classification._sentences(longer, errors))
    assert f"(train.epochs 30 and 60): {UNFAIR}" in said
    other = among(context, trained(make("VGG-control", dropout=0.1), "control"))
    assert "(model.dropout 0.4 and 0.1)" in " ".join(classification._sentences(other, errors))
    alike = among(context, trained(make("VGG-control"), "control", seed=3))
    assert UNFAIR not in " ".join(classification._sentences(alike, errors))


def test_seeds_give_an_interval_of_welch() -> None:
    first, second = np.array([10.0, 11.0, 12.0]), np.array([14.0, 16.0])
    found = classification.over_seeds(first, second)
    expected = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert found.value == -4
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    one = classification.over_seeds(first, np.array([14.0, 14.0]))  # the other does not vary
    assert one.high - one.value == pytest.approx(4.3027 * sqrt(1 / 3), rel=1e-4)
    for pair in ((first, second[:1]), (np.array([1.0, 1.0]), np.array([2.0, 2.0]))):
        assert isnan(classification.over_seeds(*pair).low)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ((50, 52), "errs less often than control"),
        ((1, 3), "errs more often than control"),
        ((20, 24), "cannot be told apart from control"),
    ],
)
def test_seeds_are_compared(
    context: Context, make: Make, theirs: tuple[int, int], words: str
) -> None:
    plain = make("VGG-control")
    others = [trained(plain, "control"), trained(plain, "control#2", 1)]
    every = among(context, trained(make(), "attention#2", 1), *others)
    errors = wrong(attention=20, attention_2=22, control=theirs[0], control_2=theirs[1])
    said = classification._sentences(every, errors)
    assert f"Over 2 seeds, and 2 of the other, the network with attention {words}" in said[2]
    assert "one seed each" not in " ".join(said)
    over, less = classification._seeds(every, errors)
    assert [row[:3] for row in over.rows] == [
        ("attention", 2, 21.0),
        ("control", 2, pytest.approx(sum(theirs) / 2)),
    ]
    (row,) = less.rows
    assert row[:4] == ("attention", "control", 2, 2)
    assert isinstance(row[4], Interval)


def test_one_picture_tells_nothing(context: Context, make: Make) -> None:
    both = among(context, trained(make("VGG-control"), "control"))
    one = {"attention": np.array([1.0]), "control": np.array([0.0])}
    said = classification._sentences(both, one)[1]
    assert "cannot be told apart from control: +100.00 points (no interval) of error" in said


def test_one_seed_twice_is_one_seed(context: Context, make: Make) -> None:
    every = among(context, trained(make(), "attention#2"), trained(make("VGG-control"), "control"))
    errors = wrong(attention=20, attention_2=20, control=50)
    over, less = classification._seeds(every, errors)
    assert over.rows[0][:2] == ("attention", 1)
    assert isinstance(less.rows[0][4], Interval)
    assert less.rows[0][4].value == -30
    assert isnan(less.rows[0][4].low)
    assert "one seed each" in classification._sentences(every, errors)[1]


def test_the_network_with_even_maps_may_differ_in_that_they_are(
    make: Make, context: Context
) -> None:
    main, like = context.main, trained(context.main, "even")

    def even(epochs: int = 0) -> Subject:
        config = like.record.config
        train = replace(config.train, learn_maps=False)
        train = replace(train, epochs=epochs or main.record.config.train.epochs)
        return replace(like, record=replace(like.record, config=replace(config, train=train)))

    assert classification._unfair(main, even()) == []
    (said,) = classification._unfair(main, even(epochs=77))
    assert UNFAIR in said
    assert "77" in said
    assert "learn_maps" not in said
    control = replace(even(), name="control")
    assert "train.learn_maps" in classification._unfair(main, control)[0]
