"""The tests of the TypeScript, which Vitest runs, and the package that npm makes of the SDK."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from node import needs_node_modules, node
from support import ROOT

SDK = ROOT / "clients" / "typescript"
pytestmark = needs_node_modules


@pytest.mark.timeout(600)
@pytest.mark.parametrize("folder", ["clients/typescript", "serving/page"])
def test_vitest_passes(tmp_path: Path, folder: str) -> None:
    """The SDK's tests start one gateway of their own, with a key and the default model."""
    report = tmp_path / "report.json"
    options = ["run", "--reporter=default", "--reporter=json", f"--outputFile={report}"]
    own = {"CI": "true", "ATTNVGG_TEST_URL": ""}
    said = node("vitest", *options, folder=ROOT / folder, seconds=580, **own)
    found = json.loads(report.read_text("utf-8"))
    assert found["success"], said
    assert found["numPassedTests"] > 20, said
    assert found["numTotalTests"] == found["numPassedTests"], f"some were left out\n{said}"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package lies as npm would install it, and nothing else."""
    folder = tmp_path_factory.mktemp("user")
    npm("pack", "--silent", "--pack-destination", str(folder), folder=SDK)
    (archive,) = folder.glob("attnvgg-client-*.tgz")
    (folder / "node_modules").mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", folder / "node_modules"], check=True)
    (folder / "node_modules" / "package").rename(folder / "node_modules" / "attnvgg-client")
    return folder


def npm(*arguments: str, folder: Path) -> None:
    environment = {**os.environ, "npm_config_update_notifier": "false"}
    command = ["npm", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_holds_what_is_built_and_nothing_else(installed: Path) -> None:
    package = installed / "node_modules" / "attnvgg-client"
    held = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    sources = {path.stem for path in (SDK / "src").glob("*.ts")}
    built = {f"dist/{name}{end}" for name in sources for end in (".js", ".d.ts")}
    assert held >= {"package.json", "README.md", "LICENSE", "dist/index.js", "dist/index.d.ts"}
    extra = held - built - {"package.json", "README.md", "LICENSE"}
    assert {Path(name).suffix for name in extra} <= {".map"}, extra
    record = json.loads((package / "package.json").read_text("utf-8"))
    assert not record.get("dependencies")
    assert record["type"] == "module"


def test_a_user_imports_it_and_gets_its_types(installed: Path) -> None:
    program = "import('attnvgg-client').then((it) => console.log(Object.keys(it).join(' ')))"
    done = subprocess.run(
        ["node", "--eval", program], cwd=installed, capture_output=True, text=True, timeout=60
    )
    assert {"Client", "AttnVGGError", "overlay", "paint"} <= set(done.stdout.split()), done.stderr
    (installed / "user.ts").write_text(
        'import { Client, type Prediction } from "attnvgg-client";\n'
        'const client = new Client("http://127.0.0.1:3000", { apiKey: "key" });\n'
        "export const answer: Promise<Prediction> = client.predict(new Blob([]), { topK: 3 });\n"
    )
    (installed / "wrong.ts").write_text(
        'import { Client } from "attnvgg-client";\n'
        "export const answer: Promise<string> = new Client().predict(new Blob([]), { topk: 3 });\n"
    )
    strict = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"]
    strict += ["--lib", "es2023,dom"]
    node("tsc", *strict, "user.ts", folder=installed)
    with pytest.raises(AssertionError, match="topk"):
        node("tsc", *strict, "wrong.ts", folder=installed)
