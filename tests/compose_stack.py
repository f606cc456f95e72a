"""The containers of docker-compose.yml, brought up with podman under a name of their own.

podman 4 differs from Docker in three ways, which are made up for here: it runs no health checks by
itself where there is no systemd; podman-compose leaves out `condition: service_healthy` for it; and
it starts no container again whose one-shots have ended (podman-compose makes them requirements).
"""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from support import ROOT, free_port

FILES = ("docker-compose.yml", "deploy/compose.cpu.yml")
ONE_SHOTS = ("keys", "repository")


class Stack:
    """The services in `services`, their settings in an --env-file in `home`."""

    def __init__(self, home: Path, services: Sequence[str], **settings: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.models = home / "models"
        self.services = services
        self._project = f"attnvgg-test-{os.getpid()}"
        settings |= {"GATEWAY_LISTEN": f"127.0.0.1:{port}", "MODELS_DIR": str(self.models)}
        environment = home / "env"
        environment.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._compose = ["podman-compose", "--env-file", str(environment)]
        self._compose += ["--project-name", self._project]
        self._compose += [word for file in FILES for word in ("--file", str(ROOT / file))]

    def up(self) -> None:
        """Starts everything and waits until every health check says yes."""
        self.compose("up", "--detach", *self.services)
        for service in self.services:
            if service not in ONE_SHOTS:
                until(partial(self.healthy, service), 240, f"{service} is healthy")

    def down(self) -> str:
        """Ends everything and removes it with its volumes; returns what is left of it."""
        self.compose("down", "--volumes", "--timeout", "60")
        name = f"name={self._project}"
        left = [
            podman("ps", "--all", "--quiet", "--filter", name),
            podman("volume", "ls", "--quiet", "--filter", name),
            podman("network", "ls", "--quiet", "--filter", name),
        ]
        return "".join(left)

    def compose(self, *arguments: str) -> str:
        return run(*self._compose, *arguments)

    def one_shot(self, service: str, *arguments: str) -> str:
        """What `docker compose run --rm` of it prints."""
        return self.compose("run", "--rm", "-T", service, *arguments)

    def container(self, service: str) -> str:
        return f"{self._project}_{service}_1"

    def healthy(self, service: str) -> bool:
        """Runs the health check of docker-compose.yml."""
        command = ("podman", "healthcheck", "run", self.container(service))
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0

    def execute(self, service: str, *command: str) -> str:
        return podman("exec", self.container(service), *command)

    def inspect(self, service: str, what: str) -> str:
        return podman("inspect", "--format", f"{{{{{what}}}}}", self.container(service)).strip()

    def crash(self, service: str) -> None:
        """Kills its process: an end that nobody ordered."""
        os.kill(int(self.inspect(service, ".State.Pid")), 9)
        until(lambda: self.inspect(service, ".State.Running") == "false", 60, f"{service} is gone")

    def start_again(self, service: str) -> None:
        """What Docker's restart policy does."""
        podman("start", self.container(service))

    def logs(self) -> str:
        """The last lines of everybody, for a failure's report."""
        found = []
        for service in self.services:
            command = ("podman", "logs", "--tail", "40", self.container(service))
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            found.append(f"== {service}\n{done.stdout}{done.stderr}")
        return "\n".join(found)


def podman(*arguments: str) -> str:
    return run("podman", *arguments)


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def until(true: Callable[[], Any], seconds: float, what: str) -> None:
    """Raises RuntimeError if it does not become true."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:g} s: {what}")
        time.sleep(0.5)
