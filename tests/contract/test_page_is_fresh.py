"""The page that is served is what its sources build to: the built files are committed."""

import re
from pathlib import Path

from node import needs_node_modules, node
from support import ROOT

WEB = ROOT / "serving" / "attnvgg_serving" / "web"
ADDRESS = re.compile(r"https?://[\w.:-]+")
NAMES_ONLY = (  # what looks like an address and is never asked
    "icon.svg: http://www.w3.org",
    "page.js: http://www.w3.org",
    "page.js: http://127.0.0.1:3000",  # the SDK's default in Node
)
COMMAND = "npm run build --workspace serving/page"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@needs_node_modules
def test_the_built_page_is_that_of_the_sources(tmp_path: Path) -> None:
    node("vite", "build", "--outDir", str(tmp_path), folder=ROOT / "serving" / "page")
    built, served = contents(tmp_path), contents(WEB)
    assert built.keys() == served.keys(), f"run `{COMMAND}`"
    different = [name for name in built if built[name] != served[name]]
    assert different == [], f"run `{COMMAND}`"


def test_the_page_names_no_address_but_its_own() -> None:
    """Relative ones: it works beneath a proxy's path, and asks nobody else."""
    assert 'src="./web/page.js"' in (WEB / "index.html").read_text("utf-8")
    found = {
        f"{name}: {address}"
        for name, content in contents(WEB).items()
        if Path(name).suffix in (".css", ".html", ".js", ".svg")
        for address in ADDRESS.findall(content.decode())
    }
    assert found <= set(NAMES_ONLY)
