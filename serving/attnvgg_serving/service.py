"""The BentoML service: what `bentoml serve` starts.

BentoML gives the process, its configuration, /livez, /readyz, /healthz and /metrics; everything
else is the application mounted here, which takes every other path, so that the framework's own
page (it loads a third party's tag manager) cannot be reached.
"""

import logging
import subprocess
import sys

import bentoml
from starlette.types import Receive, Scope, Send

from attnvgg_serving import settings
from attnvgg_serving.gateway import Gateway
from attnvgg_serving.http import app as http

app = http.create()
# The framework's last resort: our own deadline is shorter and answers in our own shape.
_TRAFFIC_TIMEOUT = settings.LONGEST_TIMEOUT_MS / 1000 + 30


async def every_path(scope: Scope, receive: Receive, send: Send) -> None:
    """The app behind a plain function: BentoML falls through a Starlette app's unknown paths."""
    await app(scope, receive, send)


@bentoml.asgi_app(every_path, path="/")
@bentoml.service(name="attnvgg", traffic={"timeout": _TRAFFIC_TIMEOUT})
class AttnVGG:
    """Label and attention maps from one batched forward pass."""

    def __init__(self) -> None:
        self._gateway = Gateway(settings.load())

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Once, before any worker: exits with one line if a worker could not start."""
        done = subprocess.run([sys.executable, "-m", "attnvgg_serving.check"], check=False)
        if done.returncode:
            sys.exit(done.returncode)

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Requests are accepted when this is done: every model has run an inference."""
        # The framework shows warnings only; which model runs where belongs into the log.
        logging.getLogger("attnvgg_serving").setLevel(logging.INFO)
        await self._gateway.start()
        http.connect(app, self._gateway)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        await self._gateway.close()

    async def __is_ready__(self) -> bool:
        return self._gateway.ready
