"""The soak runs and says what it found; its slope is that of the memory that stays."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT

SOAK = ROOT / "benchmarks" / "soak"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read memory from")
def test_a_few_seconds_of_it(tiny_models: Path, tmp_path: Path) -> None:
    options = ["--seconds", "8", "--rate", "10", "--models", str(tiny_models)]
    command = [sys.executable, str(SOAK / "soak.py"), "--out", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    outcomes = results["outcomes"]
    assert sum(outcomes.values()) == 80
    assert outcomes["small 200"] > 5
    assert not any(name.split()[1].startswith("5") for name in outcomes if "late" not in name)
    assert min(results["samples"]["megabytes"]) > 20
    assert "MB an hour" in (tmp_path / "RESULTS.md").read_text()


def test_the_slope_is_that_of_what_stays() -> None:
    code = (
        "from fit import slope; t = list(map(float, range(600)));"
        "spikes = [300.0 * (i % 7 == 0) for i in range(600)];"
        "print(*slope(t, [100 + i / 60 + s for i, s in zip(t, spikes)]), *slope(t, [9.0] * 600))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SOAK)
    rising, interval, flat, none = map(float, done.stdout.split())
    assert rising == pytest.approx(60, abs=5)
    assert 0 < interval < 10
    assert (flat, none) == (pytest.approx(0), pytest.approx(0))
