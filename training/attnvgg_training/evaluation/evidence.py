"""attnvgg-evaluate --suite: from its arguments to a report."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from attnvgg_training.distributed import World
from attnvgg_training.errors import ConfigError
from attnvgg_training.evaluation import subject, suite
from attnvgg_training.evaluation.context import MAIN, Context
from attnvgg_training.evaluation.subject import Subject


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> str:
    """Runs the suites named; gives what to tell the user.

    Raises:
        CheckpointError, ConfigError, DataError: see the messages.
    """
    names = suite.named(arguments.suite)
    if arguments.limit is not None and arguments.limit < 1:
        raise ConfigError(f"--limit is {arguments.limit}; it must be 1 or more")
    device = World().device(arguments.device)
    torch.backends.cudnn.allow_tf32 = False  # what is called float32 shall be that on a GPU too
    context = Context(
        _subjects(arguments, device),
        arguments.data,
        arguments.masks,
        arguments.out,
        device,
        arguments.seed,
        arguments.limit,
        others=_pairs("--pictures", arguments.pictures, "SUITE=SPEC"),
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    suite.run(context, names, ["attnvgg-evaluate", *argv])
    return f"{', '.join(names)}: {arguments.out / 'report.html'}, {arguments.out / 'results.json'}"


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
