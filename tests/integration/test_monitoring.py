"""deploy/prometheus and deploy/grafana against what the real servers show.

No alert and no panel may ask for a metric, a label or a value that does not exist. promtool and
prometheus (Debian's package `prometheus`) judge the rest where they are installed.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from attnvgg_export.triton_options import Options
from attnvgg_export.triton_repository import write
from attnvgg_serving import metrics
from support import ROOT, Server, end, free_port, running, start
from traffic import png
from triton_server import Triton

pytestmark = pytest.mark.network

PROMETHEUS, GRAFANA = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "grafana"
TRITON_METRICS = ROOT / "tests" / "data" / "triton_metrics.txt"
RUNBOOK = "docs/operations.md"
KEY_FILE = "/run/secrets/metrics_key"
# Prometheus adds the first two; `le` is checked by name only, as its values are numbers.
TARGET_LABELS = {"instance", "job"}
SELECTOR = re.compile(r"\b((?:attnvgg|bentoml|nv)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
# Labels whose values a test cannot bring about.
UNSEEN = {"http_response_code", "provider", "reason"}

Series = dict[str, dict[str, set[str]]]  # name -> label -> its values


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "attnvgg.json").read_text())
    return board


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Whose -> PromQL, with Grafana's variables replaced as it would replace them."""
    board = dashboard()
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in panels():
        for target in panel["targets"]:
            found[f"{panel['title']}-{panel['id']}-{target['refId']}"] = target["expr"]
    for each in board["annotations"]["list"]:
        found[each["name"]] = each["expr"]
    for variable in board["templating"]["list"]:
        (inner,) = re.fullmatch(r"label_values\((.+), \w+\)", variable["definition"]).groups()  # type: ignore[union-attr]
        found[f"variable {variable['name']}"] = inner
    names = {variable["name"] for variable in board["templating"]["list"]}
    for whose, expression in found.items():
        plain = expression.replace("$__rate_interval", "1m")
        for name in names:
            plain = plain.replace(f"${name}", ".*")
        assert "$" not in plain, (whose, expression)
        found[whose] = plain
    return found


def series(text: str) -> Series:
    """What a /metrics shows."""
    found: Series = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels = re.match(r"(\w+)(?:\{(.*)\})? ", line).groups()  # type: ignore[union-attr]
            values = found.setdefault(name, {})
            for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""):
                values.setdefault(label, set()).add(value)
    return found


def wrong(expression: str, known: Series, prefixes: tuple[str, ...]) -> list[str]:
    """What an expression asks for that is not known, of the metrics with these prefixes."""
    problems, labels = [], set(TARGET_LABELS)
    for name, matchers in SELECTOR.findall(expression):
        if name not in known:
            problems += [f"there is no {name}"] if name.startswith(prefixes) else []
            continue
        labels |= set(known[name])
        for label, how, value in MATCHER.findall(matchers):
            values = known[name].get(label)
            if values is None and label not in TARGET_LABELS:
                problems.append(f"{name} has no label {label}")
            elif (
                values and how in ("=", "=~") and label not in UNSEEN and name.startswith(prefixes)
            ):
                pattern = re.escape(value) if how == "=" else value
                if not any(re.fullmatch(pattern, each) for each in values):
                    problems.append(f"{name} has no {label} {value}")
    for group in GROUPING.findall(expression):
        unknown = {label.strip() for label in group.split(",") if label.strip()} - labels
        problems += [f"no metric here has the label {label}" for label in sorted(unknown)]
    return problems


def committed() -> Series:
    lines = TRITON_METRICS.read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {name: {label: set() for label in labels} for name, *labels in rows}


def test_every_gateway_metric_that_is_asked_for_exists(gateway: str) -> None:
    for body in (png(1), b"no picture"):
        httpx.post(f"{gateway}/v1/predict", content=body, headers={"Content-Type": "image/png"})
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [0] * 3072}
    answer = httpx.post(f"{gateway}/v2/models/tiny/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200
    known = committed() | series(httpx.get(f"{gateway}/metrics").text)
    assert {spec.name.removesuffix("_total") for spec in metrics.SPECS} <= {
        re.sub(r"_(total|bucket|sum|count)$", "", name) for name in known
    }
    for whose, expression in expressions().items():
        problems = wrong(expression, known, ("attnvgg", "bentoml", "nv"))
        assert not problems, (whose, expression, problems)


def test_what_does_not_exist_is_found() -> None:
    known = {"attnvgg_ready": {}, "attnvgg_refusals_total": {"code": {"internal"}}}
    ours = ("attnvgg",)
    assert not wrong('rate(attnvgg_refusals_total{code="internal"}[5m])', known, ours)
    assert not wrong("sum by (instance, code) (attnvgg_refusals_total)", known, ours)
    for expression in (
        "attnvgg_reddy == 0",
        'attnvgg_refusals_total{kode="internal"}',
        'attnvgg_refusals_total{code="internul"}',
        'attnvgg_refusals_total{code=~"in|ter"}',
        "sum by (instance, kode) (attnvgg_refusals_total)",
    ):
        assert wrong(expression, known, ours), expression


def test_triton_shows_what_is_committed(
    triton_environment: Path, tiny_models: Path, tmp_path: Path
) -> None:
    write(tiny_models, tmp_path / "repository", Options("python", decoders=1, threads=1))
    port = free_port()
    flags = ("--allow-metrics=true", "--metrics-address=127.0.0.1", f"--metrics-port={port}")
    triton = Triton(triton_environment, tmp_path, tmp_path / "repository", *flags)
    try:
        triton.wait()
        answer = triton.infer("tiny", "image", np.zeros((1, 32, 32, 3), np.uint8))
        assert answer.status == 200, answer.error
        url = f"http://127.0.0.1:{port}/metrics"
        until = time.monotonic() + 30
        # What it measures of its machine comes with its first look.
        while "nv_cpu_utilization" not in (text := httpx.get(url).text):
            assert time.monotonic() < until
            time.sleep(0.2)
    finally:
        triton.end()
    shown = series(text)
    with_gpu = {name for name in committed() if name.startswith(("nv_gpu_", "nv_energy_"))}
    expected = {n: set(labels) for n, labels in committed().items() if n not in with_gpu}
    found = {name: set(labels) for name, labels in shown.items() if name not in with_gpu}
    assert found == expected
    reasons = {r for e in expressions().values() for r in re.findall(r'reason=~?"([^"]+)"', e)}
    wanted = {reason for each in reasons for reason in each.split("|")}
    assert wanted <= shown["nv_inference_request_failure"]["reason"]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool here (Debian: apt-get install prometheus)")
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=120)


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    done = promtool("check", "config", adapted(tmp_path, {}))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def test_every_alert_fires_and_is_silent_where_it_should_be() -> None:
    done = promtool("test", "rules", PROMETHEUS / "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    fires = {
        each["alertname"]
        for test in tests
        for each in test.get("alert_rule_test", [])
        if each["exp_alerts"]
    } | {
        name
        for test in tests
        for each in test.get("promql_expr_test", [])
        for sample in each["exp_samples"]
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fires == {rule["alert"] for rule in rules()}


def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    recorded = [
        {"record": f"expression_{number}", "expr": expression}
        for number, expression in enumerate(expressions().values())
    ]
    file = tmp_path / "expressions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": recorded}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(recorded)} rules found" in done.stdout


def test_every_alert_says_what_to_do() -> None:
    text = (ROOT / RUNBOOK).read_text()
    paragraphs = dict(re.findall(r"^### (\w+)\n\n(.+?)(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL))
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    assert [name for name in paragraphs if name.startswith(("Attnvgg", "Triton"))] == names
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        # A heading's anchor is its text in lower case.
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOK}#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["for"] != "0s"
        assert len(paragraphs[rule["alert"]]) > 80


def test_the_dashboard_is_whole() -> None:
    board = dashboard()
    (source,) = provisioned("datasources")["datasources"]
    (provider,) = provisioned("dashboards")["providers"]
    assert (source["type"], source["editable"], provider["type"]) == ("prometheus", False, "file")
    everything = list(walk(board))
    uids = {each["uid"] for each in everything if each.get("type") == "prometheus"}
    assert uids == {source["uid"]}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in panels()]
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        for target in panel["targets"]:  # a legend names labels that the expression keeps
            kept = {label for g in GROUPING.findall(target["expr"]) for label in g.split(", ")}
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= kept | {"instance", "gpu_uuid"}, (panel["title"], legend)
    assert len(titles) > 20
    variables = [variable["name"] for variable in board["templating"]["list"]]
    assert variables == ["instance", "model"]


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_targets_are_services_and_nobody_sees_the_dashboard_unknown() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    targets = [
        target for job in jobs for each in job["static_configs"] for target in each["targets"]
    ]
    assert targets == ["gateway:3000", "triton:8002"]
    assert {target.split(":")[0] for target in targets} <= set(services)
    (source,) = provisioned("datasources")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    environment = services["grafana"]["environment"]
    assert str(environment["GF_AUTH_ANONYMOUS_ENABLED"]).lower() == "false"
    assert not [name for name in environment if name.endswith("PASSWORD")]


def provisioned(what: str) -> dict[str, Any]:
    (file,) = (GRAFANA / "provisioning" / what).glob("*.yml")
    read: dict[str, Any] = yaml.safe_load(file.read_text())
    return read


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        yield value
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    for each in inner:
        yield from walk(each)


def adapted(folder: Path, targets: dict[str, str], key: str = "unused") -> Path:
    """deploy/prometheus with its key and its targets where a test has them."""
    shutil.copytree(PROMETHEUS, folder / "prometheus")
    file = folder / "prometheus" / "prometheus.yml"
    (folder / "key").write_text(key + "\n")
    text = file.read_text()
    assert KEY_FILE in text
    text = text.replace(KEY_FILE, str(folder / "key"))
    for target, real in targets.items():
        assert target in text
        text = text.replace(target, real)
    # What the file says of its times is for months of operation.
    file.write_text(re.sub(r"(\w+_(?:interval|timeout)): \w+", r"\1: 1s", text))
    return file


@dataclass
class Asked:
    """A Prometheus to ask."""

    url: str

    def query(self, expression: str) -> dict[str, float]:
        """The instance of each sample -> its value."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        found = answer["data"]["result"]
        return {each["metric"].get("instance", ""): float(each["value"][1]) for each in found}

    def until(self, expression: str, value: float) -> None:
        end_ = time.monotonic() + 60
        while self.query(expression) != {"": value}:
            assert time.monotonic() < end_, self.query(expression)
            time.sleep(0.2)


@pytest.fixture(scope="module")
def keyed(
    tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str]]:
    """A gateway that trusts nobody, and Prometheus' key."""
    home = tmp_path_factory.mktemp("bentoml")
    made = subprocess.run(
        [sys.executable, "-m", "attnvgg_serving.cli", "key", "prometheus"],
        capture_output=True,
        text=True,
        check=True,
    )
    key, line = made.stdout.splitlines()
    (home / "keys").write_text(line + "\n")
    settings = {"ATTNVGG_API_KEYS": str(home / "keys"), "ATTNVGG_TRUST_LOOPBACK": "false"}
    with running(tiny_models, home, **settings) as server:
        yield server, key


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus here (Debian has it)")
@pytest.mark.parametrize("right", [True, False], ids=["its key", "another key"])
def test_prometheus_reads_the_gateway_with_its_key(
    keyed: tuple[Server, str], right: bool, tmp_path: Path
) -> None:
    server, key = keyed
    file = adapted(tmp_path, {"gateway:3000": f"127.0.0.1:{server.port}"}, key if right else "no")
    one = Asked(f"http://127.0.0.1:{free_port()}")
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    command += [f"--web.listen-address={one.url.removeprefix('http://')}"]
    process = start(command, tmp_path, {}, tmp_path / "log")
    try:
        until = time.monotonic() + 60
        while not ready(one.url):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.2)
        one.until('sum(up{job="attnvgg"})', float(right))
        one.until('count(up{job="triton"} == 0)', 1)
        if right:
            every_panel_of_the_gateway_has_data(one, server, key)
            one.until("sum(attnvgg_ready)", 1)
            one.until("sum(attnvgg_model_info)", 1)
            one.until("sum(attnvgg_memory_bytes) > bool 50e6", 1)
        one.until('count(ALERTS{alertname="TritonDown", alertstate="pending"})', 1)
        answer = httpx.get(f"{one.url}/api/v1/rules").json()
        found = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in found} == {rule["alert"] for rule in rules()}
        assert {rule["health"] for rule in found} == {"ok"}
    finally:
        end(process)


def every_panel_of_the_gateway_has_data(one: Asked, server: Server, key: str) -> None:
    asked = {
        whose: expression
        for whose, expression in expressions().items()
        if not expression.startswith("ALERTS{")
        and "nv_" not in expression
        and any(whose.startswith(p["title"]) for p in panels())
    }
    assert len(asked) > 20
    headers = {"Content-Type": "image/png", "X-API-Key": key}
    until = time.monotonic() + 120
    while asked := {whose: e for whose, e in asked.items() if not one.query(e)}:
        assert time.monotonic() < until, asked
        for body in (png(1), b"no picture"):
            httpx.post(f"{server.url}/v1/predict", content=body, headers=headers)
        time.sleep(0.5)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False
