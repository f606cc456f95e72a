"""scripts/_environment: node_modules when it changed, and none where npm's registry is away."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support import ROOT

CALL = '. scripts/_environment; node_modules; echo "without: ${WITHOUT_NODE_MODULES-}"'
UNREACHABLE = ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH"]
UNREACHABLE += ["ERR_SOCKET_TIMEOUT", "E403", "E429", "E502", "E503", "SELF_SIGNED_CERT_IN_CHAIN"]
NPM = """#!/bin/sh
echo "$*" >> calls
mkdir -p node_modules/half
cat answer
exit "$(cat status)"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that decide, and an npm that does as it is told."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for name, text in (("npm", NPM), ("node", "#!/bin/sh\necho v24.0.0\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def call(tree: Path, error: str | None = None) -> subprocess.CompletedProcess[str]:
    """What the function does when npm succeeds, or fails with this code."""
    said = f"npm error code {error}\nnpm error something more\n" if error else ""
    (tree / "answer").write_text(said)
    (tree / "status").write_text("1" if error else "0")
    environment = {**os.environ, "PATH": f"{tree / 'bin'}:{os.environ['PATH']}"}
    environment.pop("WITHOUT_NODE_MODULES", None)
    command = ["bash", "-euo", "pipefail", "-c", CALL]
    return subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=60
    )


def calls(tree: Path) -> list[str]:
    return (tree / "calls").read_text().splitlines()


def test_it_is_brought_once_until_the_lock_file_changes(tree: Path) -> None:
    for _ in range(2):
        done = call(tree)
        assert (done.returncode, done.stdout) == (0, "without: \n"), done.stderr
    (only,) = calls(tree)
    assert only.startswith("ci --ignore-scripts")
    with (tree / "package-lock.json").open("a") as lock:
        lock.write("\n \n")
    assert call(tree).returncode == 0
    (tree / ".npmrc").write_text("fund=false\n")
    assert call(tree).returncode == 0
    shutil.rmtree(tree / "node_modules")
    assert call(tree).returncode == 0
    assert len(calls(tree)) == 4


@pytest.mark.parametrize("error", UNREACHABLE)
def test_a_registry_out_of_reach_leaves_it_out_and_says_so(tree: Path, error: str) -> None:
    done = call(tree, error)
    assert done.returncode == 0
    assert done.stdout == f"without: npm's registry cannot be reached: code {error}\n"
    assert (
        "without node_modules, so neither lint, types nor tests of the TypeScript: " in done.stderr
    )
    assert not (tree / "node_modules").exists(), "half of it is worse than none"
    assert call(tree).stdout == "without: \n", "the next run tries again"


@pytest.mark.parametrize("error", ["EUSAGE", "EINTEGRITY", "E404", "ETARGET", "ERESOLVE", "ENOENT"])
def test_a_wrong_lock_file_stops_it_with_the_words_of_npm(tree: Path, error: str) -> None:
    done = call(tree, error)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"npm error code {error}\nnpm error something more" in done.stderr
    assert not (tree / "node_modules").exists()


def test_serving_needs_no_node() -> None:
    text = (ROOT / "scripts" / "serve").read_text()
    assert "node" not in text
    assert "npm" not in text
