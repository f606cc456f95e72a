"""What the stages of the pipeline tell the metrics and the traces."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

from attnvgg_serving import logs, metrics, tracing
from attnvgg_serving.harmless import harmless


@dataclass(frozen=True)
class Label:
    """Whose stage it is."""

    model: str
    version: str
    provider: str

    def served(self) -> tuple[str, str, str]:
        return self.model, self.version, self.provider

    def attributes(self) -> dict[str, str | int | float]:
        return {
            "attnvgg.model": self.model,
            "attnvgg.version": self.version,
            "attnvgg.provider": self.provider,
        }


UNNAMED = Label("", "", "")


class Waited(Protocol):
    """One picture of a batch: when it came, and the request that it belongs to."""

    arrived: float
    request: Context | None


@harmless
def asked(label: Label, pictures: int) -> None:
    """The current request wants this of this model: its log line says so."""
    record = logs.current.get()
    if record is not None:
        record.model, record.version, record.provider = label.served()
        record.pictures = pictures


@harmless
def answered(label: Label, times: Sequence[tuple[float | None, float, float]]) -> None:
    """The seconds of decode, queue and inference of each picture that went through."""
    metrics.predicted(len(times), *label.served())
    record = logs.current.get()
    if record is None:
        return
    record.failed = (record.pictures or 0) - len(times) or None
    if times:
        decoded, queued, ran = zip(*times, strict=True)
        if None not in decoded:
            record.decode_ms = _ms(max(decoded))
        record.queue_ms, record.inference_ms = _ms(max(queued)), _ms(max(ran))


def over(stage: str, started: float, label: Label) -> float:
    """The stage `decode` or `encode`, on behalf of the current request, ends now: its seconds."""
    ended = time.monotonic()
    metrics.stage(stage, ended - started, label.model, label.provider)
    if tracing.on():
        _write(stage, started, ended, label)
    return ended - started


@harmless
def _write(stage: str, started: float, ended: float, label: Label) -> None:
    tracing.span(stage, started, ended, label.attributes())


@contextmanager
def encoding(label: Label) -> Iterator[None]:
    """The stage `encode` is what happens inside."""
    started = time.monotonic()
    yield
    over("encode", started, label)


@harmless
def ran(pictures: Sequence[Waited], started: float, ended: float, label: Label) -> None:
    """A forward pass over these pictures is over."""
    metrics.batch(len(pictures), label.model, label.provider)
    metrics.stage("inference", ended - started, label.model, label.provider)
    for picture in pictures:
        metrics.stage("queue", started - picture.arrived, label.model, label.provider)
    if tracing.on():
        _trace(pictures, started, ended, label)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _trace(pictures: Sequence[Waited], started: float, ended: float, label: Label) -> None:
    """The pass itself is a span of the oldest request's trace, linked with all of its requests.

    Each picture has an inference of its own in its request's trace, linked with the pass.
    """
    seen = [(picture, tracing.sampled(picture.request)) for picture in pictures]
    requests = [request for _, request in seen if request is not None]
    if not requests:
        return
    attributes = label.attributes() | {"attnvgg.batch": len(pictures)}
    first = next(picture for picture, request in seen if request is not None)
    links = list({request.span_id: request for request in requests}.values())
    batch = tracing.span("batch", started, ended, attributes, first.request, links)
    to_batch: list[SpanContext] = [batch] if batch is not None else []
    for picture, request in seen:
        if request is not None:
            tracing.span("queue", picture.arrived, started, label.attributes(), picture.request)
            tracing.span("inference", started, ended, attributes, picture.request, to_batch)
