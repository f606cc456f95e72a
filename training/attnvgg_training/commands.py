"""The installed commands; they say which extra is missing where torch is."""

import os
import sys
from importlib import import_module

from attnvgg_training import memory


def train() -> int:
    """attnvgg-train."""
    return _run("attnvgg-train", "attnvgg_training.train")


def evaluate() -> int:
    """attnvgg-evaluate."""
    return _run("attnvgg-evaluate", "attnvgg_training.evaluation.cli")


def convert() -> int:
    """attnvgg-convert."""
    return _run("attnvgg-convert", "attnvgg_training.convert")


def _run(command: str, module: str) -> int:
    memory.keep()
    try:
        main = import_module(module).main
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{command}: {error}; pip install 'attnvgg[train]'\n")
        return 2
    except KeyboardInterrupt:  # torch takes seconds to import
        return 130
    try:
        code: int = main()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
