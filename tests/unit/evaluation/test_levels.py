"""What levels add, and the border."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    levels,
)

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
