"""The metrics' table, their labels, and what dead workers leave behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attnvgg_serving import metrics, stages
from attnvgg_serving.http import app as http
from attnvgg_serving.http.routes import method_of, route_of
from support import ROOT


def test_the_documentation_has_the_table() -> None:
    assert metrics.table() in (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_nothing_is_measured_before_the_start() -> None:
    metrics.refused("no such code")
    metrics.predicted(1, "model", "1", "cpu")
    stages.ran([], 0.0, 1.0, stages.UNNAMED)
    assert not metrics._meters


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/v1/predict", "/v1/predict"),
        ("/v2/models/anything/infer", "/v2/models/{name}/infer"),
        ("/v2/models/a/versions/b/infer", "/v2/models/{name}/versions/{version}/infer"),
        ("/web/page.js", "/web"),
        ("/web/../../etc/passwd", "/web"),
        ("/wp-login.php", "other"),
        ("/v1/predict/", "other"),
        ("", "other"),
    ],
)
def test_every_path_has_one_of_few_names(path: str, template: str) -> None:
    assert route_of({"app": http.create(), "path": path}) == template


def test_methods_are_few() -> None:
    assert [method_of({"method": method}) for method in ("GET", "EVIL")] == ["GET", "other"]


def test_the_gauges_of_the_dead_are_removed_and_their_counters_kept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in ("gauge_livesum", "counter", "histogram"):
        for pid in (dead.pid, os.getpid()):
            (tmp_path / f"{name}_{pid}.db").touch()
    metrics.forget_the_dead(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        f"gauge_livesum_{os.getpid()}.db",
        *(
            f"{name}_{pid}.db"
            for name in ("counter", "histogram")
            for pid in (dead.pid, os.getpid())
        ),
    }
