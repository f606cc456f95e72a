"""The doctor before a gateway whose engine is Triton."""

import builtins
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from attnvgg_serving import doctor, doctor_triton, machine, trial
from attnvgg_serving.machine import Finding
from attnvgg_serving.settings import Settings
from golden_bundle import golden_bundle

Index = dict[tuple[str, str], tuple[str, str]]


class Fake(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Says which models it has: (name, version) -> (state, reason)."""

    def __init__(self) -> None:
        self.index: Index = {("plain", "1"): ("READY", "")}

    def ServerMetadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(name="triton", version="2.51.0")

    def RepositoryIndex(self, request: Any, context: Any) -> Any:
        answer = service_pb2.RepositoryIndexResponse()
        for (name, version), (state, reason) in self.index.items():
            answer.models.add(name=name, version=version, state=state, reason=reason)
        return answer


@pytest.fixture
def fake() -> Iterator[tuple[Fake, str]]:
    one = Fake()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(one, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield one, f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    golden_bundle(tmp_path / "models" / "plain" / "1")
    return tmp_path / "models"


def asked(url: str, models: Path, **more: Any) -> Settings:
    return Settings(engine="triton", triton_url=url, models=models, **more)


def test_it_says_who_is_there_and_what_it_serves(fake: tuple[Fake, str], models: Path) -> None:
    one, url = fake
    one.index["plain-encoded", "1"] = ("READY", "")
    one.index["other", "3"] = ("UNAVAILABLE", "unloaded")
    (found,) = doctor_triton.check_triton(asked(url, models))
    assert found == machine.ok("triton", f"triton 2.51.0 at {url} serves plain/1, plain-encoded/1")


def test_a_version_that_it_has_not_is_a_failure(fake: tuple[Fake, str], models: Path) -> None:
    one, url = fake
    golden_bundle(models / "plain" / "2")
    golden_bundle(models / "plain" / "3")
    one.index["plain", "3"] = ("UNAVAILABLE", "unable to find backend library\nfor 'x'")
    there, second, third = doctor_triton.check_triton(asked(url, models))
    assert there.level == "ok"
    assert (second.level, third.level) == ("failure", "failure")
    assert second.says.startswith("it does not serve plain/2; write its repository")
    assert "plain/3 (unable to find backend library for 'x')" in third.says


def test_nobody_there_is_a_failure_and_no_bundle_is_waited_for(models: Path) -> None:
    settings = asked("127.0.0.1:9", models)
    (found,) = doctor_triton.check_triton(settings)
    assert found.level == "failure"
    assert found.says.startswith("nobody answers at 127.0.0.1:9: ")
    assert "correct ATTNVGG_TRITON_URL" in found.says
    assert "\n" not in found.says
    (bundles,) = doctor.check_bundles(settings)  # trial.load would wait 30 s
    assert bundles == machine.warning(
        "bundles", "1 as exported; not run, as Triton does not serve them"
    )


def test_what_is_served_is_tried(
    fake: tuple[Fake, str], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []

    def load(folder: Path, settings: Settings) -> Any:
        tried.append(folder)
        raise machine.StartError("no")

    monkeypatch.setattr(trial, "load", load)
    assert list(doctor.check_bundles(asked(fake[1], models))) == [
        Finding("failure", "plain/1", "no")
    ]
    assert tried == [models / "plain" / "1"]


def test_another_engine_asks_nobody(models: Path) -> None:
    assert list(doctor_triton.check_triton(Settings(models=models))) == []


def test_no_onnxruntime_is_demanded_and_no_thread_is_promised(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        assert not name.startswith("onnxruntime")
        return real(name, *arguments, **more)

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    settings = asked("127.0.0.1:9", models)
    (packages,) = machine.check_packages(settings)
    assert packages.level == "ok"
    assert "tritonclient " in packages.says
    assert packages.says.endswith("no onnxruntime is needed")
    assert list(machine.check_gpu(settings)) == []
    (cores,) = machine.check_cores(settings)
    assert cores == machine.ok("cores", "2 cores, 1 worker; forward passes are Triton's")
    (many,) = machine.check_cores(asked("t:1", models, workers=3))
    assert many.level == "warning"
    assert "onnxruntime" not in sys.modules


def test_a_client_that_is_not_installed_is_a_failure(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tritonclient"]:
        monkeypatch.setitem(sys.modules, name, None)
    settings = asked("127.0.0.1:9", models)
    (packages,) = machine.check_packages(settings)
    assert packages.level == "failure"
    assert "pip install 'attnvgg[triton]'" in packages.says
    (there,) = doctor_triton.check_triton(settings)
    assert there.level == "failure"


def test_threads_that_nobody_has_are_a_warning(models: Path) -> None:
    says = {
        finding.says: finding.level
        for finding in doctor.check_settings(asked("t:1", models, engine_threads=2))
    }
    assert says["ATTNVGG_ENGINE_THREADS has no effect with ATTNVGG_ENGINE=triton"] == "warning"
