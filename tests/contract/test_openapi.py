"""The OpenAPI document against the real process: schemathesis makes up the requests."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route

from attnvgg_serving import keys
from attnvgg_serving.http import app as http
from attnvgg_serving.http.openapi import document
from support import Server, running

KEY, HASH = keys.generate()
# Bytes that are no picture, and a deadline of 1 ms, are right by every schema; what comes then is
# documented too. A 5xx of any other kind is a fault.
REFUSALS = ["400", "401", "403", "404", "405", "413", "415", "504"]
CHECKS = f"""
[checks]
not_a_server_error.expected-statuses = ["2xx", "4xx", "504"]
positive_data_acceptance.expected-statuses = {["200", *REFUSALS]}
negative_data_rejection.expected-statuses = {REFUSALS}

# Quick enough to answer 200 within a deadline of 1 ms, to requests whose one fault is a header
# that nobody knows.
[[operations]]
include-path = "/v2/repository/index"
checks.negative_data_rejection.expected-statuses = {["200", *REFUSALS]}
"""
UNLOGGED = re.compile("z$|/metrics$|/health/")
NAMES = {"name": ["tiny-encoded", "tiny"], "version": ["1"]}


@pytest.fixture(scope="module")
def server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that asks everybody for a key. The key is not an admin's: nothing is unloaded."""
    home = tmp_path_factory.mktemp("bentoml")
    (home / "keys").write_text(f"tester {HASH}\n")
    settings = {"ATTNVGG_API_KEYS": str(home / "keys"), "ATTNVGG_TRUST_LOOPBACK": "false"}
    settings["ATTNVGG_LOG_FORMAT"] = "json"
    with running(tiny_models, home, **settings) as server:
        yield server


def test_every_route_is_documented() -> None:
    routes = {route.path for route in http.create().routes if isinstance(route, Route)}
    assert routes - set(document()["paths"]) == {"/", "/openapi.json"}


@pytest.mark.timeout(600)  # a thousand requests; twenty seconds on a machine with nothing else
def test_every_answer_is_as_documented(server: Server, tmp_path: Path) -> None:
    """All checks of schemathesis, for all operations; the same requests in every run."""
    served = httpx.get(f"{server.url}/openapi.json").json()
    for methods in served["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["schema"] = {"type": "string", "enum": NAMES[parameter["name"]]}
    (tmp_path / "openapi.json").write_text(json.dumps(served))
    (tmp_path / "checks.toml").write_text(CHECKS)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "checks.toml"]
    command += ["run", "openapi.json", "--url", server.url, "--header", f"X-API-Key: {KEY}"]
    command += ["--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "12"]
    command += ["--generation-deterministic", "--no-shrink", "--continue-on-failure"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    operations = sum(len(methods) for methods in served["paths"].values())
    assert f"Tested: {operations}" in done.stdout
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[0] == "{"]
    succeeded = {line.get("route") for line in lines if line.get("status") == 200}
    missing = {path for path in set(served["paths"]) - succeeded if not UNLOGGED.search(path)}
    assert missing == {f"/v2/repository/models/{{name}}/{verb}" for verb in ("load", "unload")}
