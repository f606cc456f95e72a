"""A virtual environment for each server, made once, with pinned peers."""

import json
import subprocess
import sys
from pathlib import Path

from settings import (
    BEFORE_TRITON,
    BENTOML,
    ENVIRONMENTS,
    FASTAPI,
    GATEWAY,
    LITSERVE,
    ROOT,
    TRITON_1,
    TRITON_2,
)

sys.path.insert(0, str(ROOT / "tests"))
from support import free_port
from triton_server import NoTriton, triton_environment, triton_home

GRAPH = ("onnxruntime==1.31.1", "numpy==2.4.6", "pillow==13.0.0")
# All that are uvicorn underneath get its fast loop and parser, also where they do not ask for them.
FAST = ("uvloop==0.23.0", "httptools==0.9.0")
PACKAGES = {
    GATEWAY: ("--editable", f"{ROOT}[serve]"),
    BEFORE_TRITON: ("--editable", f"{ROOT}[serve,triton]"),
    BENTOML: ("bentoml==1.4.39", *GRAPH, *FAST),
    LITSERVE: ("litserve==0.2.19", *GRAPH, *FAST),
    FASTAPI: ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", *GRAPH, *FAST),
}
NAMED = ("bentoml", "litserve", "fastapi", "uvicorn", "uvloop", "httptools", "onnxruntime")
NAMED += ("numpy", "pillow", "nvidia-pytriton", "tritonclient", "grpcio")


def environment(server: str, quick: bool = False) -> Path:
    """The folder of the server's environment, which is made if it is not there or not the same.

    A quick run takes the gateway of this very environment.

    Raises:
        NoTriton: Triton cannot be installed here.
        subprocess.CalledProcessError: pip failed, and has said why.
    """
    if quick and server == GATEWAY:
        return Path(sys.prefix)
    if server in (TRITON_1, TRITON_2):
        ENVIRONMENTS.mkdir(exist_ok=True)
        return triton_environment(ENVIRONMENTS / "triton")
    folder, packages = ENVIRONMENTS / server, PACKAGES[server]
    project = (ROOT / "pyproject.toml").read_text() if server in (GATEWAY, BEFORE_TRITON) else ""
    wanted, marker = "\n".join([*packages, sys.version, project]), folder / "installed"
    if not (marker.is_file() and marker.read_text() == wanted):
        print(f"installing {folder.relative_to(ROOT)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--disable-pip-version-check", *packages], check=True)
        marker.write_text(wanted)
    return folder


def versions(folder: Path) -> dict[str, str]:
    """What is installed there, of the packages that matter."""
    command = [folder / "bin" / "python", "-m", "pip", "list", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {each["name"].lower(): each["version"] for each in json.loads(done.stdout)}
    return {name: found[name] for name in NAMED if name in found}


__all__ = ["NoTriton", "environment", "free_port", "triton_home", "versions"]
