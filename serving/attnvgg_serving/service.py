"""The BentoML service: what `bentoml serve` starts.

BentoML gives the process, its workers and configuration, /livez, /readyz and /healthz; every other
path is the application's, so that nothing of the framework's can be reached without a key, and not
its page at all (it loads a third party's tag manager).
"""

import subprocess
import sys
from typing import Any, cast

import bentoml
from bentoml import server_context
from starlette.types import ASGIApp, Receive, Scope, Send

from attnvgg_serving import exposure, logs, memory, metrics, run_folder, settings, tracing
from attnvgg_serving.drain import Drain
from attnvgg_serving.gateway import Gateway
from attnvgg_serving.http import app as http
from attnvgg_serving.http.middleware import Headed
from attnvgg_serving.pulse import Pulse
from attnvgg_serving.respawn import Respawn

NAME = "attnvgg"
HEALTH = frozenset({"/livez", "/readyz", "/healthz"})
app = http.create()
# The framework's last resort: our own deadline is shorter and answers in our own shape.
_TRAFFIC_TIMEOUT = settings.LONGEST_TIMEOUT_MS / 1000 + 30


class EveryPath:
    """The application for every path but the health checks, which stay the framework's."""

    def __init__(self, framework: ASGIApp) -> None:
        self._framework = Headed(framework)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        own = scope["type"] == "http" and scope["path"] not in HEALTH
        await (app if own else self._framework)(scope, receive, send)


@bentoml.service(
    name=NAME,
    workers=settings.workers(),
    traffic={"timeout": _TRAFFIC_TIMEOUT},
    # Ours know the request's id and the model; the framework's metrics grow with every new path.
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    # It would record a span for every request, exported or not.
    tracing={"excluded_urls": ".*"},
)
class AttnVGG:
    """Label and attention maps from one batched forward pass."""

    def __init__(self) -> None:
        self._gateway = Gateway(settings.load())
        limits = self._gateway.settings
        self._drain = Drain(limits.timeout_ms / 1000, limits.max_connections)
        self._pulse = Pulse(self.__is_ready__)

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Once, before any worker: exits with one line if a worker could not start."""
        run_folder.make()
        command = [sys.executable, "-m", "attnvgg_serving.check"]
        # Where the workers will be: in a bento that is not where the supervisor was started.
        done = subprocess.run(command, cwd=cast(Any, AttnVGG).working_dir, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        Respawn().install()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Requests are accepted when this is done: every model has run an inference."""
        settings = self._gateway.settings
        memory.give_back()
        logs.setup(settings.log_format)
        metrics.start(NAME, server_context.bento_version)
        tracing.start(NAME, server_context.worker_index)
        exposure.warn(settings)
        await self._gateway.start()
        http.connect(app, self._gateway)
        self._drain.install()
        self._pulse.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        self._pulse.stop()
        await self._gateway.close()
        await tracing.stop()

    async def __is_ready__(self) -> bool:
        return self._gateway.ready and not self._drain.draining


cast(Any, AttnVGG).add_asgi_middleware(EveryPath)  # the decorator made it a bentoml.Service
