"""The experiments, by name, and the run of some of them into a report."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from attnvgg_training import checkpoint, files
from attnvgg_training.errors import ConfigError
from attnvgg_training.evaluation import report
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Findings, plain
from attnvgg_training.evaluation.suites import (
    classification,
    cost,
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

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Suite:
    """title: the question it answers."""

    title: str
    run: Callable[[Context], Findings]


SUITES: dict[str, Suite] = {
    "classification": Suite("How often is it right, and how sure of it?", classification.run),
    "cost": Suite("What does each map cost?", cost.run),
    "localisation": Suite("Do the maps lie on the object?", localisation.run),
    "faithfulness": Suite("Does what the maps mark decide?", faithfulness.run),
    "sanity": Suite("Do the maps depend on what was learned?", sanity.run),
    "segmentation": Suite("Do the maps cover the object?", segmentation.run),
    "transfer": Suite("Do the features serve other pictures?", transfer.run),
    "robustness": Suite("Does attention make attacks harder?", robustness.run),
    "global-feature": Suite("What does the global feature do?", global_feature.run),
    "levels": Suite("What does each level add, and what draws it to the border?", levels.run),
    "detail": Suite("What does each level look at?", detail.run),
}


def named(text: str) -> list[str]:
    """`a,b` as a list; `all` for every suite, in order.

    Raises:
        ConfigError: there is no such suite.
    """
    if text == "all":
        return list(SUITES)
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SUITES:
            raise ConfigError(f"--suite is {name!r}; it must be one of {', '.join(SUITES)}, or all")
    return [name for name in SUITES if name in names]


def run(context: Context, names: Sequence[str], command: Sequence[str]) -> dict[str, Any]:
    """Runs the suites and writes results.json and report.html into the report's folder; suites that
    stand in results.json already and are not named stay there, if they are about the same networks.

    Raises:
        ConfigError, DataError: something that a suite needs was not given or cannot be read.
    """
    path = context.out / "results.json"
    found = _begun(context, path)
    for name in names:
        findings = SUITES[name].run(context)
        entry = {"title": SUITES[name].title, "command": shlex.join(command), **plain(findings)}
        found["suites"] = _in_order({**found["suites"], name: entry})
        files.write(path, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
        report.write(found, context.out)
    return found


def _in_order(suites: dict[str, Any]) -> dict[str, Any]:
    return {name: suites[name] for name in SUITES if name in suites}


def _begun(context: Context, path: Any) -> dict[str, Any]:
    subjects = {name: _about(context, name) for name in context.subjects}
    facts = {
        "schema_version": SCHEMA_VERSION,
        "subjects": subjects,
        "data": context.source,
        "seed": context.seed,
        "limit": context.limit,
        **checkpoint.provenance(),
    }
    before = json.loads(path.read_text()) if path.is_file() else {}
    same = all(before.get(key) == facts[key] for key in ("subjects", "data", "seed", "limit"))
    return {**facts, "suites": before.get("suites", {}) if same else {}}


def _about(context: Context, name: str) -> dict[str, Any]:
    subject = context.subjects[name]
    parameters = sum(p.numel() for p in subject.network.parameters())
    return {
        "network": subject.record.config.model.name,
        "parameters": parameters,
        "sha256": subject.sha256,
        "epoch": subject.record.metrics.get("epoch"),
        "seed": subject.record.config.train.seed,
        "permuted": subject.record.config.data.permute_labels,
        "data": subject.record.data,
    }
