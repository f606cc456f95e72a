"""Prometheus metrics, through BentoML's client, so that several workers add up.

Every label is bounded: routes are templates, models are those that were loaded, codes are ours.
`start` is called once in each worker; before that every function here does nothing.
"""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnvgg_serving.errors import all_wire_errors
from attnvgg_serving.harmless import harmless

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
OUTCOMES = ("loaded", "unloaded", "refused")
_OF_A_PROCESS = re.compile(r"gauge_live[a-z]+_([0-9]+)\.db")


@dataclass(frozen=True)
class Spec:
    """One metric: what a line of the table in docs/operations.md says."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    together: str = "livesum"  # what a gauge is of all workers


# The first three are called as the framework's own are: dashboards know them. Its middleware is
# off because it labels by raw paths, whose number grows without bound under a scanner.
_SERVICE = ("service_name", "service_version", "runner_name")
REQUESTS = Spec(
    "bentoml_service_request_total",
    "Counter",
    ("endpoint", *_SERVICE, "http_response_code"),
    "requests answered; `endpoint` is a route's template, or `other`",
)
REQUEST_SECONDS = Spec(
    "bentoml_service_request_duration_seconds",
    "Histogram",
    ("endpoint", *_SERVICE, "http_response_code"),
    "time from the request's headers to the end of its answer",
    SECONDS,
)
IN_PROGRESS = Spec(
    "bentoml_service_request_in_progress",
    "Gauge",
    ("endpoint", *_SERVICE),
    "requests that are being answered",
)
STAGE = Spec(
    "attnvgg_stage_seconds",
    "Histogram",
    ("stage", "model", "provider"),
    "time in a stage: `decode` and `queue` of each picture, `inference` of each forward pass, "
    "`encode` and `total` of each request",
    SECONDS,
)
BATCH = Spec(
    "attnvgg_batch_pictures",
    "Histogram",
    ("model", "provider"),
    "pictures in a forward pass",
    SIZES,
)
QUEUE = Spec(
    "attnvgg_queue_pictures", "Gauge", ("model",), "pictures accepted and not yet answered"
)
LIMIT = Spec(
    "attnvgg_queue_limit_pictures",
    "Gauge",
    ("model",),
    "what `attnvgg_queue_pictures` can be at most: ATTNVGG_MAX_QUEUE of each version and worker",
)
REFUSALS = Spec(
    "attnvgg_refusals_total", "Counter", ("code",), "requests refused as a whole, by error code"
)
PICTURES = Spec(
    "attnvgg_pictures_total",
    "Counter",
    ("model", "version", "provider"),
    "pictures predicted",
)
MODEL = Spec(
    "attnvgg_model_info",
    "Gauge",
    ("model", "version", "sha256", "provider", "precision"),
    "workers that have this model loaded; `sha256` is the graph's, its first 12 digits",
)
CHANGES = Spec(
    "attnvgg_model_changes_total",
    "Counter",
    ("outcome",),
    "models `loaded`, `unloaded` or `refused`, in all workers",
)
READY = Spec("attnvgg_ready", "Gauge", (), "workers whose /readyz is 200, looked at once a second")
MEMORY = Spec("attnvgg_memory_bytes", "Gauge", (), "resident memory of the workers")
CPU = Spec("attnvgg_cpu_seconds_total", "Counter", (), "processor time of the workers")
STARTED = Spec(
    "attnvgg_start_time_seconds",
    "Gauge",
    (),
    "when the youngest worker started, in seconds since 1970: it changes with every restart",
    together="max",
)
SPECS = (
    REQUESTS,
    REQUEST_SECONDS,
    IN_PROGRESS,
    STAGE,
    BATCH,
    QUEUE,
    LIMIT,
    REFUSALS,
    PICTURES,
    MODEL,
    CHANGES,
    READY,
    MEMORY,
    CPU,
    STARTED,
)


class _Meter:
    """A metric that finds each of its children once: `.labels` costs more than what follows."""

    def __init__(self, client: Any, spec: Spec) -> None:
        options: dict[str, Any] = {"buckets": spec.buckets} if spec.buckets else {}
        if spec.kind == "Gauge":
            options["multiprocess_mode"] = spec.together
        self._metric = getattr(client, spec.kind)(spec.name, spec.meaning, spec.labels, **options)
        self._children: dict[tuple[object, ...], Any] = {}

    def __call__(self, *labels: object) -> Any:
        child = self._children.get(labels)
        if child is None:
            child = self._metric.labels(*labels) if labels else self._metric
            self._children[labels] = child
        return child


_meters: dict[Spec, _Meter] = {}
_service: tuple[str, str, str] = ("", "", "")


def start(service: str, version: str) -> None:
    """Makes the metrics of this worker, with a zero for everything whose labels are known."""
    global _service
    _service = (service, version, service)
    client = _client()
    _meters.update({spec: _Meter(client, spec) for spec in SPECS})
    for code in all_wire_errors():
        _meters[REFUSALS](code)
    for outcome in OUTCOMES:
        _meters[CHANGES](outcome)
    _meters[STARTED]().set(time.time())


@harmless
def request_begins(endpoint: str) -> None:
    if _meters:
        _meters[IN_PROGRESS](endpoint, *_service).inc()


@harmless
def request_ends(endpoint: str, status: int, seconds: float) -> None:
    if _meters:
        _meters[IN_PROGRESS](endpoint, *_service).dec()
        _meters[REQUESTS](endpoint, *_service, status).inc()
        _meters[REQUEST_SECONDS](endpoint, *_service, status).observe(seconds)


@harmless
def stage(name: str, seconds: float, model: str, provider: str) -> None:
    if _meters:
        _meters[STAGE](name, model, provider).observe(seconds)


@harmless
def batch(pictures: int, model: str, provider: str) -> None:
    if _meters:
        _meters[BATCH](model, provider).observe(pictures)


@harmless
def queue(change: int, model: str) -> None:
    """`change` pictures more (or less, if negative) are on their way."""
    if _meters:
        _meters[QUEUE](model).inc(change)


@harmless
def queue_limit(change: int, model: str) -> None:
    """`change` pictures more (or less, if negative) may be on their way."""
    if _meters:
        _meters[LIMIT](model).inc(change)


@harmless
def refused(code: str) -> None:
    if _meters:
        _meters[REFUSALS](code).inc()


@harmless
def predicted(pictures: int, model: str, version: str, provider: str) -> None:
    if _meters and pictures:
        _meters[PICTURES](model, version, provider).inc(pictures)


@harmless
def serves(
    loaded: bool, model: str, version: str, provider: str, sha256: str, precision: str
) -> None:
    """This worker has the model, or has it no longer."""
    if _meters:
        _meters[MODEL](model, version, sha256[:12], provider, precision).set(int(loaded))


@harmless
def changed(outcome: str) -> None:
    """A model was `loaded`, `unloaded` or `refused` while the process ran."""
    if _meters:
        _meters[CHANGES](outcome).inc()


@harmless
def process(ready: bool, memory: int | None, cpu: float) -> None:
    """This worker is so, and took `cpu` seconds of processor time since it last said so."""
    if _meters:
        _meters[READY]().set(int(ready))
        _meters[CPU]().inc(cpu)
        if memory is not None:
            _meters[MEMORY]().set(memory)


def render() -> tuple[bytes, str]:
    """What /metrics answers, of all workers, and its media type."""
    client = _client()
    forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
    return client.generate_latest(), client.CONTENT_TYPE_LATEST


def forget_the_dead(folder: Path) -> None:
    """Removes the gauges of workers that are gone: one that was killed cannot do it itself."""
    for file in folder.glob("gauge_live*.db"):
        found = _OF_A_PROCESS.fullmatch(file.name)
        if found and not _lives(int(found[1])):
            file.unlink(missing_ok=True)


def table() -> str:
    """The metrics as a Markdown table."""
    rows = ["| metric | labels | meaning |", "|---|---|---|"]
    for spec in SPECS:
        labels = ", ".join(f"`{label}`" for label in spec.labels)
        rows.append(f"| `{spec.name}` ({spec.kind.lower()}) | {labels} | {spec.meaning} |")
    return "\n".join(rows)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _client() -> Any:
    """BentoML's client: it imports prometheus_client when the folder of all workers is set."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    return BentoMLContainer.metrics_client.get()
