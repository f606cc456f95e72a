"""The real Triton: its environment, made once, and a server on loopback to talk to."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from support import ROOT, end, free_port, start

# The real Triton comes with this wheel; its Python backend misreads the arrays of numpy 2.
TRITON_ITSELF = "nvidia-pytriton==0.7.0"
TRITON_PACKAGES = ("numpy<2", "onnxruntime>=1.23", "pillow>=12.3")


class NoTriton(Exception):
    """Triton cannot be installed on this machine; says why."""


def triton_environment(folder: Path = ROOT / ".venv-triton") -> Path:
    """A virtual environment with Triton and none of our packages; made once.

    Raises:
        NoTriton: with the reason.
    """
    python, marker = folder / "bin" / "python", folder / "installed"
    wanted = "\n".join([TRITON_ITSELF, *TRITON_PACKAGES, sys.version, str(folder)])
    folder.mkdir(exist_ok=True)
    with _locked(folder):
        if marker.is_file() and marker.read_text() == wanted:
            return folder
        _command(sys.executable, "-m", "venv", "--clear", folder)
        install = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _command(*install, *TRITON_PACKAGES)
        _command(*install, "--no-deps", TRITON_ITSELF)
        _prepare(triton_home(folder))
        marker.write_text(wanted)
    return folder


def triton_home(environment: Path) -> Path:
    """Where the wheel keeps the server."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / version / "site-packages" / "pytriton" / "tritonserver"


def _prepare(home: Path) -> None:
    """Does what the wheel's own launcher does: puts this Python's stub in its place."""
    name = "triton_python_backend_stub"
    source = home / "python_backend_stubs" / ".".join(map(str, sys.version_info[:2])) / name
    if not source.is_file():
        raise NoTriton(f"{TRITON_ITSELF} has no stub for Python {sys.version.split()[0]}")
    stub = Path(shutil.copy(source, home / "backends" / "python"))
    for program in (stub, home / "bin" / "tritonserver"):
        program.chmod(0o755)
        # Without arguments both say how they are used; the loader says what it does not find.
        done = subprocess.run([program], capture_output=True, text=True, timeout=60)
        if done.returncode == 127:
            raise NoTriton(done.stderr.strip())


def _command(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise NoTriton(f"{' '.join(map(str, command))} failed: {' '.join(last)}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Answer:
    """Triton's answer to one request; `error` is None where there are outputs."""

    status: int
    version: str | None
    outputs: dict[str, np.ndarray]
    error: str | None


class Triton:
    """A `tritonserver` of our own on loopback, speaking HTTP at `url` and gRPC at `grpc`.

    python: the environment that its models run in.
    """

    def __init__(
        self,
        environment: Path,
        home: Path,
        repository: Path,
        *flags: str,
        python: Path | None = None,
    ) -> None:
        port, server = free_port(), triton_home(environment)
        self.url = f"http://127.0.0.1:{port}"
        self.log = home / "log"
        self.shared = f"attnvgg-test-{os.getpid()}-{port}-"
        self.client = httpx.Client(base_url=self.url, timeout=60)
        programs = (python or environment) / "bin"
        command = [str(server / "bin" / "tritonserver"), f"--model-repository={repository}"]
        command += [f"--backend-directory={server / 'backends'}", "--http-address=127.0.0.1"]
        command += [f"--cache-directory={server / 'caches'}", f"--http-port={port}"]
        self.grpc = f"127.0.0.1:{free_port()}"
        command += ["--grpc-address=127.0.0.1", f"--grpc-port={self.grpc.split(':')[1]}"]
        command += ["--allow-metrics=false"]
        command += [f"--backend-config=python,shm-region-prefix-name={self.shared}", *flags]
        # The backend takes the packages of the first python3 on the path.
        path = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        self._start = partial(start, command, home, path, self.log)
        self.process = self._start()

    def restart(self) -> None:
        """A new process at the same addresses; the old one must have ended."""
        self.process = self._start()

    def wait(self, path: str = "/v2/health/ready", seconds: float = 60) -> None:
        """Returns when `path` says 200; raises RuntimeError with the log if it never does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.client.get(path).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"{path} did not become ready:\n{self.log.read_text(errors='replace')}")

    def infer(self, *arguments: Any, **options: Any) -> Answer:
        """One request; see the function."""
        return infer(self.client, *arguments, **options)

    def end(self) -> None:
        """SIGTERM, waits, and removes what its own backends left in shared memory."""
        self.client.close()
        try:
            end(self.process)
        finally:
            for left in Path("/dev/shm").glob(f"{self.shared}*"):
                left.unlink()


def infer(
    client: httpx.Client,
    model: str,
    name: str,
    values: np.ndarray | list[bytes],
    outputs: Sequence[str] = (),
    version: str = "",
    classes: int = 0,
    **parameters: object,
) -> Answer:
    """One request with one input: uint8 [B, H, W, 3], or B encoded pictures as BYTES [B, 1].

    Args:
        outputs: the ones to ask for; none: all.
        classes: asks for as many labels in place of numbers.
        parameters: of the request, such as timeout in microseconds.
    """
    if isinstance(values, list):
        shape, kind = [len(values), 1], "BYTES"
        data = b"".join(len(each).to_bytes(4, "little") + each for each in values)
    else:
        shape, kind, data = list(values.shape), "UINT8", values.tobytes()
    tensor = {"name": name, "shape": shape, "datatype": kind}
    body: dict[str, Any] = {"parameters": {"binary_data_output": True, **parameters}}
    body["inputs"] = [{**tensor, "parameters": {"binary_data_size": len(data)}}]
    form = {"binary_data": True} | ({"classification": classes} if classes else {})
    if outputs:
        body["outputs"] = [{"name": each, "parameters": form} for each in outputs]
    head = json.dumps(body).encode()
    path = f"/v2/models/{model}/" + (f"versions/{version}/" if version else "")
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return _answer(client.post(f"{path}infer", content=head + data, headers=headers))


def _answer(response: httpx.Response) -> Answer:
    if response.status_code != 200:
        return Answer(response.status_code, None, {}, response.json()["error"])
    length = int(response.headers["Inference-Header-Content-Length"])
    said, rest = json.loads(response.content[:length]), response.content[length:]
    outputs = {}
    for each in said["outputs"]:
        size = each["parameters"]["binary_data_size"]
        data, rest = rest[:size], rest[size:]
        outputs[each["name"]] = _array(data, each["datatype"], each["shape"])
    return Answer(200, said["model_version"], outputs, None)


def _array(data: bytes, datatype: str, shape: list[int]) -> np.ndarray:
    if datatype != "BYTES":
        return np.frombuffer(data, {"FP32": "<f4", "UINT8": "u1"}[datatype]).reshape(shape)
    texts = []
    while data:
        size = int.from_bytes(data[:4], "little")
        texts.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return np.array(texts).reshape(shape)
