"""What the tests of exported bundles share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def bundle(tiny_models: Path) -> Path:
    return tiny_models / "tiny" / "1"
