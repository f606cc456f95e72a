"""`docker compose up`, for real: built images, podman, and Triton on the CPU.

Off unless ATTNVGG_COMPOSE_TEST=1; scripts/compose-test installs and builds what this needs. Grafana
is left out, as its image cannot be built from what Debian has.
"""

import json
import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from attnvgg_bundle import manifest as manifests
from attnvgg_client import APIStatusError, AttnVGGError, AuthenticationError, Client, Prediction
from compose_stack import Stack, until
from support import RELEASED, ROOT

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("ATTNVGG_COMPOSE_TEST") != "1",
        reason="brings up containers: scripts/compose-test",
    ),
    pytest.mark.timeout(900),
]

logger = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request

NAME, VERSION = RELEASED.parent.name, RELEASED.name
NEXT = str(int(VERSION) + 1)
SERVICES = ("keys", "repository", "triton", "gateway", "prometheus")
LONG_RUNNING = SERVICES[2:]
CAT = ROOT / "export" / "attnvgg_export" / "photos" / "cat.jpg"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("compose")
    stack = Stack(
        home,
        SERVICES,
        PYTHON_IMAGE=os.environ["PYTHON_IMAGE"],
        PROMETHEUS_IMAGE="localhost/attnvgg-test-prometheus:bookworm",
        TRITON_MEMORY="3g",
    )
    shutil.copytree(ROOT / "models", stack.models)
    for path in (*home.parents[:2], home, *home.rglob("*")):  # the containers have other uids
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
    try:
        stack.up()
        yield stack
    except Exception:
        logger.error("%s", stack.logs())
        raise
    finally:
        left = stack.down()
    assert left == ""


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    return stack.one_shot("keys", "tester").strip()


@pytest.fixture
def client(stack: Stack, key: str) -> Iterator[Client]:
    with Client(stack.url, api_key=key, max_retries=0, timeout=60) as client:
        yield client


@dataclass
class Answers:
    """What clients got: versions that answered, and codes of refusals."""

    versions: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    without_retry_after: int = 0

    def take(self, answer: Prediction) -> None:
        self.versions[answer.model.version] += 1

    def refused(self, error: AttnVGGError) -> None:
        if isinstance(error, APIStatusError) and error.status == 503:
            self.refusals[error.code] += 1
            self.without_retry_after += not error.retry_after
        else:
            self.failures.append(repr(error))


@contextmanager
def load(client: Client) -> Iterator[Answers]:
    """Four clients ask without pause and do not try again; what they got is complete at the end."""
    answers, stop = Answers(), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.take(client.predict(CAT))
            except AttnVGGError as error:
                answers.refused(error)
                time.sleep(0.05)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for each in clients:
        each.start()
    try:
        yield answers
    finally:
        stop.set()
        for each in clients:
            each.join()
        logger.info("versions %s, refusals %s", dict(answers.versions), dict(answers.refusals))


def test_pictures_sent_with_the_sdk_are_answered_by_triton(stack: Stack, client: Client) -> None:
    prediction = client.predict(CAT, return_attention=True)
    assert prediction.label == "cat"
    assert (prediction.model.name, prediction.model.version) == (NAME, VERSION)
    assert prediction.model.provider == "triton:python:cpu"
    assert prediction.attention is not None
    assert prediction.attention["fused"].sum() == pytest.approx(1, abs=1e-3)


def test_nobody_is_answered_without_a_key(stack: Stack, client: Client) -> None:
    with Client(stack.url, max_retries=0) as stranger, pytest.raises(AuthenticationError):
        stranger.predict(CAT)
    assert httpx.get(f"{stack.url}/metrics").status_code == 401
    other = stack.one_shot("keys", "leaver").strip()
    with Client(stack.url, api_key=other, max_retries=0) as leaver:
        until(lambda: answered(leaver), 30, "a new key is in force")
        assert "leaver" in stack.one_shot("keys", "--list").split()
        stack.one_shot("keys", "--revoke", "leaver")
        until(lambda: not answered(leaver), 30, "a revoked key is refused")
    assert answered(client)


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_a_container_can_do_nothing_but_its_work(stack: Stack, service: str) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in stack.execute(service, "cat", "/proc/1/status").splitlines()
        if ":\t" in line
    )
    assert 0 not in {int(uid) for uid in status["Uid"].split()}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert stack.inspect(service, ".HostConfig.ReadonlyRootfs") == "true"
    touch = "touch /x /etc/x /usr/x /opt/x 2>&1 | grep -c 'Read-only file system'"
    assert stack.execute(service, "sh", "-c", touch).strip() == "4"
    assert int(stack.inspect(service, ".HostConfig.Memory")) > 0
    assert int(stack.inspect(service, ".HostConfig.PidsLimit")) > 0


def test_only_the_gateway_is_published_and_the_inside_has_no_way_out(stack: Stack) -> None:
    published = {s: stack.inspect(s, ".HostConfig.PortBindings") for s in LONG_RUNNING}
    assert {s for s, ports in published.items() if ports != "map[]"} == {"gateway"}
    assert "127.0.0.1" in published["gateway"]
    ways_out = {}
    for service in LONG_RUNNING:
        routes = stack.execute(service, "cat", "/proc/net/route").splitlines()[1:]
        ways_out[service] = any(line.split()[1] == "00000000" for line in routes)
    assert ways_out == {"triton": False, "gateway": True, "prometheus": False}


def test_the_gateway_has_no_torch_and_no_compiler(stack: Stack) -> None:
    program = "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('onnxruntime'))"
    found = stack.execute("gateway", "python", "-c", program)
    assert found.startswith("None ModuleSpec(name='onnxruntime'")
    compilers = "command -v cc gcc g++ make || echo none"
    assert stack.execute("gateway", "sh", "-c", compilers).strip() == "none"


def test_a_version_rolls_forward_and_back_without_a_failed_request(
    stack: Stack, client: Client, key: str
) -> None:
    home = stack.models / NAME
    with load(client) as answers:
        until(lambda: answers.versions[VERSION] > 20, 60, "a version answers")
        shutil.copytree(home / VERSION, home / ".new")
        replace(manifests.read(home / ".new"), version=NEXT).write(home / ".new")
        (home / ".new").rename(home / NEXT)
        time.sleep(7)  # more than a look of the gateway, which must not know of it yet
        assert known(stack, key) == {VERSION}
        said = stack.one_shot("repository")
        assert f"written   {NAME} version {NEXT}" in said
        assert f"published {NAME} version {NEXT}" in said
        until(lambda: answers.versions[NEXT] > 20, 120, "the next answers")
        shutil.rmtree(home / NEXT)
        assert f"retired   {NAME} version {NEXT}" in stack.one_shot("repository")
        until(lambda: highest(client) == VERSION, 120, "the version is back")
        before = answers.versions[VERSION]
        until(lambda: answers.versions[VERSION] > before + 20, 60, "it answers again")
    assert answers.failures == []
    assert not answers.refusals


def test_triton_crashes_under_load_and_service_returns(stack: Stack, client: Client) -> None:
    with load(client) as answers:
        until(lambda: answers.versions[VERSION] > 20, 60, "requests are answered")
        stack.crash("triton")
        until(lambda: answers.refusals["engine_unavailable"] > 5, 60, "requests are refused")
        assert not stack.healthy("gateway")
        assert httpx.get(f"{stack.url}/livez").status_code == 200
        stack.start_again("triton")
        until(lambda: stack.healthy("gateway"), 120, "the gateway is ready again")
        before = answers.versions[VERSION]
        until(lambda: answers.versions[VERSION] > before + 20, 60, "requests are answered again")
    assert answers.failures == []
    assert set(answers.refusals) <= {"engine_unavailable", "overloaded"}
    assert answers.without_retry_after == 0


def test_prometheus_has_the_metrics_of_both(stack: Stack, client: Client) -> None:
    for _ in range(3):
        client.predict(CAT)
    until(lambda: query(stack, "attnvgg_pictures_total"), 90, "Prometheus has read the gateway")
    (pictures,) = query(stack, f'sum by (model) (attnvgg_pictures_total{{model="{NAME}"}})')
    assert float(pictures["value"][1]) >= 3
    until(lambda: query(stack, "nv_inference_count > 0"), 90, "Prometheus has read Triton")
    assert {each["value"][1] for each in query(stack, "up")} == {"1"}
    groups = prometheus(stack, "rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}


def test_an_ordered_end_answers_what_it_accepted(stack: Stack, key: str) -> None:
    """The last test: the gateway is gone after it."""
    headers = {"X-API-Key": key, "Content-Type": "image/jpeg"}
    body, statuses = CAT.read_bytes(), Counter[int]()

    def ask() -> None:
        while True:
            try:  # each on a connection of its own: it is refused, or answered
                answer = httpx.post(f"{stack.url}/v1/predict", content=body, headers=headers)
            except httpx.ConnectError:
                return
            statuses[answer.status_code] += 1

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for each in clients:
        each.start()
    until(lambda: statuses[200] > 20, 60, "requests are answered")
    stack.compose("stop", "--timeout", "45", "gateway")
    for each in clients:
        each.join(60)
    logger.info("statuses %s", dict(statuses))
    assert set(statuses) == {200}
    assert stack.inspect("gateway", ".State.ExitCode") == "0"


def answered(client: Client) -> bool:
    try:
        client.predict(CAT)
    except AuthenticationError:
        return False
    return True


def known(stack: Stack, key: str) -> set[str]:
    """Every version that the gateway serves, tries or refuses."""
    answer = httpx.post(f"{stack.url}/v2/repository/index", headers={"X-API-Key": key})
    return {entry["version"] for entry in answer.raise_for_status().json()}


def highest(client: Client) -> str:
    return client.predict(CAT).model.version


def prometheus(stack: Stack, path: str) -> Any:
    """Prometheus' HTTP API, asked from within: it is not published."""
    address = f"http://prometheus:9090/api/v1/{path}"
    program = f"import urllib.request as r; print(r.urlopen({address!r}).read().decode())"
    return json.loads(stack.execute("gateway", "python", "-c", program))["data"]


def query(stack: Stack, expression: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = prometheus(stack, f"query?query={quote(expression)}")["result"]
    return found
