"""attnvgg-evaluate --suite: from its arguments to a report."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from attnvgg_training.distributed import World
from attnvgg_training.errors import ConfigError
from attnvgg_training.evaluation import report, subject, suite
from attnvgg_training.evaluation.context import MAIN, Context
from attnvgg_training.evaluation.subject import Subject

WITH_PICTURES = ("localisation", "transfer")


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> str:
    """Runs the suites named; gives what to tell the user.

    Raises:
        CheckpointError, ConfigError, DataError: see the messages.
    """
    names, every = suite.named(arguments.suite), arguments.suite == suite.ALL
    _check(arguments)
    device = World().device(arguments.device)
    torch.backends.cudnn.allow_tf32 = False  # what is called float32 shall be that on a GPU too
    others = _pairs("--pictures", arguments.pictures, "SUITE=SPEC")
    unknown = sorted(set(others) - set(WITH_PICTURES))
    if unknown:
        raise ConfigError(
            f"--pictures {unknown[0]}=...: pictures are taken for {' and '.join(WITH_PICTURES)}"
        )
    context = Context(
        _subjects(arguments, device),
        arguments.data,
        arguments.masks,
        arguments.out,
        device,
        arguments.seed,
        arguments.limit,
        arguments.batch_size,
        others,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    count = suite.run(context, names, ["attnvgg-evaluate", *argv], every)
    said = f"{arguments.out / report.PAGE} and {suite.RESULTS} beside it: {count} suites"
    return said if count == len(names) else f"{said}, {len(names) - count} left out"


def _check(arguments: argparse.Namespace) -> None:
    if arguments.limit is not None and arguments.limit < 1:
        raise ConfigError(f"--limit is {arguments.limit}; it must be 1 or more")
    if not 0 <= arguments.seed < 2**32:
        raise ConfigError(f"--seed is {arguments.seed}; it must be 0 to {2**32 - 1}")
    if arguments.batch_size < 1:
        raise ConfigError(f"--batch-size is {arguments.batch_size}; it must be 1 or more")
    for flag in ("json", "flip", "per_class"):
        if getattr(arguments, flag):
            raise ConfigError(
                f"--{flag.replace('_', '-')} is not for --suite; results.json has everything"
            )


def _subjects(arguments: argparse.Namespace, device: torch.device) -> dict[str, Subject]:
    pairs = _pairs("--beside", arguments.beside, "NAME=CHECKPOINT")
    if MAIN in pairs:
        raise ConfigError(f"--beside {MAIN}=...: that is the name of CHECKPOINT; take {MAIN}#2")
    found = {MAIN: subject.load(MAIN, arguments.checkpoint, device)}
    for name, folder in pairs.items():
        other = found[name] = subject.load(name, Path(folder), device)
        if other.record.labels != found[MAIN].record.labels:
            raise ConfigError(
                f"--beside {name}={folder} has other labels than {arguments.checkpoint}; networks "
                "are compared on the same classes"
            )
        if other.size != found[MAIN].size:
            raise ConfigError(
                f"--beside {name}={folder} sees {other.size} pixels, {arguments.checkpoint} "
                f"{found[MAIN].size}; they must be the same"
            )
    return found


def _pairs(flag: str, given: Sequence[str], form: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{flag} is {text!r}; it must be {form}")
        if name in found:
            raise ConfigError(f"{flag} {name} is given twice; number them, as in {name}#2")
        found[name] = value
    return found
