"""What tests share: real servers on loopback, started, waited for and ended; checkpoints."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "models"
DEFAULT = MODELS / (MODELS / "default").read_text().strip()
RELEASED = max(DEFAULT.iterdir(), key=lambda version: int(version.name))  # the default bundle
OUTPUTS = [  # of the tiny network
    "probabilities",
    "attention_conv7",
    "attention_conv10",
    "attention_conv13",
    "attention_fused",
    "descriptor",
]


class Server:
    """A `bentoml serve` of our own: its settings, its process, its log in `home`."""

    def __init__(self, models: Path, home: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "log"
        environment = {**os.environ, "ATTNVGG_MODELS": str(models), "BENTOML_HOME": str(home)}
        self.environment = environment | {"BENTOML_DO_NOT_TRACK": "True", **settings}
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """On the same port every time; the log begins anew."""
        command = [sys.executable, "-m", "bentoml", "serve"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        return start(command, ROOT, self.environment, self.log)

    def wait(self) -> None:
        """Returns when it is ready; see wait_until_ready."""
        wait_until_ready(self.url, self.process, self.log)


@contextmanager
def running(models: Path, home: Path, **settings: str) -> Iterator[Server]:
    """A server that is ready, and ended with SIGTERM."""
    server = Server(models, home, **settings)
    try:
        server.wait()
        yield server
    finally:
        end(server.process)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def start(
    command: list[str], folder: Path, environment: dict[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Starts a process with its output in `log`."""
    with log.open("wb") as stream:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=stream)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and waits."""
    process.terminate()
    process.wait(60)


def wait_until_ready(
    url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 120
) -> None:
    """Returns when /readyz says 200; raises RuntimeError with the log if it never does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not become ready:\n{log.read_text()}")


def run(command: list[str], folder: Path, **environment: str) -> str:
    """Runs a command in `folder` and returns what it prints.

    Raises:
        AssertionError: it failed; the message is its output.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def changed_checkpoint(
    source: Path, run: Path, change: "Callable[[dict[str, torch.Tensor]], None]"
) -> Path:
    """A copy of a checkpoint in the folder `run` with other weights."""
    from attnvgg_training import checkpoint

    model, record = checkpoint.load_model(source)
    weights = model.state_dict()
    change(weights)
    return checkpoint.save(run, 0, weights, record, {})
