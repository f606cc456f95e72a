"""A compiled network trains the weights of a plain one; without a compiler one line says so."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tiny_training import trainer

TESTS = Path(__file__).parents[1]


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own, at import
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_it_learns_the_same() -> None:
    plain, ours = trainer(ema=0.0), trainer(ema=0.0, compile=True)
    for each in (plain, ours):
        each.train_epoch(1, 0, lambda: True)
    for name, expected in plain.weights().items():
        torch.testing.assert_close(ours.weights()[name], expected, rtol=1e-3, atol=1e-4)


def test_without_a_compiler_one_line_says_how_to_do_without(tmp_path: Path) -> None:
    code = (
        "import sys; from attnvgg_training.errors import ConfigError\n"
        "from tiny_training import trainer\n"
        "try: trainer(compile=True).train_epoch(1)\n"
        "except ConfigError as error: sys.exit(str(error))"
    )
    environment = {
        **os.environ,
        "CXX": str(tmp_path / "no-such-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("--compile true failed: ")
    assert message.endswith("it needs a C++ compiler such as g++, and --compile false does without")
    assert "Traceback" not in done.stderr
