"""The run of suites into a report: what is left out, what is refused, what stays."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnvgg_training.errors import ConfigError, DataError
from attnvgg_training.evaluation import suite
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Findings, Table
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suite import Suite
from attnvgg_training.evaluation.suites import detail, global_feature

Make = Callable[..., Subject]
TABLE = Table("t", ("a",), (("x",),))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suites that take no time; the names are real ones."""

    def cannot(context: Context) -> Findings:
        raise DataError("too few pictures")

    def needs(context: Context) -> str | None:
        return "--masks DIR"

    quick = {
        "cost": Suite("Cost?", lambda context: Findings(("It ran.",), (TABLE,))),
        "faithfulness": Suite("Faithful?", cannot),
        "segmentation": Suite("Covered?", cannot, needs),
        "levels": Suite("Levels?", lambda context: Findings((f"{len(context.subjects)}",))),
    }
    monkeypatch.setattr(suite, "SUITES", quick)
    monkeypatch.setattr(Suite, "protocol", "By hand.\n\nTwice.")


def entries(context: Context) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((context.out / suite.RESULTS).read_text())["suites"]
    return found


def test_all_leaves_out_what_cannot_be_run_and_says_so(context: Context) -> None:
    assert suite.run(context, list(suite.SUITES), ["attnvgg-evaluate"], every=True) == 2
    found = entries(context)
    assert found["cost"]["sentences"] == ["It ran."]
    assert found["faithfulness"]["not_run"] == "too few pictures"
    assert found["segmentation"]["not_run"] == "It needs --masks DIR."
    page = (context.out / "report.html").read_text()
    assert "Not run. too few pictures" in page
    assert "<p>Twice.</p>" in page


def test_what_was_named_must_run_and_is_checked_before_the_first(context: Context) -> None:
    with pytest.raises(ConfigError, match="--suite segmentation needs --masks DIR"):
        suite.run(context, ["cost", "segmentation"], [])
    assert not (context.out / suite.RESULTS).exists()
    with pytest.raises(DataError, match="too few pictures"):
        suite.run(context, ["cost", "faithfulness"], [])
    assert list(entries(context)) == ["cost"]


def test_a_further_network_and_suite_join_the_report(context: Context, make: Make) -> None:
    suite.run(context, ["levels"], ["one"])
    control = replace(make("VGG-control"), name="control", sha256="1")
    more = replace(context, subjects={**context.subjects, "control": control}, seed=3)
    suite.run(more, ["cost"], ["two"])
    found = entries(context)
    assert list(found) == ["cost", "levels"]
    assert (found["levels"]["command"], found["cost"]["command"]) == ("one", "two")
    assert found["levels"]["made_of"]["networks"] == ["attention"]
    assert (found["levels"]["made_of"]["seed"], found["cost"]["made_of"]["seed"]) == (0, 3)
    suite.run(context, ["cost"], ["three"])  # without it again: it stays among the networks
    whole = json.loads((context.out / suite.RESULTS).read_text())
    assert set(whole["subjects"]) == {"attention", "control"}
    assert {"captum", "scikit-learn", "torch"} <= set(found["cost"]["made_of"]["versions"])


def test_another_network_under_the_same_name_is_refused(context: Context) -> None:
    suite.run(context, ["cost"], ["one"])
    other = replace(context, subjects={"attention": replace(context.main, sha256="9")})
    before = (context.out / suite.RESULTS).read_bytes()
    with pytest.raises(ConfigError, match="about other networks called attention; take another"):
        suite.run(other, ["cost"], ["two"])
    assert (context.out / suite.RESULTS).read_bytes() == before


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema_version": 1}'])
def test_a_foreign_file_is_not_overwritten(context: Context, text: str) -> None:
    path = context.out / suite.RESULTS
    path.write_text(text)
    with pytest.raises(ConfigError, match="is no report of this version"):
        suite.run(context, ["cost"], [])
    assert path.read_text() == text


def test_the_protocol_is_the_docstring_of_the_suites_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert Suite("?", detail.run).protocol.startswith("The network on photos of higher resolution")
    assert Suite("?", global_feature.run).protocol.startswith("What g does")
    assert suite.named("all") == list(suite.SUITES)
    assert suite.named("sanity,cost") == ["cost", "sanity"]


def test_real_suites_say_what_they_need(monkeypatch: pytest.MonkeyPatch, context: Context) -> None:
    monkeypatch.undo()
    lacking = {name for name, each in suite.SUITES.items() if each.needs(context)}
    assert lacking == {"segmentation", "transfer", "detail"}
    given = replace(context, masks=Path("photos"), others={"transfer": "pictures"})
    assert not any(each.needs(given) for each in suite.SUITES.values())
