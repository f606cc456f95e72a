"""What is built of this tree: the page is in it as it is served, and building it needs no Node."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support import ROOT, run

WEB = ROOT / "serving" / "attnvgg_serving" / "web"
SDIST = "import hatchling.build, sys; print(hatchling.build.build_sdist(sys.argv[1]))"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built from, with node_modules lying about, without git."""
    folder = tmp_path_factory.mktemp("tree") / "attnvgg"
    folder.mkdir()
    for name in ("export", "training", "serving", "clients"):
        ignored = shutil.ignore_patterns("__pycache__", "node_modules", "checkpoints", "dist")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in (
        "node_modules",
        "serving/page/node_modules",
        "serving/attnvgg_serving/node_modules",
    ):
        (folder / name / "some").mkdir(parents=True)
        (folder / name / "some" / "left-over.js").write_text("throw Error('not ours')")
    return folder


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked."""
    tools, out = tmp_path_factory.mktemp("tools"), tmp_path_factory.mktemp("sdist")
    pip("install", "--target", str(tools), "hatchling>=1.27")
    made = run([sys.executable, "-c", SDIST, str(out)], tree, PYTHONPATH=str(tools))
    subprocess.run(["tar", "-xf", out / made.strip(), "-C", out], check=True)
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    return folder


@pytest.fixture(scope="module", params=["tree", "sdist"])
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in the wheel, built without Node on the PATH."""
    source: Path = request.getfixturevalue(request.param)
    out = tmp_path_factory.mktemp("wheel")
    bare = tmp_path_factory.mktemp("bin")
    assert not shutil.which("node", path=str(bare))
    pip("wheel", "--no-deps", "--wheel-dir", str(out), str(source), PATH=str(bare))
    (file,) = out.iterdir()
    with zipfile.ZipFile(file) as archive:
        for path in served():
            name = f"attnvgg_serving/web/{path}"
            assert archive.read(name) == (WEB / path).read_bytes(), name
        return archive.namelist()


def served() -> set[str]:
    found = {path.relative_to(WEB).as_posix() for path in WEB.rglob("*") if path.is_file()}
    assert {"index.html", "page.js", "icon.svg"} <= found
    assert any(name.startswith("samples/") for name in found)
    return found


def pip(*arguments: str, **environment: str) -> None:
    run([sys.executable, "-m", "pip", "--quiet", *arguments], ROOT, **environment)


def test_the_wheel_holds_the_page_and_not_its_sources(wheel: list[str]) -> None:
    web = {name for name in wheel if name.startswith("attnvgg_serving/web/")}
    assert web == {f"attnvgg_serving/web/{name}" for name in served()}
    roots = {name.partition("/")[0] for name in wheel}
    roots = {name for name in roots if not name.endswith(".dist-info")}
    expected = {"attnvgg_bundle", "attnvgg_export", "attnvgg_training", "attnvgg_serving"}
    assert roots == expected
    assert not [name for name in wheel if "node_modules" in name or name.endswith((".tsx", ".ts"))]


def test_the_sdist_holds_the_sources_and_nothing_that_lies_about(sdist: Path) -> None:
    assert (sdist / "serving/page/src/main.tsx").is_file()
    assert (sdist / "clients/typescript/package.json").is_file()
    assert not list(sdist.rglob("left-over.js"))
    assert not list(sdist.rglob("node_modules"))
