"""Tests leave nothing in the user's cache folder."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def data_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where downloads, unpacked files and surveys go; it does not exist yet."""
    folder = tmp_path / "data-cache"
    monkeypatch.setenv("ATTNVGG_DATA", str(folder))
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on the shapes; to be read, not changed."""
    from training_support import train

    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTNVGG_DATA", str(home / "data-cache"))
        assert train(home / "shapes") == 0
    return home / "shapes"
