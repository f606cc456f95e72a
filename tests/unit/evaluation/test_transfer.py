"""Features for other pictures."""

from collections.abc import Callable
from dataclasses import replace
from math import isnan, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attnvgg_training.data.split import Dataset, MemorySplit
from attnvgg_training.errors import ConfigError, DataError
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Interval
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    transfer,
)
from attnvgg_training.evaluation.suites.transfer import NORMED, RAW, Score
from tiny_networks import small

Make = Callable[..., Subject]


def elsewhere(context: Context, counts: tuple[int, ...] = (14, 13, 4), **values: Any) -> Context:
    """With so many pictures of each class of another data set, each class of a colour of its own;
    every fifth is for testing."""
    targets = torch.cat([torch.full((n,), c) for c, n in enumerate(counts)])
    images = torch.randint(
        100, (len(targets), 32, 32, 3), generator=torch.Generator().manual_seed(1)
    )
    images[torch.arange(len(targets)), :, :, targets % 3] += 100
    test = torch.arange(len(targets)) % 5 == 0
    train, held = (MemorySplit(images[i].to(torch.uint8), targets[i]) for i in (~test, test))
    made = replace(context, others={"transfer": "others"}, **values)
    made.__dict__["test"] = context.test
    made.__dict__["elsewhere"] = Dataset(train, held, tuple("xyz")[: len(counts)], "others")
    return made


def scores(accuracies: list[float], features: int = 3) -> dict[str, list[Score]]:
    """Of 100 test pictures a split."""
    right = [[1] * round(100 * a) + [0] * round(100 - 100 * a) for a in accuracies]
    return {RAW: [Score(9, 0.01, [1])] * 5, NORMED: [Score(features, 0.01, r) for r in right]}


def test_a_linear_machine_finds_what_can_be_told_apart() -> None:
    generator = np.random.default_rng(0)
    targets = np.arange(60) % 3
    values = generator.normal(size=(60, 5)).astype(np.float32)
    values[np.arange(60), targets] += 5
    train, test = np.arange(30), np.arange(30, 60)
    found = transfer.scored(values, targets, train, test)
    assert found.accuracy > 0.9
    assert (found.features, len(found.right)) == (5, 30)
    assert found.cost in transfer.COSTS
    noise = generator.normal(size=(60, 5)).astype(np.float32)
    assert transfer.scored(noise, targets, train, test).accuracy < 0.75


def test_a_feature_that_is_nearly_dead_divides_nothing_by_zero() -> None:
    targets = np.arange(60) % 3
    values = np.eye(4, dtype=np.float32)[targets]
    values[::7, 3] = np.finfo(np.float32).smallest_subnormal  # its deviation is less than that
    assert transfer.scored(values, targets, np.arange(30), np.arange(30, 60)).accuracy == 1


@pytest.mark.parametrize(
    "name", ["VGG-att3-concat-pc", "VGG-att1-concat-dp", "ResNet-164-att2-concat-pc"]
)
def test_features_after_batch_norm_are_what_the_linear_layer_sees(
    name: str, pixels: Tensor
) -> None:
    network = small(name)
    seen = network.explain(pixels)
    found = transfer.features(network, seen.descriptor)
    head: Any = network.head
    assert list(found) == [RAW, NORMED]
    torch.testing.assert_close(head.classify(found[NORMED]), seen.logits)
    assert (found[NORMED] >= 0).all()
    assert (found[RAW] != found[NORMED]).any()


def test_features_of_independent_heads_are_what_each_linear_layer_sees(
    make: Make, pixels: Tensor
) -> None:
    subject = make("VGG-att3-indep-pc")
    found = transfer.features(subject.network, subject.model.explain(pixels).descriptor)
    heads: Any = subject.network.head
    each = found[NORMED].split([head.classify.in_features for head in heads], dim=1)
    chances = [head.classify(x).softmax(1) for head, x in zip(heads, each, strict=True)]
    mean = torch.stack(chances).mean(0)
    torch.testing.assert_close(mean, subject.model(pixels).softmax(1))


@pytest.mark.parametrize(
    ("name", "kind", "values"),
    [
        ("VGG-control", NORMED, {}),
        ("VGG-16-BN", NORMED, {}),
        ("ResNet-164", RAW, {}),
        ("VGG-GAP", RAW, {}),
        ("VGG-att2-concat-pc", RAW, {"head_norm": False}),
    ],
)
def test_others_have_one_kind_of_features(
    name: str, kind: str, values: dict[str, bool], pixels: Tensor
) -> None:
    network = small(name, **values)
    seen = network.explain(pixels)
    found = transfer.features(network, seen.descriptor)
    assert list(found) == [kind]
    head: Any = network.head
    torch.testing.assert_close(head.classify(found[kind]), seen.logits)


def test_transfer_says_what_it_needs(context: Context) -> None:
    with pytest.raises(ConfigError, match="--pictures transfer=SPEC"):
        transfer.run(context)
    with pytest.raises(DataError, match="fewer than two classes"):
        transfer.run(elsewhere(context, (9, 5)))


def test_all_networks_have_the_same_splits_and_as_many_tries(context: Context, make: Make) -> None:
    control = replace(make("VGG-control"), name="control", sha256="2")
    other = replace(control.record.config.data, geometry="center-crop", holdout=0.3)
    config = replace(control.record.config, data=other)
    control = replace(control, record=replace(control.record, config=config))
    both = elsewhere(context, subjects={"attention": context.main, "control": control})
    found = transfer.run(both)
    assert [row[:2] for row in found.tables[0].rows] == [
        ("attention", RAW),
        ("attention", NORMED),
        ("control", NORMED),
    ]
    assert "27 pictures" in found.tables[0].note  # the class of four is left out
    parts = sorted(path.name for path in (both.out / "parts" / "transfer").glob("*.json"))
    assert parts == sorted(
        f"split-{n}-of-5-{name}.json" for n in range(1, 6) for name in both.subjects
    )
    assert len(found.sentences) == 2  # a baseline is missing


def test_features_are_computed_once_a_network_and_only_if_wanted(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    genuine = transfer._features

    def counted(context: Context, subject: Subject, kept: Any) -> Any:
        asked.append(subject.name)
        return genuine(context, subject, kept)

    monkeypatch.setattr(transfer, "_features", counted)
    first = transfer.run(elsewhere(context))
    assert asked == ["attention"]
    assert transfer.run(elsewhere(context)) == first
    assert asked == ["attention"]
    gap = {"attention": context.main, "gap": replace(context.main, name="gap", sha256="2")}
    transfer.run(elsewhere(context, subjects=gap))
    assert asked == ["attention", "gap"]
    gap["gap"] = replace(context.main, name="gap", sha256="3")
    transfer.run(elsewhere(context, subjects=gap))
    assert asked == ["attention", "gap", "gap"], "another network of the same name"


@pytest.mark.parametrize("batch_size", [4, 64])
def test_features_belong_to_the_pictures_that_are_kept(context: Context, batch_size: int) -> None:
    made = elsewhere(context, batch_size=batch_size)
    kept, targets = transfer.pictures(made)
    found = transfer._features(made, made.main, kept)[RAW]
    data: Any = made.elsewhere
    images = torch.cat([data.train.images, data.test.images])[kept].permute(0, 3, 1, 2) / 255
    expected = made.main.model.explain(images).descriptor.numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    colours = images.mean((2, 3)).argmax(1).numpy()
    assert (colours == targets).all()


def test_the_interval_is_wider_than_if_splits_shared_no_pictures() -> None:
    first, second = [0.5, 0.6, 0.7, 0.6, 0.6], [0.5, 0.5, 0.5, 0.5, 0.5]
    found = transfer.over_splits(first, second)
    spread = sqrt(0.02 / 4)
    assert found.value == pytest.approx(0.1)
    assert found.high - found.value == pytest.approx(2.7764 * spread * sqrt(1 / 5 + 1), rel=1e-3)
    assert transfer.over_splits(first, first) == Interval(0, 0, 0)
    same = transfer.over_splits([0.5] * 5, [0.25] * 5)
    assert same.value == 0.25
    assert isnan(same.low)


@pytest.mark.parametrize(
    ("mine", "words"),
    [
        ([0.70, 0.71, 0.72, 0.71, 0.70], "serve better than the 7 of control"),
        ([0.40, 0.41, 0.42, 0.41, 0.40], "serve worse than the 7 of control"),
        ([0.55, 0.65, 0.60, 0.57, 0.66], "cannot be told apart from the 7 of control"),
        ([0.70, 0.70, 0.70, 0.70, 0.70], "cannot be told apart from the 7 of control"),
    ],
)
def test_sentences_say_whose_features_serve_better(
    context: Context, make: Make, mine: list[float], words: str
) -> None:
    names = ("control", "baseline", "dp")
    others = {name: replace(make("VGG-control"), name=name) for name in names}
    every = replace(context, subjects={"attention": context.main, **others})
    found = {name: {NORMED: scores([0.6] * 5, 7)[NORMED]} for name in names}
    said = transfer._sentences(every, {"attention": scores(mine), **found})
    assert len(said) == 2
    assert said[0].startswith(
        f"On other pictures the 3 features of the network with attention {words}"
    )
    assert "baseline" in said[1]
    assert "100.0 %" not in said[0], "what attention reaches before batch norm is no second try"


def test_a_network_without_attention_is_called_by_its_name(context: Context, make: Make) -> None:
    gap = make("VGG-GAP")
    control = replace(make("VGG-control"), name="control")
    plain = replace(context, subjects={"attention": gap, "control": control})
    found = {name: {RAW: scores([0.6] * 5)[NORMED]} for name in plain.subjects}
    (said,) = transfer._sentences(plain, found)
    assert said.startswith("On other pictures the 3 features of VGG-GAP cannot be told apart")
    assert "attention" not in said
