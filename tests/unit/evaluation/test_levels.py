"""What levels add, and the border."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnvgg_training.data.split import MemorySplit
from attnvgg_training.evaluation.applied import partners
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Interval
from attnvgg_training.evaluation.subject import Seeing, Subject
from attnvgg_training.evaluation.suites import (
    levels,
)
from attnvgg_training.network import Explanation

Make = Callable[..., Subject]


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
    others = {n: each.roll(1, 0) for n, each in maps.items()}
    found = dict(levels.changes(network, locals_, maps, mean, others))
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


def sorted_by_class(context: Context) -> None:
    """Twenty noisy pictures, as a folder of five classes holds them."""
    images = torch.randint(256, (20, 32, 32, 3), generator=torch.Generator().manual_seed(1))
    targets = torch.arange(5).repeat_interleave(4)
    context.__dict__["test"] = MemorySplit(images.to(torch.uint8), targets)


def test_another_picture_is_of_another_class_and_from_all(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = replace(context, batch_size=3)
    sorted_by_class(context)
    given: list[dict[str, Tensor]] = []
    original = levels.changes

    def watched(*arguments: object) -> object:
        given.append(arguments[-1])  # type: ignore[arg-type]
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(levels, "changes", watched)
    wrong = levels._wrong(context)
    assert {len(each) for each in wrong.values()} == {20}
    everyone = context.chosen()
    maps = context.main.model.explain(context.pixels(everyone)).maps
    expected = maps["conv7"][partners(context.targets(everyone), context.seed)]
    torch.testing.assert_close(torch.cat([each["conv7"] for each in given]), expected)
    answers = context.main.model(context.pixels(everyone)).argmax(1)
    assert wrong["nothing"] == (answers != context.targets(everyone)).int().tolist()


def test_means_are_over_all_pictures(context: Context) -> None:
    context = replace(context, batch_size=3)
    sorted_by_class(context)
    means, maps = levels._means_and_maps(context)
    found = context.main.model.explain(context.pixels(context.chosen()))
    torch.testing.assert_close(torch.cat(list(means.values())), found.descriptor.mean(0))
    torch.testing.assert_close(maps["conv10"], found.maps["conv10"])


def test_figures_stand_in_tables_with_their_intervals(context: Context) -> None:
    found = levels.run(context)
    added, border = found.tables
    assert added.rows[0][0] == "nothing"
    assert added.rows[0][2] is None
    assert len(added.rows) == 1 + 4 * 3 + 1
    assert all(isinstance(row[2], Interval) for row in added.rows[1:])
    assert "one of another class" in added.note
    assert [row[0] for row in border.rows] == ["conv7", "conv10", "conv13"]
    assert [row[1] for row in border.rows] == pytest.approx(
        [100 * n / (n / 4 + 1) ** 2 for n in (124, 60, 28)]
    )
    assert all(isinstance(cell, Interval) for row in border.rows for cell in row[2:])


def test_a_single_picture_has_no_other(context: Context) -> None:
    context = replace(context, limit=1)
    sorted_by_class(context)
    found = levels.run(context)
    assert len(found.tables[0].rows) == 1 + 3 * 3 + 1
    assert not any("another picture" in sentence for sentence in found.sentences)


BEFORE = np.array([0.0, 1.0] * 50)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (np.ones(100), "100.00 %, more than the network's (+50.00 points"),
        (np.zeros(100), "0.00 %, less than the network's (-50.00 points"),
        (1 - BEFORE, "50.00 %, not to be told apart from the network's (+0.00 points"),
        (BEFORE, "50.00 %, not to be told apart from the network's (+0.00 points"),
    ],
)
def test_what_a_change_costs_is_said_by_its_interval(after: np.ndarray, said: str) -> None:
    hows = ("all maps even", "without x", "x alone", "x: another picture's map")
    sentences = levels._added(["x"], {"nothing": BEFORE, **dict.fromkeys(hows, after)})
    assert len(sentences) == 4
    assert all(said in sentence for sentence in sentences)


class Bordered(nn.Module):
    """Looks at a picture's borders: where its convolution meets zeros around the picture, or where
    the picture is bright."""

    def __init__(self, by_padding: bool) -> None:
        super().__init__()
        self.level_names, self.strides, self.multiple = ["seen"], {"seen": 4}, 8
        self.by_padding = by_padding
        self.count = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        nn.init.ones_(self.count.weight)

    def explain(self, images: Tensor) -> Explanation:
        cells = F.avg_pool2d(images.mean(1, keepdim=True), 4)
        padded = 10 - self.count(torch.ones_like(cells))  # 1 within, 4 at a side, 6 in a corner
        found = padded if self.by_padding else 1 + cells
        return Explanation(images.mean((2, 3)), {"seen": found.squeeze(1)}, images.mean((2, 3)))


def framed(context: Context, by_padding: bool) -> Context:
    """Dark pictures with a bright frame of four pixels, before a network that looks there."""
    model = Seeing(Bordered(by_padding), [0.0] * 3, [1.0] * 3).eval()  # type: ignore[arg-type]
    made = replace(context, subjects={"attention": replace(context.main, model=model)})
    images = torch.randint(20, (12, 32, 32, 3), generator=torch.Generator().manual_seed(1))
    images[:, :4], images[:, -4:], images[:, :, :4], images[:, :, -4:] = (255,) * 4
    made.__dict__["test"] = MemorySplit(images.to(torch.uint8), torch.arange(12) % 3)
    return made


@torch.no_grad()
def test_attention_that_follows_the_border_is_drawn_by_padding(context: Context) -> None:
    (each,) = levels._border(framed(context, by_padding=True)).values()
    even = (36 * 1 + 24 * 4 + 4 * 6) / 64
    assert each["border"] == pytest.approx([(24 * 4 + 4 * 6) / 28 / even] * 12)
    assert each["maxima"] == [1.0] * 12, "four corners share the maximum"
    side = 8 + 2 * 2
    even = ((side - 2) ** 2 + 4 * (side - 2) * 4 + 4 * 6) / side**2
    assert each["new border"] == pytest.approx([(4 * (side - 2) * 4 + 24) / 44 / even] * 12)
    assert each["old border"] == pytest.approx([1 / even] * 12)
    (said,) = levels._drawn({"seen": each})
    assert said.endswith("it follows the border: an effect of padding.")


@torch.no_grad()
def test_attention_to_what_is_seen_at_the_border_stays(context: Context) -> None:
    (each,) = levels._border(framed(context, by_padding=False)).values()
    assert min(each["border"]) > 1.2
    assert min(each["old border"]) > 1.2
    assert max(each["new border"]) < 1.1
    (said,) = levels._drawn({"seen": each})
    assert said.endswith("it stays where it was: something is to be seen there.")


def test_rings() -> None:
    assert levels.ring(5, 0).sum() == 16
    assert levels.ring(5, 1).sum() == 8
    assert levels.ring(5, 2).nonzero().tolist() == [[2, 2]]
    maps = torch.ones(2, 4, 4)
    maps[0, levels.ring(4, 0)] = 3
    found = levels.over_even(maps, levels.ring(4, 0)).tolist()
    assert found == pytest.approx([3 / (10 / 4), 1])
    assert levels.over_even(torch.zeros(1, 4, 4), levels.ring(4, 0)).tolist() == [1]


def test_the_border_is_explained_by_intervals() -> None:
    wide = np.array([-0.5, 0.5] * 10)

    def said(border: float, new: float, old: float, spread: float = 0.1) -> str:
        means = {"border": border, "new border": new, "old border": old}
        each = {where: mean + spread * wide for where, mean in means.items()}
        return " ".join(levels._drawn({"conv7": each}))

    assert said(1.1, 2, 1) == "", "what may be 1.1 is not called preferred"
    assert said(1.0, 2, 1) == ""
    assert "an effect of padding" in said(1.5, 1.4, 1.0)
    assert "something is to be seen there" in said(1.5, 1.0, 1.4)
    assert "does not tell why" in said(1.5, 1.4, 1.4)
    assert "does not tell why" in said(1.5, 1.0, 1.0)
    assert "does not tell why" in said(1.5, 1.4, 1.09), "which may be preferred as well"
    assert "does not tell why" in said(2.0, 1.3, 1.0, spread=1.5)
    assert "1.50 times (1.48 to 1.52) as much" in said(1.5, 1.4, 1.0)
