"""g, and what depends on it."""

from collections.abc import Callable
from dataclasses import replace

from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    global_feature,
)

Make = Callable[..., Subject]


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
