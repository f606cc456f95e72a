"""No release that SECURITY.md rules out can be installed or started from this repository."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from support import ROOT

SECURITY = ROOT / "SECURITY.md"
TRITON = re.compile(r"nvcr\.io/nvidia/tritonserver:([^\s\"'}]+)")


def floors() -> dict[str, Version]:
    """The table of SECURITY.md."""
    text = SECURITY.read_text().partition("## Floors")[2]
    return {name: Version(v) for name, v in re.findall(r"^\| (\w+) \| ([0-9.]+) \|", text, re.M)}


def required() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    yield from (Requirement(line) for lines in lists for line in lines)


def test_the_table_has_what_the_survey_found() -> None:
    assert set(floors()) == {"bentoml", "pillow", "torch", "tritonserver"}


@pytest.mark.parametrize("name", ["bentoml", "pillow", "torch"])
def test_nothing_below_a_floor_satisfies_pyproject(name: str) -> None:
    floor = floors()[name]
    *head, last = [*floor.release, 0, 0, 0][:3]
    below = [f"{'.'.join(map(str, [*head, last - 1]))}"] if last else []
    major, minor = floor.release[:2]
    below += [f"{major}.{minor - 1}.99", f"{major - 1}.99.0"]
    found = [requirement for requirement in required() if requirement.name == name]
    assert found
    for requirement in found:
        lets_in = [version for version in below if requirement.specifier.contains(version)]
        assert not lets_in, f"{requirement} lets in {lets_in}"


def test_what_the_image_installs_is_no_older() -> None:
    text = (ROOT / "deploy" / "constraints.txt").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.M))
    here = {name: Version(pinned[name]) for name in floors() if name in pinned}
    assert set(here) == {"bentoml", "pillow"}
    assert "torch" not in pinned
    assert all(version >= floors()[name] for name, version in here.items())


def test_no_image_of_triton_is_older() -> None:
    places = [ROOT / "docker-compose.yml", ROOT / ".env.example", *(ROOT / "deploy").rglob("*")]
    found = {
        (path.name, tag)
        for path in places
        if path.is_file() and path.suffix != ".json"
        for tag in TRITON.findall(path.read_text())
    }
    assert {name for name, _ in found} >= {
        "docker-compose.yml",
        ".env.example",
        "triton.Dockerfile",
    }
    for path, tag in found:
        version = re.fullmatch(r"(\d\d\.\d\d)-py3(@sha256:[0-9a-f]{64})?", tag)
        assert version, (path, tag)
        assert Version(version[1]) >= floors()["tritonserver"], (path, tag)


def test_the_pillow_that_triton_decodes_with_is_no_older() -> None:
    for path in sorted((ROOT / "deploy").glob("triton*.Dockerfile")):
        (version,) = re.findall(r"pillow==([0-9.]+)", path.read_text())
        assert Version(version) >= floors()["pillow"], path
