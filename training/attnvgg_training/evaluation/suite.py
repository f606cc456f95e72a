"""The experiments, by name, and the run of some of them into a report."""

import inspect
import json
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from attnvgg_training import checkpoint, files
from attnvgg_training.errors import ConfigError, DataError
from attnvgg_training.evaluation import report
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Findings, plain
from attnvgg_training.evaluation.subject import Subject
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

SCHEMA_VERSION = 2
ALL, RESULTS = "all", "results.json"
LIBRARIES = ("captum", "matplotlib", "scikit-image", "scikit-learn", "scipy")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suite:
    """title: the question it answers. needs: what must have been given and was not, in words, or
    nothing."""

    title: str
    run: Callable[[Context], Findings]
    needs: Callable[[Context], str | None] = lambda context: None

    @property
    def protocol(self) -> str:
        """How it is measured: the docstring of its file."""
        return inspect.getdoc(sys.modules[self.run.__module__]) or ""


def _photos(context: Context) -> str | None:
    return None if context.masks else "--masks DIR, photos with object masks"


def _elsewhere(context: Context) -> str | None:
    return None if "transfer" in context.others else "--pictures transfer=SPEC, another data set"


SUITES: dict[str, Suite] = {
    "classification": Suite("How often is it right, and how sure of it?", classification.run),
    "cost": Suite("What does each map cost?", cost.run),
    "localisation": Suite("Do the maps lie on the object?", localisation.run),
    "faithfulness": Suite("Does what the maps mark decide?", faithfulness.run),
    "sanity": Suite("Do the maps depend on what was learned?", sanity.run),
    "segmentation": Suite("Do the maps cover the object?", segmentation.run, _photos),
    "transfer": Suite("Do the features serve other pictures?", transfer.run, _elsewhere),
    "robustness": Suite("Does attention make attacks harder?", robustness.run),
    "global-feature": Suite("What does the global feature do?", global_feature.run),
    "levels": Suite("What does each level add, and what draws it to the border?", levels.run),
    "detail": Suite("What does each level look at?", detail.run, _photos),
}


def named(text: str) -> list[str]:
    """`a,b` as a list; `all` for every suite, in order.

    Raises:
        ConfigError: there is no such suite.
    """
    if text == ALL:
        return list(SUITES)
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SUITES:
            raise ConfigError(
                f"--suite is {name!r}; it must be one of {', '.join(SUITES)}, or {ALL}"
            )
    return [name for name in SUITES if name in names]


def run(context: Context, names: Sequence[str], command: Sequence[str], every: bool = False) -> int:
    """Runs the suites and writes results.json and report.html into the report's folder. Suites that
    stand in results.json already stay there; the same networks must be meant.

    Args:
        command: what was typed; it stands beside the figures.
        every: leave out what cannot be run, and say so in the report.

    Returns:
        How many were run.

    Raises:
        ConfigError: something that a suite needs was not given, or the folder holds a report about
            other networks; before anything is computed.
        DataError: pictures cannot be read or do not do.
    """
    missing = {name: lacks for name in names if (lacks := SUITES[name].needs(context))}
    if missing and not every:
        raise ConfigError("; ".join(f"--suite {n} needs {lacks}" for n, lacks in missing.items()))
    path = context.out / RESULTS
    found = _begun(context, path)
    for number, name in enumerate(names, start=1):
        logger.info("suite %d of %d: %s", number, len(names), name)
        entry = {
            "title": SUITES[name].title,
            "protocol": SUITES[name].protocol,
            "command": shlex.join(command),
            "made_of": _made_of(context),
            **_findings(context, name, missing.get(name), every),
        }
        suites = {**found["suites"], name: entry}
        found["suites"] = {each: suites[each] for each in SUITES if each in suites}
        files.write(path, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
        report.write(found, context.out)
    return sum("not_run" not in found["suites"][name] for name in names)


def _findings(context: Context, name: str, lacks: str | None, every: bool) -> dict[str, Any]:
    if lacks:
        return {"not_run": f"It needs {lacks}."}
    try:
        made: dict[str, Any] = plain(SUITES[name].run(context))
    except DataError as error:
        if not every:
            raise
        logger.warning("%s is left out: %s", name, error)
        return {"not_run": str(error)}
    return made


def _begun(context: Context, path: Path) -> dict[str, Any]:
    """What the folder holds already, with the networks of this run."""
    mine = {name: _about(subject) for name, subject in context.subjects.items()}
    if not path.exists():
        return {"schema_version": SCHEMA_VERSION, "subjects": mine, "suites": {}}
    try:
        before = json.loads(path.read_text())
        if before["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {before['schema_version']}")
        theirs, suites = before["subjects"], before["suites"]
        others = [n for n, about in mine.items() if theirs.get(n, about) != about]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is no report of this version ({error}); take another folder for --out"
        ) from None
    if others:
        raise ConfigError(
            f"{path} is about other networks called {', '.join(others)}; take another folder for "
            "--out, or other names"
        )
    merged = {**theirs, **mine}
    return {"schema_version": SCHEMA_VERSION, "subjects": merged, "suites": suites}


def _made_of(context: Context) -> dict[str, Any]:
    facts = checkpoint.provenance()
    return {
        "networks": list(context.subjects),
        "data": context.source,
        "masks": None if context.masks is None else str(context.masks),
        "pictures": context.others,
        "seed": context.seed,
        "limit": context.limit,
        "device": str(context.device),
        **facts,
        "versions": facts["versions"] | {name: metadata.version(name) for name in LIBRARIES},
    }


def _about(subject: Subject) -> dict[str, Any]:
    config, metrics = subject.record.config, subject.record.metrics
    return {
        "network": config.model.name,
        "parameters": sum(p.numel() for p in subject.network.parameters()),
        "sha256": subject.sha256,
        "epoch": metrics.get("epoch"),
        "train_accuracy": metrics.get("train_accuracy"),
        "seed": config.train.seed,
        "permuted": config.data.permute_labels,
        "data": subject.record.data,
    }
