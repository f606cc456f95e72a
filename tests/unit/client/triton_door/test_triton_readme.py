"""The README's blocks that speak to Triton run, against the stand-in, over both protocols."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[4] / "clients" / "python" / "README.md"
BLOCKS = re.findall(
    r"^```python triton\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S
)

pytest.importorskip("tritonclient.grpc")


def test_the_blocks_run(triton: Any, over_grpc: Any, serving: Any, photo_path: Path) -> None:
    assert BLOCKS
    for block in BLOCKS:
        with serving(triton) as http, over_grpc(triton) as grpc:
            text = block.replace("http://127.0.0.1:8000", http)
            text = text.replace("grpc://127.0.0.1:8001", grpc)
            command = [sys.executable, "-W", "error", "-c", text]
            run = subprocess.run(
                command, cwd=photo_path.parent, capture_output=True, text=True, timeout=60
            )
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.count("Prediction(") == 2
