"""The client that the tests import is the one in the sources: a wheel is a copy, and copies age."""

import filecmp
from pathlib import Path

import attnvgg_client
from support import ROOT

SOURCES = ROOT / "clients" / "python" / "attnvgg_client"


def test_the_installed_client_is_that_of_the_sources() -> None:
    installed = Path(attnvgg_client.__file__).parent
    names = {path.name for folder in (SOURCES, installed) for path in folder.iterdir()}
    _, different, missing = filecmp.cmpfiles(
        SOURCES, installed, sorted(names - {"__pycache__"}), shallow=False
    )
    assert different + missing == [], "run scripts/test, which installs the client's wheel again"
