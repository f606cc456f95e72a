"""When traces are on, what stops the start, and whose trace a request belongs to."""

import pytest
from starlette.datastructures import Headers

from attnvgg_serving import stages, tracing
from attnvgg_serving.errors import StartError

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
    ],
)
def test_the_standard_variables_decide(environ: dict[str, str], on: bool) -> None:
    assert tracing.asked(environ) is on


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'; it must be"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "PROTOCOL is 'grpc'; only 'http/protobuf'"),
    ],
)
def test_what_cannot_be_done_stops_the_start(more: dict[str, str], says: str) -> None:
    with pytest.raises(StartError, match=says):
        tracing.asked(ENDPOINT | more)


def test_a_missing_exporter_stops_the_start_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_EXPORTER", "opentelemetry.exporter.otlp.not_there.http")
    with pytest.raises(StartError, match=r"pip install 'attnvgg\[tracing\]'"):
        tracing.asked(ENDPOINT)
    assert not tracing.asked({})


def test_nothing_is_traced_before_the_start() -> None:
    assert not tracing.on()
    assert tracing.here() is None
    assert tracing.span("decode", 0.0, 1.0, {}) is None


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (f"00-{'ab' * 16}-{'cd' * 8}-01", "ab" * 16),
        (f"00-{'0' * 32}-{'cd' * 8}-01", None),
        (f"00-{'ab' * 16}-{'cd' * 8}-01\n", None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_a_log_line_names_the_clients_trace(given: str | None, found: str | None) -> None:
    headers = Headers({} if given is None else {"traceparent": given})
    assert tracing.trace_id(headers) == found


def test_what_cannot_be_measured_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(stages.metrics, "batch", broken)
    for _ in range(2):
        stages.ran([], 0.0, 1.0, stages.UNNAMED)
    assert caplog.text.count("this is said once") == 1
