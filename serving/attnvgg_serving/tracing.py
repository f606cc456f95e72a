"""OpenTelemetry traces from the request to the engine, configured by the standard variables.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT (or ..._TRACES_ENDPOINT) or OTEL_TRACES_EXPORTER=otlp is set;
then OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS and the others mean what
OpenTelemetry says that they mean. BentoML's own `tracing` configuration is not used: its sampler
records every request even where nothing is exported.

Spans are written when a stage is over, from the times that are measured anyway.
"""

import asyncio
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Scope

from attnvgg_serving.errors import StartError

_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
# version - trace id - parent id - flags; what W3C calls invalid is not taken over.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.{0,64}")

STOP_SECONDS = 3.0

Attributes = Mapping[str, str | int | float]

_provider: Any = None
_tracer: trace.Tracer | None = None


def asked(environ: Mapping[str, str] = os.environ) -> bool:
    """Does the environment ask for traces?

    Raises:
        StartError: it asks for what cannot be done here.
    """
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    if exporter not in ("", "otlp"):
        raise StartError(f"OTEL_TRACES_EXPORTER is {exporter!r}; it must be 'otlp' or 'none'")
    if not exporter and not any(environ.get(name) for name in _ENDPOINTS):
        return False
    for name in _PROTOCOLS:
        if environ.get(name, "http/protobuf") != "http/protobuf":
            raise StartError(f"{name} is {environ[name]!r}; only 'http/protobuf' is supported")
    if not _installed():
        raise StartError(
            "traces are asked for (OTEL_...), but their exporter is not installed; "
            "pip install 'attnvgg[tracing]', or set OTEL_TRACES_EXPORTER=none"
        )
    return True


def start(service: str, worker: int | None = None) -> None:
    """Begins to trace if the environment asks for it.

    Raises:
        StartError: see `asked`.
    """
    global _provider, _tracer
    if not asked():
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own: dict[str, Any] = {"service.name": service, "service.version": version("attnvgg")}
    own |= {"service.instance.id": str(worker or os.getpid())}
    # The operator's OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word.
    resource = Resource.create(own).merge(OTELResourceDetector().detect())
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # see stop
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer(__package__, version("attnvgg"))


async def stop() -> None:
    """Sends what is still to be sent, if the collector takes it within STOP_SECONDS.

    A collector that does not answer would hold up the end of the process for three times as long
    as an export may take.
    """
    global _provider, _tracer
    if _provider is not None:
        last = threading.Thread(target=_provider.shutdown, name="tracing", daemon=True)
        last.start()
        await asyncio.to_thread(last.join, STOP_SECONDS)
    _provider = _tracer = None


def on() -> bool:
    return _tracer is not None


def around(app: ASGIApp) -> ASGIApp:
    """The span of a request; it continues the trace of a `traceparent`."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.metrics import NoOpMeterProvider

    return OpenTelemetryMiddleware(
        app,
        default_span_details=_details,
        tracer_provider=_provider,
        meter_provider=NoOpMeterProvider(),  # Prometheus has them
        exclude_spans=["receive", "send"],  # one for each chunk of a body tells nobody anything
    )


def trace_id(headers: Headers) -> str | None:
    """Of the trace that a request belongs to, traced here or not."""
    if _tracer is not None:
        found = trace.get_current_span().get_span_context()
        return format(found.trace_id, "032x") if found.is_valid else None
    given = headers.get("traceparent")
    known = _TRACEPARENT.fullmatch(given) if given else None
    return known[1] if known else None


def here() -> Context | None:
    """Where a span of this request belongs; None if nothing is traced."""
    return context.get_current() if _tracer is not None else None


def span(
    name: str,
    started: float,
    ended: float,
    attributes: Attributes,
    parent: Context | None = None,
    links: Sequence[trace.SpanContext] = (),
) -> trace.SpanContext | None:
    """Writes a span that is over; the times are on the clock of time.monotonic."""
    if _tracer is None:
        return None
    epoch = time.time() - time.monotonic()
    written = _tracer.start_span(
        name,
        parent,
        attributes=dict(attributes),
        links=[trace.Link(link) for link in links],
        start_time=int(1e9 * (epoch + started)),
    )
    written.end(int(1e9 * (epoch + ended)))
    return written.get_span_context()


def sampled(where: Context | None) -> trace.SpanContext | None:
    """The span there, if anybody will see it."""
    found = trace.get_current_span(where).get_span_context() if where is not None else None
    return found if found is not None and found.trace_flags.sampled else None


def _details(scope: Scope) -> tuple[str, dict[str, Any]]:
    """Named by the route's template: names must be few."""
    from attnvgg_serving.http.routes import method_of, route_of

    route = route_of(scope)
    return f"{method_of(scope)} {route}", {"http.route": route}


def _installed() -> bool:
    try:
        return find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:
        return False
