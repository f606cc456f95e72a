"""Weights drawn anew, and maps compared."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from attnvgg_training.evaluation import redraw
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import sanity

Make = Callable[..., Subject]


def test_blocks_go_from_the_logits_down_and_alone_are_drawn_anew(make: Make) -> None:
    subject = make(global_feature=False)
    names = redraw.blocks(subject.network)
    assert names[:4] == ("head", "attention.conv13", "attention.conv10", "attention.conv7")
    assert names[4:] == tuple(f"units.{index}" for index in reversed(range(13)))
    before = subject.network.state_dict()
    after = redraw.redrawn(subject, ("units.12",), 0).network.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.startswith("units.12.") for key in changed)
    noise = redraw.redrawn(subject, ("attention.conv10",), 0).network.state_dict()
    u = noise["attention.conv10.u"]
    assert not torch.equal(u, before["attention.conv10.u"])
    assert u.std() > 0  # a u of zeros would make an even map, which has no rank


def test_blocks_that_started_as_identities_are_drawn_at_random(make: Make) -> None:
    """Drawn as identities they would hand on what the blocks before have learned."""
    subject = make(global_feature=False, initialisation="whitened")
    after = redraw.redrawn(subject, ("units.12",), 0).network
    kernel = after.get_parameter("units.12.0.weight")
    middle = kernel[:, :, 1, 1].square().sum() / kernel.square().sum()
    assert middle.item() == pytest.approx(1 / 9, rel=0.5)


def test_maps_are_compared_by_rank_and_by_structure(pixels: Tensor) -> None:
    maps = pixels[:, 0, :8, :8]
    same = sanity.compared(maps, maps)
    assert same["rank"] == pytest.approx([1] * 4)
    assert same["ssim"] == pytest.approx([1] * 4)
    assert sanity.compared(maps, 1 - maps)["rank"] == pytest.approx([-1] * 4)
    flat = torch.ones_like(maps)
    flat[1] = maps[1]
    assert sanity.compared(maps, flat)["rank"] == [None, pytest.approx(1), None, None]


def test_what_follows_the_maps_leaves_them_alone(context: Context) -> None:
    small = replace(context, limit=3)
    small.__dict__["test"] = context.test

    def trained() -> dict[str, Tensor]:
        return dict(sanity._all_maps(small, small.main))

    def ranks(stage: tuple[str, ...], name: str) -> Any:
        return sanity._randomised(small, trained, stage)[name]["rank"]

    assert ranks(("head",), "attention conv7") == pytest.approx([1] * 3)
    assert ranks(("head",), "grad-cam conv13") != pytest.approx([1] * 3)
    assert max(ranks(("head", "units.0"), "attention conv7")) < 0.95
    floor = sanity._floor(small, trained)["attention conv7"]["rank"]
    assert max(each for each in floor if each is not None) < 0.95


def stages(after: list[float]) -> sanity.Stages:
    """One method, trained and with everything drawn anew."""
    return {"m": {measure: [[1.0] * len(after), list(after)] for measure in sanity.MEASURES}}


def floor(values: list[float]) -> dict[str, dict[str, sanity.Values]]:
    return {"m": {measure: list(values) for measure in sanity.MEASURES}}


def test_who_passes_is_judged_beside_maps_of_other_pictures() -> None:
    other = [0.5, 0.6, 0.4, 0.5]
    assert "as they should be: m" in sanity._verdicts(stages([0.5, 0.5, 0.5, 0.5]), floor(other))[0]
    assert "was not learned: m" in sanity._verdicts(stages([0.8, 0.9, 0.7, 0.8]), floor(other))[0]
    table = sanity._ends(stages([0.8, 0.9, 0.7, 0.8]), floor(other), 4)
    row = table.rows[0]
    assert [getattr(each, "value", each) for each in row[2:4]] == pytest.approx([0.8, 0.5])
    half: sanity.Stages = {"m": {measure: [[1.0], [None]] for measure in sanity.MEASURES}}
    assert sanity._ends(half, floor([0.1]), 1).rows[0][-1] == 100
    assert sanity._verdicts(half, floor([0.1])) == []
    (*_, said) = sanity._verdicts(stages([0.5, 0.5, 0.5, 0.5]), floor([0.8, 0.9, 0.8, 0.9]))
    assert said.startswith("Much of these is the same")
    assert said.endswith("map is m 0.85.")


def test_a_network_that_knows_nothing_by_heart_is_no_witness(subject: Subject) -> None:
    def said(accuracy: float, honest: list[float], wrong: list[float]) -> str:
        record = replace(subject.record, metrics={"train_accuracy": accuracy})
        permuted = replace(subject, name="permuted", record=record)
        others = [permuted, replace(subject, name="attention#2")]
        found: Any = {"permuted": {"m": wrong}, "attention#2": {"m": honest}}
        return " ".join(sanity._of_permuted(permuted, others, found, ["m"]))

    assert "has not learned its labels by heart (60.0 %" in said(0.6, [1.0, 0.9], [0.1, 0.2])
    clear = said(0.99, [1.0, 0.9], [0.1, 0.2])
    assert "by heart" not in clear
    assert "depend on the labels: m." in clear
    assert "that cannot be said: m." in said(0.99, [0.5, 0.6], [0.6, 0.5])
