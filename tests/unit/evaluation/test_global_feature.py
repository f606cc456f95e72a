"""g, and what depends on it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Findings
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import global_feature

Make = Callable[..., Subject]


def rows(found: Findings) -> dict[tuple[str, str], tuple[str, float, float]]:
    """(network, in place of g) -> scores, largest change of a map, of a logit."""
    table: list[Any] = list(found.tables[0].rows)
    return {(row[0], row[2]): (row[1], row[4], row[5]) for row in table}


def test_g_changes_nothing_under_pc_and_something_under_dp(context: Context, make: Make) -> None:
    dp = replace(make("VGG-att2-concat-dp"), name="dp", sha256="3")
    sigmoid = replace(make(normalisation="sigmoid"), name="pc#2", sha256="4")
    every = replace(context, subjects={"attention": context.main, "dp": dp, "pc#2": sigmoid})
    every.__dict__["test"] = context.test
    found = global_feature.run(every)
    changes = rows(found)
    assert {name for name, _ in changes} == {
        "attention",
        "dp",
        "pc#2",
        "untrained pc",
        "untrained dp",
    }
    for how in ("zeros", "another picture's"):
        for name in ("attention", "untrained pc"):
            scores, of_map, of_logit = changes[name, how]
            assert scores == "pc, softmax"
            assert max(of_map, of_logit) < 1e-10
        for name in ("dp", "untrained dp"):
            assert changes[name, how][0] == "dp, softmax"
            assert changes[name, how][1] > 1e-6
        assert changes["pc#2", how][0] == "pc, sigmoid"
    assert any(
        said.startswith("attention (pc, softmax): by its formula no map can change")
        for said in found.sentences
    )
    assert any(
        said.startswith("untrained dp (dp, softmax): with another") for said in found.sentences
    )


def test_the_network_is_left_as_it_was(context: Context, pixels: Tensor) -> None:
    global_feature.run(context)
    asked = pixels.clone().requires_grad_()
    context.main.model(asked).sum().backward()
    assert asked.grad is not None
    assert {p.dtype for p in context.main.network.parameters()} == {torch.float32}


def test_a_plan_without_attention_has_nothing_to_swap(context: Context, make: Make) -> None:
    for name in ("VGG-control", "VGG-GAP", "VGG-16-BN"):
        assert global_feature.untrained(make(name)) == {}
    plain = replace(context, subjects={"attention": make("VGG-control")})
    plain.__dict__["test"] = context.test
    assert global_feature.run(plain).tables == ()
