"""What is seen from outside: metrics of two workers, traces of a request, lines of a log."""

import base64
import io
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from PIL import Image

from support import Server, running

pytestmark = pytest.mark.network

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass
class Collector:
    """An OTLP/HTTP collector that keeps what it gets."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            self.services.add(names["service.name"])
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def trace(self, trace: str, count: int) -> list[Span]:
        """The spans of a trace, when `count` of them have come."""
        until = time.monotonic() + 60
        while len(found := [s for s in self.spans if s.trace_id.hex() == trace]) < count:
            assert time.monotonic() < until, [span.name for span in found]
            time.sleep(0.1)
        return found


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield collector
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def server(
    tiny_models: Path, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Two workers, traced, with lines of JSON."""
    settings = {"ATTNVGG_WORKERS": "2", "ATTNVGG_LOG_FORMAT": "json"}
    settings |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with running(tiny_models, tmp_path_factory.mktemp("bentoml"), **settings) as server:
        yield server


def png(colour: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), (colour, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def predict(server: Server, body: bytes = b"", **headers: str) -> httpx.Response:
    """On a connection of its own, so that every worker gets some."""
    headers = {"Content-Type": "image/png"} | headers
    return httpx.post(f"{server.url}/v1/predict", content=body or png(), headers=headers)


def series(server: Server) -> dict[str, float]:
    """Every series with its value."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    found = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in found}


def total(server: Server, name: str, **labels: str) -> float:
    """The sum of the series of a name with these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        value
        for each, value in series(server).items()
        if each.split("{")[0] == name and all(label in each for label in wanted)
    )


def lines(server: Server, **wanted: object) -> list[dict[str, Any]]:
    """The log lines that are JSON and have these fields."""
    found = [json.loads(line) for line in server.log.read_text().splitlines() if line[:1] == "{"]
    return [each for each in found if wanted.items() <= each.items()]


def line(server: Server, request_id: str) -> dict[str, Any]:
    """The one line of a request; it is written after the answer."""
    until = time.monotonic() + 30
    while not (found := lines(server, request_id=request_id)):
        assert time.monotonic() < until
        time.sleep(0.05)
    (one,) = found
    return one


def test_the_workers_add_up(server: Server) -> None:
    before = total(server, "attnvgg_pictures_total", model="tiny", version="1", provider="cpu")
    requests = total(server, "bentoml_service_request_total", endpoint="/v1/predict")
    for colour in range(20):
        assert predict(server, png(colour)).status_code == 200
    for _ in range(5):  # whichever worker answers
        after = total(server, "attnvgg_pictures_total", model="tiny")
        assert after - before == 20
    assert total(server, "bentoml_service_request_total", endpoint="/v1/predict") == requests + 20
    for stage in ("decode", "queue", "inference", "encode", "total"):
        assert total(server, "attnvgg_stage_seconds_count", stage=stage, model="tiny") >= 20
    assert total(server, "attnvgg_batch_pictures_sum", model="tiny") >= 20
    assert total(server, "attnvgg_queue_pictures", model="tiny") == 0
    assert total(server, "attnvgg_model_info", model="tiny", precision="fp32") == 2


def test_a_scanner_adds_no_series(server: Server) -> None:
    def scan(first: int) -> None:
        with httpx.Client(base_url=server.url) as client:
            for n in range(first, first + 100):
                client.request("PROPFIND", f"/admin{n}.php")
                client.get(f"/v2/models/m{n}")
                client.post(f"/v1/predict?model=m{n}", headers={"Content-Type": "image/png"})

    scan(0)
    before = series(server)
    scan(100)
    after = series(server)
    assert set(after) == set(before)
    assert not [name for name in after if "admin" in name or "m1" in name or "PROPFIND" in name]
    refused = total(server, "attnvgg_refusals_total", code="not_found")
    assert refused >= 100


def test_refusals_are_counted_by_their_code(server: Server) -> None:
    before = total(server, "attnvgg_refusals_total", code="invalid_image")
    assert predict(server, png()[:40]).status_code == 400
    assert total(server, "attnvgg_refusals_total", code="invalid_image") == before + 1
    never = total(server, "attnvgg_refusals_total", code="rate_limited")
    assert (never, 'attnvgg_refusals_total{code="rate_limited"}' in series(server)) == (0, True)


def test_the_workers_say_how_they_are(server: Server) -> None:
    until = time.monotonic() + 30
    while total(server, "attnvgg_ready") != 2:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert total(server, "attnvgg_queue_limit_pictures", model="tiny") == 2 * 256
    assert 100e6 < total(server, "attnvgg_memory_bytes") < 2e9
    assert 0 < time.time() - total(server, "attnvgg_start_time_seconds") < 3600
    taken = total(server, "attnvgg_cpu_seconds_total")
    while total(server, "attnvgg_cpu_seconds_total") < taken + 0.05:  # nobody's but ours
        assert time.monotonic() < until
        predict(server)


def attributes(span: Span) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def test_a_trace_goes_from_the_client_to_the_engine(server: Server, collector: Collector) -> None:
    sent = f"00-{TRACE}-{PARENT}-01"
    assert predict(server, traceparent=sent, **{"X-Request-ID": "traced"}).status_code == 200
    spans = {span.name: span for span in collector.trace(TRACE, 6)}
    request = spans["POST /v1/predict"]
    assert request.parent_span_id.hex() == PARENT
    assert set(spans) == {request.name, "decode", "queue", "inference", "batch", "encode"}
    for name in ("decode", "queue", "inference", "encode"):
        assert spans[name].parent_span_id == request.span_id
        assert attributes(spans[name])["attnvgg.model"] == "tiny"
        assert request.start_time_unix_nano <= spans[name].start_time_unix_nano + 5_000_000
    assert spans["decode"].end_time_unix_nano <= spans["inference"].start_time_unix_nano + 5_000_000
    inference, batch = spans["inference"], spans["batch"]
    assert attributes(inference)["attnvgg.batch"] == 1
    assert [link.span_id for link in inference.links] == [batch.span_id]
    assert [link.span_id for link in batch.links] == [request.span_id]
    assert collector.services == {"attnvgg"}
    assert line(server, "traced")["trace_id"] == TRACE


def test_a_batch_is_linked_with_every_request_in_it(server: Server, collector: Collector) -> None:
    traces = [f"{n + 1:032x}" for n in range(24)]

    def ask(trace: str) -> None:
        assert predict(server, traceparent=f"00-{trace}-{PARENT}-01").status_code == 200

    for _ in range(20):  # until two of them shared a pass
        threads = [threading.Thread(target=ask, args=(trace,)) for trace in traces]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spans = [span for trace in traces for span in collector.trace(trace, 5)]
        shared = [s for s in spans if s.name == "batch" and attributes(s)["attnvgg.batch"] > 1]
        if shared:
            break
    batch = shared[0]
    linked = [s for s in spans if batch.span_id in [link.span_id for link in s.links]]
    assert len({link.trace_id for link in batch.links}) == attributes(batch)["attnvgg.batch"]
    assert {link.trace_id for link in batch.links} == {span.trace_id for span in linked}


def test_an_unsampled_request_is_not_traced(server: Server, collector: Collector) -> None:
    unseen, seen = "ee" * 16, "dd" * 16
    predict(server, traceparent=f"00-{unseen}-{PARENT}-00", **{"X-Request-ID": "unseen"})
    predict(server, traceparent=f"00-{seen}-{PARENT}-01")
    collector.trace(seen, 6)
    time.sleep(0.5)
    assert collector.trace(unseen, 0) == []
    assert line(server, "unseen")["trace_id"] == unseen


def test_a_request_is_one_line(server: Server) -> None:
    two = json.dumps({"images": [base64.b64encode(png()).decode(), "bm90IGEgcGljdHVyZQ=="]})
    headers = {"Content-Type": "application/json", "X-Request-ID": "two-of-them"}
    answer = predict(server, two.encode(), **headers)
    assert answer.status_code == 200
    written = line(server, "two-of-them")
    assert written["time"].endswith("Z")
    expected = {
        "level": "info",
        "method": "POST",
        "route": "/v1/predict",
        "status": 200,
        "model": "tiny",
        "version": "1",
        "provider": "cpu",
        "pictures": 2,
        "failed": 1,
        "bytes_in": len(two),
        "bytes_out": len(answer.content),
    }
    assert expected.items() <= written.items()
    assert 0 < written["inference_ms"] <= written["ms"]
    assert {"decode_ms", "queue_ms"} <= written.keys()


def test_a_refusal_is_one_line_with_its_code(server: Server) -> None:
    predict(server, png()[:40], **{"X-Request-ID": "refused"})
    written = line(server, "refused")
    assert (written["status"], written["code"]) == (400, "invalid_image")


def test_tensors_are_logged_too(server: Server) -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [0] * 3072}
    headers = {"X-Request-ID": "tensors"}
    url = f"{server.url}/v2/models/tiny/infer"
    assert httpx.post(url, json={"inputs": [tensor]}, headers=headers).status_code == 200
    written = line(server, "tensors")
    assert (written["route"], written["model"]) == ("/v2/models/{name}/infer", "tiny")
    assert (written["pictures"], "inference_ms" in written) == (1, True)


def test_what_is_asked_every_few_seconds_is_not_logged(server: Server) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/v2/health/live"):
        assert httpx.get(server.url + path, headers={"X-Request-ID": "probe"}).status_code == 200
    assert httpx.get(f"{server.url}/v1/models", headers={"X-Request-ID": "last"}).status_code == 200
    line(server, "last")
    assert lines(server, request_id="probe") == []


def test_nobody_forges_a_line(server: Server) -> None:
    forged = '\n{"request_id":"forged","level":"info"}\n'
    path = f"/{forged}".replace("\n", "%0a").replace('"', "%22")
    assert httpx.get(server.url + path, headers={"X-Request-ID": "forger"}).status_code == 404
    assert line(server, "forger")["path"] == f"/{forged}"
    assert lines(server, request_id="forged") == []


def test_a_killed_worker_leaves_no_gauge_behind(server: Server) -> None:
    """Last: it takes a worker from the others."""
    pids = {
        int(file.stem.rsplit("_", 1)[1]) for file in server.log.parent.rglob("gauge_livesum_*.db")
    }
    assert len(pids) == 2
    taken, started = (
        total(server, name) for name in ("attnvgg_cpu_seconds_total", "attnvgg_start_time_seconds")
    )
    os.kill(min(pids), signal.SIGKILL)
    until = time.monotonic() + 120
    while total_or_nothing(server) != 1:  # its own is forgotten
        assert time.monotonic() < until
        time.sleep(0.05)
    while total_or_nothing(server) != 2:  # until it is replaced
        assert time.monotonic() < until
        time.sleep(0.1)
    # A restart is seen, and what the dead one took is not forgotten.
    assert total(server, "attnvgg_start_time_seconds") > started
    assert total(server, "attnvgg_cpu_seconds_total") >= taken
    assert total(server, "attnvgg_queue_limit_pictures", model="tiny") == 2 * 256


def total_or_nothing(server: Server) -> float:
    """How many workers say that they have the model; the one that is killed may be asked."""
    try:
        return total(server, "attnvgg_model_info", model="tiny")
    except httpx.TransportError:
        return -1
