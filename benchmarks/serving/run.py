"""Answers a second of every server, beside those of the bare session.

    python benchmarks/serving/run.py --out benchmarks/serving

writes results.json and, made of nothing but that, RESULTS.md and throughput.svg. Takes about half
an hour on two idle cores (load on them spoils the figures) and needs the extra dev; it makes the
servers' environments, a gigabyte in all, in benchmarks/serving/.envs. What is measured is stored at
once: a run that ends early goes on with --resume.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import measure
import pictures
import plot
import report
from answers import WrongAnswer
from environments import NoTriton
from machine import machine
from servers import NotStarted, Site
from settings import QUICK, ROOT, SERVERS, Plan

from attnvgg_bundle import manifest

BUNDLE = max((ROOT / "models" / "cifar10-small").iterdir(), key=lambda path: int(path.name))


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 a server gave wrong answers, 2 something is missing."""
    arguments = _parse(argv)
    out: Path = arguments.out
    try:
        if not arguments.render:
            out.mkdir(parents=True, exist_ok=True)
            _measure(arguments)
        results = json.loads((out / "results.json").read_text(encoding="utf-8"))
        (out / "RESULTS.md").write_text(report.render(results), encoding="utf-8")
        (out / "throughput.svg").write_text(plot.render(results), encoding="utf-8")
    except WrongAnswer as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except (NotStarted, NoTriton, OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    print(f"{out / 'RESULTS.md'} is written")
    return 0


def _measure(arguments: argparse.Namespace) -> None:
    plan: Plan = arguments.plan
    described = manifest.read(arguments.bundle)
    results = _results(arguments, described)
    before, start = results["minutes"], time.monotonic()

    def save() -> None:
        results["minutes"] = round(before + (time.monotonic() - start) / 60, 1)
        _store(arguments.out / "results.json", results)

    with TemporaryDirectory(prefix="attnvgg-serving-") as folder:
        site = _site(Path(folder), arguments.bundle, described)
        chosen = pictures.pictures(described)
        wanted = pictures.expected(site.bundle, described, chosen)
        measure.measure(measure.Run(plan, site, chosen, wanted, results, save))


def _site(folder: Path, bundle: Path, described: manifest.Manifest) -> Site:
    """A models folder with nothing but the one bundle."""
    site = Site(folder, folder / "models", described)
    shutil.copytree(bundle, site.bundle)
    (site.models / "default").write_text(f"{described.name}\n", encoding="utf-8")
    return site


def _results(arguments: argparse.Namespace, described: manifest.Manifest) -> dict[str, Any]:
    """Those to go on with, or empty ones.

    Raises:
        ValueError: those that are there are of another run.
    """
    plan: Plan = arguments.plan
    settings = {
        "quick": arguments.quick,
        "bundle": f"{described.name}/{described.version}",
        "sha256": described.files["model.onnx"].sha256,
        "size": f"{described.input.height} x {described.input.width}",
        "clients": list(plan.clients),
        "seconds": plan.seconds,
        "warm_up": plan.warm_up,
    }
    path = arguments.out / "results.json"
    if arguments.resume and path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if any(found.get(name) != value for name, value in settings.items()):
            raise ValueError(f"{path} is of a run with other settings; --resume cannot go on there")
        return {**found, "rounds": plan.rounds}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **settings,
        "rounds": plan.rounds,
        "minutes": 0.0,
        "machine": machine(),
        **{"versions": {}, "sizes": {}, "bare": [], "generator": [], "cells": []},
    }


def _store(path: Path, results: dict[str, Any]) -> None:
    """Beside, and renamed: a run that is killed leaves the last whole file."""
    beside = path.with_suffix(".json.tmp-new")
    beside.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("run.py", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    add("--bundle", type=Path, default=BUNDLE, metavar="DIR", help="NAME/VERSION/ to serve")
    add("--servers", metavar="A,B", help=f"of {', '.join(SERVERS)}")
    add("--rounds", type=int, metavar="N")
    add("--seconds", type=float, metavar="S", help="measured of each cell in each round")
    add("--resume", action="store_true", help="go on where an earlier run ended")
    add("--quick", action="store_true", help="whether it works at all, gateway only; means nothing")
    add("--render", action="store_true", help="only write the document again, from results.json")
    arguments = parser.parse_args(argv)
    plan = QUICK if arguments.quick else Plan()
    if arguments.servers:
        plan = replace(plan, servers=tuple(arguments.servers.split(",")))
        if unknown := sorted(set(plan.servers) - set(SERVERS)):
            parser.error(f"--servers has {', '.join(unknown)}; known are {', '.join(SERVERS)}")
    given = {name: getattr(arguments, name) for name in ("rounds", "seconds")}
    if wrong := [f"--{name} {value:g}" for name, value in given.items() if value and value < 0]:
        parser.error(f"{wrong[0]} must be more than 0")
    arguments.plan = replace(plan, **{name: value for name, value in given.items() if value})
    return arguments


if __name__ == "__main__":
    sys.exit(main())
