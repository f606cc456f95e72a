"""The one-shots of docker-compose.yml: what publishes bundles, and what makes keys."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from attnvgg_bundle import manifest as manifests
from attnvgg_serving import keys as key_files
from golden_bundle import golden_bundle
from support import ROOT

pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("flock", "cmp", "awk")),
    reason="the scripts run in Debian's base system",
)


def run(script: str, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script with its folders below `root` in place of `/`."""
    text = (ROOT / "deploy" / script).read_text()
    for folder in ("models", "bundles", "triton", "keys", "metrics-key", "grafana-password"):
        (root / folder).mkdir(exist_ok=True)
        for before in "= ":
            text = text.replace(f"{before}/{folder}", f"{before}{root}/{folder}")
    # As where the gateway's commands are installed, for this Python.
    programs = root / "bin"
    programs.mkdir(exist_ok=True)
    for name, module in {"serve": "attnvgg_serving", "export": "attnvgg_export"}.items():
        program = programs / f"attnvgg-{name}"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module}.cli "$@"\n')
        program.chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", text, script, *arguments],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )


def publish(root: Path) -> str:
    done = run("publish.sh", root, "--backend", "python")
    assert done.returncode == 0, done.stderr
    return done.stdout


def version(root: Path, number: str, gain: float = 1.0) -> Path:
    """A bundle in /models."""
    folder = root / "models" / "plain" / number
    manifest = golden_bundle(folder, gain)
    replace(manifest, version=number).write(folder)
    return folder


def served(root: Path) -> dict[str, str]:
    """What the gateway finds: version -> identity."""
    found = manifests.read_all(root / "bundles")
    return {m.version: manifests.sha256(f / manifests.FILE_NAME) for f, m in found}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    version(tmp_path, "1")
    (tmp_path / "models" / "default").write_text("plain\n")
    publish(tmp_path)
    return tmp_path


def test_both_get_every_bundle(root: Path) -> None:
    assert list(served(root)) == ["1"]
    assert (root / "triton" / "repository" / "plain" / "1" / "model.onnx").is_file()
    assert (root / "bundles" / "default").read_text() == "plain\n"


def test_again_changes_nothing(root: Path) -> None:
    place = root / "bundles" / "plain" / "1"
    before = place.stat().st_ino
    assert "published" not in publish(root)
    assert place.stat().st_ino == before


def test_a_new_version_joins_and_a_removed_one_leaves_the_gateway_alone(root: Path) -> None:
    new = version(root, "2", gain=2.0)
    assert "published plain version 2" in publish(root)
    assert sorted(served(root)) == ["1", "2"]
    shutil.rmtree(new)
    assert "retired   plain version 2" in publish(root)
    assert list(served(root)) == ["1"]
    assert (root / "triton" / "repository" / "plain" / "2").is_dir()


def test_what_triton_refuses_the_gateway_never_sees(root: Path) -> None:
    before = served(root)
    shutil.rmtree(root / "models" / "plain" / "1")
    version(root, "1", gain=2.0)  # a version may not change
    version(root, "2")
    done = run("publish.sh", root, "--backend", "python")
    assert done.returncode != 0
    assert "a version is never changed" in done.stderr
    assert "Traceback" not in done.stderr
    assert served(root) == before


def test_an_export_in_progress_is_passed_over(root: Path) -> None:
    version(root, "2").rename(root / "models" / "plain" / ".2")
    publish(root)
    assert list(served(root)) == ["1"]


def test_a_text_that_changed_is_exchanged(root: Path) -> None:
    folder = root / "models" / "plain" / "1"
    manifest = manifests.read(folder)
    replace(manifest, metrics={"accuracy": 0.5}).write(folder)
    assert "published plain version 1" in publish(root)
    assert served(root)["1"] == manifests.sha256(folder / manifests.FILE_NAME)
    assert sorted(p.name for p in (root / "bundles" / "plain").iterdir()) == ["1"]


def keys(root: Path, *arguments: str) -> str:
    done = run("keys.sh", root, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(root: Path, *found: str) -> list[str]:
    """Whose of these keys the gateway takes."""
    file = key_files.KeyFile(root / "keys" / "keys")
    return [key.name for one in found if (key := file.find(one.strip())) is not None]


def test_at_the_first_start_prometheus_gets_a_key_and_grafana_a_password(tmp_path: Path) -> None:
    assert keys(tmp_path) == ""
    metrics = tmp_path / "metrics-key" / "metrics_key"
    assert names(tmp_path, metrics.read_text()) == ["prometheus"]
    password = keys(tmp_path, "--password").strip()
    assert len(password) >= 20
    assert (tmp_path / "grafana-password" / "password").read_text() == password
    # Read by other users of the containers, written by none.
    assert oct(metrics.stat().st_mode)[-3:] == "444"
    files = [metrics, tmp_path / "keys" / "keys", tmp_path / "grafana-password" / "password"]
    before = [file.read_text() for file in files]
    keys(tmp_path)
    assert [file.read_text() for file in files] == before


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    alice, root = keys(tmp_path, "alice", "--rate", "5"), keys(tmp_path, "root", "--admin")
    assert names(tmp_path, alice, root) == ["alice", "root"]
    assert alice.strip() not in (tmp_path / "keys" / "keys").read_text()
    assert keys(tmp_path, "--list").split() == ["alice", "root"]
    keys(tmp_path, "--revoke", "alice")
    assert names(tmp_path, alice, root) == ["root"]


def test_prometheus_key_is_exchanged_by_revoking_it(tmp_path: Path) -> None:
    keys(tmp_path)
    metrics = tmp_path / "metrics-key" / "metrics_key"
    old = metrics.read_text()
    keys(tmp_path, "--revoke", "prometheus")
    keys(tmp_path)
    assert names(tmp_path, old, metrics.read_text()) == ["prometheus"]
    assert metrics.read_text() != old


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--revoke", "bob"], "there is no key of 'bob'"),
        (["--revoke"], "whose?"),
        (["--wrong"], "there is no option --wrong"),
        (["alice", "--rate", "0"], "rate=N"),
        (["al ice"], "al"),
    ],
)
def test_a_mistake_is_a_line_and_changes_nothing(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    keys(tmp_path, "alice")
    before = (tmp_path / "keys" / "keys").read_text()
    done = run("keys.sh", tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "keys" / "keys").read_text() == before
