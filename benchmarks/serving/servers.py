"""How each server is started, in its own environment, and ended."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import environments
from environments import free_port, triton_home
from settings import (
    BEFORE_TRITON,
    BENTOML,
    FASTAPI,
    GATEWAY,
    HERE,
    LITSERVE,
    MAX_BATCH,
    ROOT,
    TRITON_1,
    TRITON_2,
)

from attnvgg_bundle.manifest import Manifest
from attnvgg_export import cli as export

INSTANCES = {TRITON_1: 1, TRITON_2: 2, BEFORE_TRITON: 2}


class NotStarted(Exception):
    """A server that did not become ready; the end of its log."""


@dataclass(frozen=True)
class Site:
    """Where a run keeps its things. models: a models folder with the one bundle."""

    folder: Path
    models: Path
    manifest: Manifest

    @property
    def bundle(self) -> Path:
        return self.models / self.manifest.name / self.manifest.version


@dataclass(frozen=True)
class Start:
    """A command, what it adds to the variables, and the path that says that it is ready."""

    command: list[str]
    variables: dict[str, str]
    ready: str
    folder: Path = HERE / "services"


@contextmanager
def running(server: str, environment: Path, site: Site) -> Iterator[tuple[int, int]]:
    """Yields the process id and the port of a server that is ready; ends it with its children."""
    port = free_port()
    start = _STARTS[server](server, environment, port, site)
    log = site.folder / f"{server}.log"
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    variables = {**_clean(os.environ), "PATH": path, **start.variables}
    with log.open("ab") as stream:
        process = subprocess.Popen(
            start.command,
            cwd=start.folder,
            env=variables,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        _wait(f"http://127.0.0.1:{port}{start.ready}", process, log)
        yield process.pid, port
    finally:
        _end(process)


def triton_repository(server: str, site: Site) -> Path:
    """Written once for each number of instances; together they have a thread for each core."""
    count = INSTANCES[server]
    folder = site.folder / f"repository-{count}"
    if not folder.is_dir():
        threads = max(1, len(os.sched_getaffinity(0)) // count)
        options = ["--backend", "python", "--kind", "cpu", "--max-batch", str(MAX_BATCH)]
        options += ["--instances", str(count), "--threads", str(threads)]
        if export.main(["triton", str(site.models), "--repository", str(folder), *options]):
            raise NotStarted("attnvgg-export triton failed, as it says above")
    return folder


def _gateway(server: str, environment: Path, port: int, site: Site) -> Start:
    command = [str(environment / "bin" / "bentoml"), "serve", "--host", "127.0.0.1"]
    variables = {
        "ATTNVGG_MODELS": str(site.models),
        "ATTNVGG_MAX_BATCH": str(MAX_BATCH),
        **_bento_home(server, site),
    }
    return Start([*command, "--port", str(port)], variables, "/readyz", ROOT)


def _triton(server: str, environment: Path, port: int, site: Site) -> Start:
    home, name = triton_home(environment), site.manifest.name
    command = [str(home / "bin" / "tritonserver"), "--http-address=127.0.0.1"]
    command += [f"--model-repository={triton_repository(server, site)}", f"--http-port={port}"]
    command += [f"--backend-directory={home / 'backends'}", f"--cache-directory={home / 'caches'}"]
    command += ["--model-control-mode=explicit", f"--load-model={name}"]
    command += [f"--load-model={name}-encoded", "--allow-metrics=false"]
    grpc = ["--grpc-address=127.0.0.1", f"--grpc-port={free_port()}"]
    command += grpc if server == BEFORE_TRITON else ["--allow-grpc=false"]
    command += [f"--backend-config=python,shm-region-prefix-name=attnvgg-benchmark-{port}-"]
    return Start(command, {}, "/v2/health/ready", site.folder)


def _before_triton(server: str, environment: Path, port: int, site: Site) -> Start:
    """Both in one tree of processes, whose CPU and memory count together."""
    triton_environment = environments.environment(TRITON_2)
    triton = _triton(server, triton_environment, free_port(), site)
    (grpc,) = (a.split("=")[1] for a in triton.command if a.startswith("--grpc-port="))
    gateway = _gateway(server, environment, port, site)
    address = {"ATTNVGG_ENGINE": "triton", "ATTNVGG_TRITON_URL": f"127.0.0.1:{grpc}"}
    commands = json.dumps([[str(triton_environment / "bin"), *triton.command], gateway.command])
    command = [sys.executable, str(HERE / "services" / "pair.py"), commands]
    return replace(gateway, command=command, variables={**gateway.variables, **address})


def _bentoml(server: str, environment: Path, port: int, site: Site) -> Start:
    command = [str(environment / "bin" / "bentoml"), "serve", "bento_stock:Classifier"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    return Start(command, {**_service(site), **_bento_home(server, site)}, "/readyz")


def _litserve(server: str, environment: Path, port: int, site: Site) -> Start:
    command = [str(environment / "bin" / "python"), "lit.py", str(port)]
    return Start(command, _service(site), "/health")


def _fastapi(server: str, environment: Path, port: int, site: Site) -> Start:
    command = [str(environment / "bin" / "uvicorn"), "fast:app", "--host", "127.0.0.1"]
    return Start([*command, "--port", str(port)], _service(site), "/ready")


def _trivial(server: str, environment: Path, port: int, site: Site) -> Start:
    return Start([sys.executable, "trivial.py", str(port)], {}, "")


_STARTS = {
    GATEWAY: _gateway,
    BEFORE_TRITON: _before_triton,
    TRITON_1: _triton,
    TRITON_2: _triton,
    BENTOML: _bentoml,
    LITSERVE: _litserve,
    FASTAPI: _fastapi,
    "trivial": _trivial,
}


def _service(site: Site) -> dict[str, str]:
    """What services/*.py read."""
    size = site.manifest.input
    return {
        "BENCHMARK_GRAPH": str(site.bundle / "model.onnx"),
        "BENCHMARK_SIZE": f"{size.height}x{size.width}",
        "BENCHMARK_MAX_BATCH": str(MAX_BATCH),
    }


def _bento_home(server: str, site: Site) -> dict[str, str]:
    return {"BENTOML_HOME": str(site.folder / server), "BENTOML_DO_NOT_TRACK": "True"}


def _clean(variables: Mapping[str, str]) -> dict[str, str]:
    """Without what would set one of the servers otherwise than by default."""
    ours = ("ATTNVGG_", "BENTOML_", "OMP_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in variables.items() if not name.startswith(ours)}


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if _answers(url):
                return
        except OSError:
            pass
        time.sleep(0.1)
    text = log.read_text(errors="replace")
    raise NotStarted(f"{url} did not become ready; {log} ends with\n{text[-2000:]}")


def _answers(url: str) -> bool:
    """Whether it says 200; a bare address, of a server that has no routes, need only connect."""
    host, _, path = url.removeprefix("http://").partition("/")
    if not path:
        name, port = host.split(":")
        socket.create_connection((name, int(port)), 5).close()
        return True
    try:
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except urllib.error.HTTPError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the server, time to stop, and then the rest of its own process group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
