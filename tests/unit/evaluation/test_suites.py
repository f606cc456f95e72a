"""The experiments, each against something whose answer is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attnvgg_training.data.split import MemorySplit
from attnvgg_training.errors import ConfigError, DataError
from attnvgg_training.evaluation.applied import peaks, resized, shares
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.methods import Method
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    classification,
    detail,
    faithfulness,
    global_feature,
    levels,
    localisation,
    robustness,
    sanity,
    segmentation,
    transfer,
)

Make = Callable[..., Subject]


@pytest.fixture
def context(subject: Subject, tmp_path: Path) -> Context:
    """Twenty noisy test pictures of ten classes."""
    made = Context({"attention": subject}, "pictures", None, tmp_path, torch.device("cpu"))
    images = torch.randint(256, (20, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    made.__dict__["test"] = MemorySplit(images.to(torch.uint8), torch.arange(20) % 10)
    return made


def fixed(maps: Tensor) -> Method:
    """Gives these maps, whatever it is asked."""
    return Method("fixed", "learned", False, "a test", lambda pixels, targets: maps[: len(pixels)])


def test_maps_on_a_common_size() -> None:
    maps = torch.tensor([[[0.0, 2.0], [0.0, 6.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert shares(maps)[0].tolist() == [[0, 0.25], [0, 0.75]]
    assert shares(maps)[1].tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert peaks(maps).tolist() == [[0.75, 0.75], [0.5, 0.5]]
    assert resized(maps, 4, 4)[0, 0].tolist() == pytest.approx([0, 0.5, 1.5, 2])


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


def test_mass_and_maximum_in_the_right_quarter(context: Context) -> None:
    maps = torch.zeros(3, 4, 4)
    maps[0, 0, 3] = 1.0  # upper right
    maps[1, 3, 0], maps[1, 0, 0] = 3.0, 1.0  # lower left, a quarter of it upper left
    made = localisation.Mosaics(torch.zeros(3, 3, 8, 8), torch.tensor([1, 2, 0]), torch.zeros(3))
    found = localisation._quarters(context, fixed(maps), made)
    assert found["mass"] == pytest.approx([1, 0.75, 0.25])
    assert found["hit"] == [1, 1, 0.25]  # a map of zeros is even, and points nowhere


def test_mosaics_are_made_of_what_they_say(context: Context, tmp_path: Path) -> None:
    four = [torch.full((3, 2, 2), float(value)) for value in range(4)]
    assert localisation.tiled(four)[0].tolist() == [
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [2, 2, 3, 3],
        [2, 2, 3, 3],
    ]
    made = localisation.of_four_labels(context)
    assert made.pixels.shape == (20, 3, 64, 64)
    for start in range(0, 20, 4):
        assert len(set(made.targets[start : start + 4].tolist())) == 4
        assert torch.equal(made.pixels[start], made.pixels[start + 3])
    empty = tmp_path / "none"
    empty.mkdir()
    with pytest.raises(DataError, match="holds 0 pictures; it needs 3"):
        localisation.with_distractors(context, empty)


def test_a_map_that_is_blind_to_the_class_has_a_quarter(context: Context) -> None:
    found = localisation.run(context)
    (table,) = [t for t in found.tables if t.title.startswith("Four labelled")]
    values = {row[0]: row[1].value for row in table.rows}  # type: ignore[union-attr]
    for name, value in values.items():
        if name.startswith(("attention", "activation")):
            assert value == pytest.approx(25, abs=0.01), name
    assert any("by construction" in sentence for sentence in found.sentences)


def test_gini_of_even_and_of_single_cells() -> None:
    even, single = torch.full((1, 8), 1 / 8), torch.eye(8)[:1]
    assert localisation.gini(even).item() == pytest.approx(0)
    assert localisation.gini(single).item() == pytest.approx(7 / 8)


class Corner(nn.Module):
    """Answers class 0 by the brightness of the upper left quarter, class 1 otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        light = pixels[..., :16, :16].mean((1, 2, 3))
        return torch.stack([8 * light, torch.full_like(light, 2.0)], dim=1)


def test_deletion_and_insertion_know_a_true_map_from_a_false_one(context: Context) -> None:
    seen = replace(context.main, model=Corner())  # type: ignore[arg-type]
    context = replace(context, subjects={"attention": seen})
    bright = torch.full((20, 32, 32, 3), 200, dtype=torch.uint8)
    context.__dict__["test"] = MemorySplit(bright, torch.zeros(20, dtype=torch.int64))
    true = torch.zeros(20, 32, 32)
    true[:, :16, :16] = 1.0
    good = faithfulness._measure(context, fixed(true))
    bad = faithfulness._measure(context, fixed(1 - true))
    assert np.mean(good["deletion"]) < np.mean(bad["deletion"]) - 0.2
    assert np.mean(good["insertion"]) >= np.mean(bad["insertion"])
    assert len(good["road first"]) == len(faithfulness.REMOVED)


def test_pixels_are_ordered_by_the_map_and_ties_at_random(pixels: Tensor) -> None:
    maps = torch.tensor([[[3.0, 1.0], [2.0, 0.0]]])
    assert faithfulness.ranked(maps, pixels[:1]).tolist() == [[[0, 2], [1, 3]]]
    even = torch.ones(2, 32, 32)
    first, second = faithfulness.ranked(even, pixels[:2])
    assert sorted(first.flatten().tolist()) == list(range(1024))
    assert not torch.equal(first, second)
    assert torch.equal(faithfulness.ranked(even[:1], pixels[:1])[0], first)


def test_a_hole_is_filled_from_its_neighbours() -> None:
    picture = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(1))
    hole = torch.zeros(6, 6, dtype=torch.bool)
    hole[2, 3] = True
    filled = faithfulness.imputed(picture, hole)
    direct = picture[:, [1, 3, 2, 2], [3, 3, 2, 4]].mean(1)
    corners = picture[:, [1, 1, 3, 3], [2, 4, 2, 4]].mean(1)
    torch.testing.assert_close(filled[:, 2, 3], direct * 2 / 3 + corners / 3, rtol=0, atol=0.05)
    assert torch.equal(filled[:, ~hole], picture[:, ~hole])
    even = torch.full((3, 6, 6), 0.5)
    wide = torch.ones(6, 6, dtype=torch.bool)
    wide[0, 0] = False
    torch.testing.assert_close(faithfulness.imputed(even, wide), even, rtol=0, atol=0.05)
    everything = torch.ones(6, 6, dtype=torch.bool)
    assert torch.isfinite(faithfulness.imputed(even, everything)).all()


def test_jaccard_and_thresholds() -> None:
    mask = np.array([[True, True], [False, False]])
    assert segmentation.jaccard(mask, mask) == 1
    assert segmentation.jaccard(np.array([[True, False], [True, False]]), mask) == 1 / 3
    assert segmentation.jaccard(~mask, mask) == 0
    assert segmentation.stretched(np.array([2.0, 4.0, 3.0])).tolist() == [0, 1, 0.5]
    assert segmentation.stretched(np.array([2.0, 2.0])).tolist() == [1, 1]
    assert segmentation._best([[0.1] * 18 + [0.9], [0.2] * 18 + [0.7]]) == (0.95, [0.9, 0.7])


@pytest.mark.parametrize("attack", ["FGSM", "PGD"])
def test_attacks_stay_within_epsilon_and_raise_the_loss(
    attack: str, subject: Subject, pixels: Tensor, targets: Tensor
) -> None:
    torch.manual_seed(0)
    changed = robustness.attacked(subject, attack, 8 / 255)(pixels, targets)
    assert (changed - pixels).abs().max() <= 8 / 255 + 1e-6
    assert changed.min() >= 0
    assert changed.max() <= 1

    def loss(images: Tensor) -> float:
        return float(nn.functional.cross_entropy(subject.model(images), targets))

    assert loss(changed) > loss(pixels)


def test_fgsm_is_a_step_along_the_sign_of_the_gradient(
    subject: Subject, pixels: Tensor, targets: Tensor
) -> None:
    asked = pixels.clone().requires_grad_()
    nn.functional.cross_entropy(subject.model(asked), targets, reduction="sum").backward()
    assert asked.grad is not None
    expected = (pixels + 4 / 255 * asked.grad.sign()).clamp(0, 1)
    changed = robustness.attacked(subject, "FGSM", 4 / 255)(pixels, targets)
    assert (changed - expected).abs().gt(1e-6).float().mean() < 0.01  # a gradient of 0 has no sign


def test_blocks_go_from_the_logits_down_and_alone_are_drawn_anew(make: Make) -> None:
    subject = make(global_feature=False)
    names = sanity.blocks(subject.network)
    assert names[:4] == ("head", "attention.conv13", "attention.conv10", "attention.conv7")
    assert names[4:] == tuple(f"units.{index}" for index in reversed(range(13)))
    before = subject.network.state_dict()
    after = sanity.redrawn(subject, ("units.12",), 0).network.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.startswith("units.12.") for key in changed)
    noise = sanity.redrawn(subject, ("attention.conv10",), 0).network.state_dict()
    u = noise["attention.conv10.u"]
    assert not torch.equal(u, before["attention.conv10.u"])
    assert u.std() > 0  # a u of zeros would make an even map, which has no rank


def test_maps_are_compared_by_rank_and_by_structure(pixels: Tensor) -> None:
    maps = pixels[:, 0, :8, :8]
    rank, ssim = sanity.compared(maps, maps)
    assert rank == pytest.approx([1] * 4)
    assert ssim == pytest.approx([1] * 4)
    assert sanity.compared(maps, 1 - maps)[0] == pytest.approx([-1] * 4)
    assert sanity.compared(maps, torch.ones_like(maps))[0] == [0] * 4


def test_what_follows_the_maps_leaves_them_alone(context: Context) -> None:
    small = replace(context, limit=3)
    small.__dict__["test"] = context.test
    found = sanity._randomised(small, ("head", "units.0"), "cascading")
    assert found["attention conv7"]["rank"][1] == pytest.approx([1] * 3)
    assert found["grad-cam conv13"]["rank"][1] != pytest.approx([1] * 3)
    assert max(found["attention conv7"]["rank"][2]) < 0.95


def test_g_changes_nothing_under_pc_and_something_under_dp(context: Context, make: Make) -> None:
    pair = {
        "attention": context.main,
        "dp": replace(make("VGG-att2-concat-dp"), name="dp", sha256="3"),
    }
    both = replace(context, subjects=pair)
    both.__dict__["test"] = context.test
    found = global_feature.run(both)
    change = {(row[0], row[2]): row[3] for row in found.tables[0].rows}
    for how in ("zeros", "that of another picture"):
        assert change["attention", how] < 1e-12  # type: ignore[operator]
        assert change["dp", how] > 1e-6  # type: ignore[operator]
    assert any("by its formula no map can change" in said for said in found.sentences)


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


@pytest.mark.parametrize("name", ["VGG-att3-concat-pc", "VGG-att2-indep-dp"])
@pytest.mark.parametrize("normalisation", ["softmax", "sigmoid"])
def test_what_the_head_is_given_when_something_is_changed(
    make: Make, pixels: Tensor, name: str, normalisation: str
) -> None:
    model = make(name, normalisation=normalisation).model
    network = model.network
    locals_, g = network.tapped(model.normalised(pixels))
    maps = network.attended(locals_, g).maps
    mean = {n: torch.full((levels.estimator(network, n).lifted,), 7.0) for n in maps}
    found = dict(levels.changes(network, locals_, maps, mean))
    own = found["nothing"]
    torch.testing.assert_close(network.head(own), network(model.normalised(pixels)))
    first, *_, last = network.level_names
    assert (found[f"without {first}"][0] == 7).all()
    assert found[f"without {first}"][1] is own[1]
    assert (found[f"{last} alone"][0] == 7).all()
    assert found[f"{last} alone"][-1] is own[-1]
    share = maps[first].sum((1, 2)).unsqueeze(1)
    cells = maps[first][0].numel()
    expected = locals_[first].mean((2, 3)) * share / (cells if normalisation == "sigmoid" else 1)
    torch.testing.assert_close(found[f"{first}: its map even"][0], expected)
    torch.testing.assert_close(found["all maps even"][0], expected)
    swapped = found[f"{first}: another picture's map"][0]
    by_hand = (locals_[first][1] * maps[first][0]).sum((1, 2))
    by_hand = by_hand / (cells if normalisation == "sigmoid" else 1)
    torch.testing.assert_close(swapped[1], by_hand)


def test_a_level_is_found_to_follow_the_border(context: Context) -> None:
    assert levels.ring(5, 0).sum() == 16
    assert levels.ring(5, 1).sum() == 8
    assert levels.ring(5, 2).nonzero().tolist() == [[2, 2]]
    maps = torch.ones(2, 4, 4)
    maps[:, levels.ring(4, 0)] = 3
    assert levels.over_even(maps, levels.ring(4, 0)) == pytest.approx(3 / (10 / 4))
    found = levels.run(context)
    added, border = found.tables
    assert added.rows[0][0] == "nothing"
    assert len(added.rows) == 1 + 4 * 3 + 1
    assert [row[0] for row in border.rows] == ["conv7", "conv10", "conv13"]
    assert [row[1] for row in border.rows] == pytest.approx(
        [100 * n / (n / 4 + 1) ** 2 for n in (124, 60, 28)]
    )


def test_the_border_is_explained_by_where_attention_goes() -> None:
    def said(border: float, new: float, old: float) -> str:
        each = {"border": border, "new border": new, "old border": old}
        return " ".join(levels._drawn({"conv7": each}))

    assert said(1.1, 2, 2) == ""
    assert "an effect of padding" in said(1.5, 1.4, 1.0)
    assert "something is to be seen there" in said(1.5, 1.0, 1.4)
    assert "do not tell why" in said(1.5, 1.4, 1.4)


def test_bands_go_from_outside_of_the_object_to_its_middle() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    grid = detail.bands(mask)
    assert grid[4, 4] == 1
    assert 0 < grid[2, 2] < 0.5
    assert -0.5 < grid[1, 4] < 0
    assert grid[0, 0] >= -1
