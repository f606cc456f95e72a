"""The Triton engine's parts, without Triton: what it sends, what it makes of errors, when it
counts as there. Where a server is needed, one of a few lines speaks Triton's protocol."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as blocking
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from attnvgg_bundle.manifest import Manifest
from attnvgg_serving import engines, repository, trial
from attnvgg_serving.batcher import Batcher, Ran
from attnvgg_serving.engines import RemoteEngine
from attnvgg_serving.engines import triton as engine_module
from attnvgg_serving.engines import triton_wire as wire
from attnvgg_serving.engines.triton import TritonEngine
from attnvgg_serving.errors import (
    DeadlineExceeded,
    EngineAway,
    EngineUnavailable,
    Overloaded,
    StartError,
    WireError,
)
from attnvgg_serving.gateway import Gateway
from attnvgg_serving.registry import Bundle
from attnvgg_serving.settings import Settings
from golden_bundle import golden_bundle
from plain_bundle import plain_bundle

FAR = float("inf")
POISON = 255
Group = model_config_pb2.ModelInstanceGroup


def config(**fields: Any) -> Any:
    """A ModelConfig as Triton gives it."""
    values = {"name": "plain", "backend": "onnxruntime", "max_batch_size": 64, **fields}
    return model_config_pb2.ModelConfig(**values)


def written(format: str, **fields: Any) -> Any:
    """One that `attnvgg-export triton --format FORMAT` wrote."""
    parameters = {"format": model_config_pb2.ModelParameter(string_value=format)}
    return config(parameters=parameters, **fields)


@pytest.mark.parametrize(
    ("fields", "provider"),
    [
        ({"instance_group": [Group(kind="KIND_GPU")]}, "triton:onnxruntime:gpu"),
        ({"instance_group": [Group(kind="KIND_CPU")]}, "triton:onnxruntime:cpu"),
        ({"backend": "python", "instance_group": [Group()]}, "triton:python:auto"),
        ({"backend": "", "platform": "onnxruntime_onnx"}, "triton:onnxruntime_onnx:auto"),
    ],
)
def test_the_provider_is_what_is_configured(fields: dict[str, Any], provider: str) -> None:
    assert wire.provider(config(**fields)) == provider


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("models") / "plain" / "1"
    return Bundle(folder, plain_bundle(folder))


def with_graph(bundle: Bundle, file: str) -> Bundle:
    """The same with one more graph, by its manifest."""
    one = bundle.manifest.files["model.onnx"]
    files = {**bundle.manifest.files, file: dataclasses.replace(one, sha256="f" * 64)}
    return Bundle(bundle.folder, dataclasses.replace(bundle.manifest, files=files))


def test_what_runs_is_the_graph_that_the_repository_was_made_of(bundle: Bundle) -> None:
    own = bundle.manifest.files["model.onnx"].sha256
    for given in (config(), written("onnx")):  # an older repository does not say
        found = wire.served(bundle, given, 64)
        assert (found.precision, found.sha256) == ("fp32", own)
    for format in ("int8", "fp16"):
        found = wire.served(with_graph(bundle, f"model.{format}.onnx"), written(format), 64)
        assert (found.precision, found.sha256) == (format, "f" * 64)


@pytest.mark.parametrize("format", ["int8", "fp16", "strange"])
def test_a_graph_that_the_bundle_has_not_is_refused(bundle: Bundle, format: str) -> None:
    with pytest.raises(
        StartError, match=f"was made of the graph '{format}', and .* has none"
    ) as no:
        wire.served(bundle, written(format), 64)
    assert "\n" not in str(no.value)


def test_batches_that_triton_would_refuse_are_refused_at_the_start(bundle: Bundle) -> None:
    with pytest.raises(StartError, match=r"ATTNVGG_MAX_BATCH is 65, and .* takes 64 at most"):
        wire.served(bundle, config(), 65)


@pytest.mark.parametrize(
    ("status", "says", "becomes"),
    [
        ("UNAVAILABLE", "[request id: 1] Exceeds maximum queue size", Overloaded),
        ("UNAVAILABLE", "Request timeout expired", DeadlineExceeded),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineExceeded),
        ("UNAVAILABLE", "failed to connect to all addresses", EngineUnavailable),
        ("UNAVAILABLE", "Socket closed", EngineUnavailable),
        ("NOT_FOUND", "Request for unknown model: 'plain' is not found", EngineUnavailable),
        ("CANCELLED", "CANCELLED", EngineUnavailable),
        ("INVALID_ARGUMENT", "unexpected shape for input 'image'", RuntimeError),
        ("INTERNAL", "Stub process 'plain_0' is not healthy.", RuntimeError),
        ("RESOURCE_EXHAUSTED", "Received message larger than max", RuntimeError),
        ("UNKNOWN", "?", RuntimeError),
        (None, "got unexpected datatype", RuntimeError),
    ],
)
def test_every_error_of_triton_has_a_meaning(
    status: str | None, says: str, becomes: type[Exception]
) -> None:
    error = InferenceServerException(says, status and f"StatusCode.{status}")
    with pytest.raises(becomes) as caught, wire.translated():
        raise error
    assert type(caught.value) is becomes
    assert caught.value.__cause__ is error
    if isinstance(caught.value, WireError):  # clients read it
        assert says not in str(caught.value)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), wire.translated():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("seconds", "in_queue", "in_all"),
    [(0.25, 250_000, 0.25), (FAR, 600_000_000, 600), (-3.0, 1, 0.001), (0.0, 1, 0.001)],
)
def test_a_deadline_travels_with_the_request(seconds: float, in_queue: int, in_all: float) -> None:
    pixels = np.zeros((2, 4, 5, 3), np.uint8)
    asked = wire.request(blocking, "image", pixels, ["probabilities"], seconds)
    assert (asked["timeout"], asked["client_timeout"]) == (in_queue, in_all)
    assert asked["inputs"][0].shape() == [2, 4, 5, 3]


def test_an_answer_without_an_output_is_no_answer() -> None:
    class Answer:
        def as_numpy(self, name: str) -> NDArray[np.float32] | None:
            return None if name == "descriptor" else np.zeros(1, np.float32)

    assert set(wire.arrays(Answer(), ["probabilities"])) == {"probabilities"}
    with pytest.raises(EngineUnavailable, match="lacks descriptor"):
        wire.arrays(Answer(), ["probabilities", "descriptor"])


class Remote:
    """An engine elsewhere: fails as it is told, and never answers while `go` is not set."""

    provider, precision, sha256 = "triton:fake:cpu", "fp32", "0"
    lanes = 2

    def __init__(self) -> None:
        self.available = True
        self.error: Exception | None = None
        self.batches: list[list[int]] = []
        self.seconds: list[float] = []
        self.watching = self.closed = False
        self.go = asyncio.Event()
        self.go.set()

    def run(self, pixels: NDArray[np.uint8], outputs: Sequence[str]) -> Any:
        raise AssertionError("a remote engine is awaited")

    async def infer(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str], seconds: float
    ) -> dict[str, NDArray[np.float32]]:
        self.batches.append(pixels[:, 0, 0, 0].tolist())
        self.seconds.append(seconds)
        await self.go.wait()
        if self.error:
            raise self.error
        if (pixels[:, 0, 0, 0] == POISON).any():
            raise RuntimeError("poison")
        return {name: pixels.mean(axis=(1, 2, 3)).astype(np.float32) for name in outputs}

    async def watch(self) -> None:
        self.watching = True
        try:
            await asyncio.Event().wait()
        finally:
            self.watching = False

    def close(self) -> None:
        self.closed = True


def picture(value: int) -> NDArray[np.uint8]:
    return np.full((4, 4, 3), value, np.uint8)


def tell(story: Callable[[Batcher, Remote], Awaitable[None]]) -> Remote:
    async def told() -> Remote:
        engine = Remote()
        assert isinstance(engine, RemoteEngine)
        batcher = Batcher(engine, max_batch=4, max_queue=8)
        batcher.start()
        try:
            await asyncio.wait_for(story(batcher, engine), 30)
        finally:
            engine.go.set()
            await batcher.close()
        return engine

    return asyncio.run(told())


async def occupy(batcher: Batcher, engine: Remote) -> list[asyncio.Future[Ran]]:
    """Pictures (0) that keep every lane busy until engine.go is set."""
    engine.go.clear()
    held = []
    for _ in range(engine.lanes):
        held.append(batcher.submit(picture(0), ["mean"], FAR))
        await asyncio.sleep(0.01)
    assert engine.batches == [[0]] * engine.lanes
    return held


@pytest.mark.parametrize(
    "error", [EngineUnavailable("gone"), Overloaded("full"), DeadlineExceeded("late")]
)
def test_an_error_of_the_engine_fails_the_batch_and_nothing_is_run_again(error: WireError) -> None:
    async def story(batcher: Batcher, engine: Remote) -> None:
        held = await occupy(batcher, engine)
        futures = [batcher.submit(picture(value), ["mean"], FAR) for value in (1, 2, 3)]
        futures[1].cancel()
        engine.error = error
        engine.go.set()
        found = await asyncio.gather(*held, *futures, return_exceptions=True)
        assert [type(one) for one in found] == [
            *[type(error)] * 3,
            asyncio.CancelledError,
            type(error),
        ]
        engine.error = None
        assert (await batcher.submit(picture(5), ["mean"], FAR)).outputs["mean"] == 5

    assert tell(story).batches == [[0], [0], [1, 3], [5]]


def test_a_failure_of_one_picture_reaches_no_other() -> None:
    async def story(batcher: Batcher, engine: Remote) -> None:
        held = await occupy(batcher, engine)
        futures = [batcher.submit(picture(value), ["mean"], FAR) for value in (1, POISON, 3)]
        engine.go.set()
        good, bad, other = await asyncio.gather(*futures, return_exceptions=True)
        assert isinstance(good, Ran)
        assert isinstance(other, Ran)
        assert (good.outputs["mean"], other.outputs["mean"]) == (1, 3)
        assert isinstance(bad, EngineUnavailable)
        assert "poison" not in str(bad)
        await asyncio.gather(*held)

    assert tell(story).batches == [[0], [0], [1, POISON, 3], [1], [POISON], [3]]


def test_while_it_is_away_nothing_is_taken() -> None:
    async def story(batcher: Batcher, engine: Remote) -> None:
        engine.available = False
        assert not batcher.alive
        with pytest.raises(EngineUnavailable, match="does not answer"):
            batcher.check_alive()
        with pytest.raises(EngineUnavailable):
            batcher.submit(picture(1), ["mean"], FAR)
        engine.available = True
        assert (await batcher.submit(picture(2), ["mean"], FAR)).outputs["mean"] == 2

    assert tell(story).batches == [[2]]


def test_the_longest_deadline_of_a_batch_is_the_engines() -> None:
    async def story(batcher: Batcher, engine: Remote) -> None:
        held = await occupy(batcher, engine)
        now = time.monotonic()
        futures = [batcher.submit(picture(1), ["mean"], now + s) for s in (100, 200)]
        engine.go.set()
        await asyncio.gather(*held, *futures)

    assert 150 < tell(story).seconds[-1] <= 200


def test_a_picture_that_nobody_waits_for_is_not_sent() -> None:
    async def story(batcher: Batcher, engine: Remote) -> None:
        held = await occupy(batcher, engine)
        gone, stays = (batcher.submit(picture(value), ["mean"], FAR) for value in (1, 2))
        gone.cancel()
        engine.go.set()
        assert (await stays).outputs["mean"] == 2
        await asyncio.gather(*held)

    assert tell(story).batches == [[0], [0], [2]]


def test_the_end_answers_what_was_taken_and_stops_watching() -> None:
    async def told() -> None:
        engine = Remote()
        batcher = Batcher(engine, max_batch=4, max_queue=8)
        batcher.start()
        (first, second) = await occupy(batcher, engine)
        assert engine.watching
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.01)
        assert engine.watching  # what is on its way may still need to know
        with pytest.raises(EngineUnavailable, match="shutting down"):
            batcher.submit(picture(1), ["mean"], FAR)
        engine.go.set()
        await closing
        assert first.result().outputs["mean"] == second.result().outputs["mean"] == 0
        assert not engine.watching
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others

    asyncio.run(told())


class Fake(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers as Triton does, or as it is told to."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.ready = True
        self.slow = 0.0  # seconds until it says whether it is ready
        self.config = written("onnx")
        self.refuse: tuple[grpc.StatusCode, str] | None = None
        self.asked: list[Any] = []

    def ModelReady(self, request: Any, context: Any) -> Any:
        time.sleep(self.slow)
        return service_pb2.ModelReadyResponse(ready=self.ready)

    def ModelConfig(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelConfigResponse(config=self.config)

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        if self.refuse:
            context.abort(*self.refuse)
        answer = service_pb2.ModelInferResponse(model_name=request.model_name)
        batch = request.inputs[0].shape[0]
        for output in self.manifest.outputs:
            if output.name in {each.name for each in request.outputs}:
                values = np.full((batch, *map(int, output.shape[1:])), 7, np.float32)
                tensor = answer.outputs.add(name=output.name, datatype="FP32")
                tensor.shape.extend(values.shape)
                answer.raw_output_contents.append(values.tobytes())
        return answer


@dataclasses.dataclass
class There:
    """The fake and its address; it can go, and come back at the same one."""

    fake: Fake
    url: str = "127.0.0.1:0"
    server: Any = None

    def come(self) -> None:
        self.server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self.fake, self.server)
        self.url = f"127.0.0.1:{self.server.add_insecure_port(self.url)}"
        self.server.start()

    def go(self) -> None:
        self.server.stop(0).wait()


@pytest.fixture
def there(bundle: Bundle) -> Iterator[There]:
    one = There(Fake(bundle.manifest))
    one.come()
    yield one
    one.go()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "WAIT_S", 0.3)
    monkeypatch.setattr(engine_module, "ASK_S", 0.05)


def remote(there: There, **changes: Any) -> Settings:
    return Settings(engine="triton", triton_url=there.url, **changes)


def live(there: There, bundle: Bundle, story: Callable[[TritonEngine], Awaitable[None]]) -> None:
    """The story of an engine that is watched."""

    async def told() -> None:
        engine = engine_module.create(bundle, remote(there))
        assert isinstance(engine, RemoteEngine)
        watch = asyncio.create_task(engine.watch())
        try:
            await asyncio.wait_for(story(engine), 60)
            assert not watch.done()
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    asyncio.run(told())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


PIXELS = np.zeros((2, 24, 32, 3), np.uint8)


def test_only_what_is_asked_for_is_fetched_from_the_right_version(
    there: There, bundle: Bundle
) -> None:
    async def story(engine: TritonEngine) -> None:
        found = await engine.infer(PIXELS, ["probabilities"], 10)
        assert {name: values.shape for name, values in found.items()} == {"probabilities": (2, 3)}
        (asked,) = there.fake.asked
        assert (asked.model_name, asked.model_version) == ("plain", "1")
        assert asked.parameters["timeout"].int64_param == 10_000_000
        assert asked.raw_input_contents[0] == PIXELS.tobytes()

    live(there, bundle, story)


def test_it_goes_and_comes_back(
    there: There, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(engine: TritonEngine) -> None:
        await engine.infer(PIXELS, ["probabilities"], 10)
        there.go()
        await until(lambda: not engine.available)
        with pytest.raises(EngineUnavailable):
            await engine.infer(PIXELS, ["probabilities"], 10)
        there.come()
        await until(lambda: engine.available)
        await engine.infer(PIXELS, ["probabilities"], 10)

    with caplog.at_level(logging.WARNING):
        live(there, bundle, story)
    said = [record.message for record in caplog.records if "Triton at" in record.message]
    assert ["is back" in line for line in said] == [False, True]


def test_a_version_that_triton_took_away_is_away(there: There, bundle: Bundle) -> None:
    async def story(engine: TritonEngine) -> None:
        there.fake.ready = False
        await until(lambda: not engine.available)
        there.fake.ready = True
        await until(lambda: engine.available)

    live(there, bundle, story)


def test_a_refused_request_shows_it_before_the_next_question_does(
    there: There, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(engine: TritonEngine) -> None:
        await asyncio.sleep(0.2)  # the first question was answered
        there.fake.refuse = (grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
        with pytest.raises(EngineUnavailable):
            await engine.infer(PIXELS, ["probabilities"], 10)
        assert not engine.available

    monkeypatch.setattr(engine_module, "ASK_S", 60)
    live(there, bundle, story)


def test_a_full_queue_does_not_make_it_absent(there: There, bundle: Bundle) -> None:
    async def story(engine: TritonEngine) -> None:
        there.fake.refuse = (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
        with pytest.raises(Overloaded):
            await engine.infer(PIXELS, ["probabilities"], 10)
        assert engine.available

    live(there, bundle, story)


def test_who_answers_pictures_is_there_though_late_with_other_answers(
    there: There, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(engine: TritonEngine) -> None:
        there.fake.slow = 0.5
        for _ in range(30):
            await engine.infer(PIXELS, ["probabilities"], 10)
            assert engine.available
            await asyncio.sleep(0.02)
        await until(lambda: not engine.available)  # nobody asks for pictures any more

    monkeypatch.setattr(engine_module, "ASK_SECONDS", 0.2)
    live(there, bundle, story)


def test_no_error_ends_the_watch(there: There, bundle: Bundle) -> None:
    class Odd:
        def __init__(self, real: Any) -> None:
            self.real, self.times = real, 0

        async def is_model_ready(self, *arguments: Any, **options: Any) -> bool:
            self.times += 1
            if self.times < 4:
                raise ValueError("what nobody thought of")
            return bool(await self.real.is_model_ready(*arguments, **options))

        async def close(self) -> None:
            await self.real.close()

    async def story(engine: TritonEngine) -> None:
        odd = engine._client = Odd(engine._there())
        await until(lambda: not engine.available)
        await until(lambda: engine.available)
        assert odd.times >= 4

    live(there, bundle, story)


def test_on_trial_it_is_asked_without_a_loop(there: There, bundle: Bundle) -> None:
    engine = engines.create(bundle, remote(there))
    assert set(engine.run(PIXELS, ["descriptor", "probabilities"])) == {
        "descriptor",
        "probabilities",
    }


def test_a_version_that_is_not_there_is_waited_for(
    there: There, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.fake.ready = False
    with pytest.raises(EngineAway, match="has no version 1 of plain that is ready") as no:
        engine_module.create(bundle, remote(there))
    assert "\n" not in str(no.value)

    def come(seconds: float) -> None:
        there.fake.ready = True

    monkeypatch.setattr("time.sleep", come)
    assert engine_module.create(bundle, remote(there)).available


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_a_trial_that_could_not_be_held_says_nothing_about_the_bundle(
    there: There, tmp_path: Path, code: grpc.StatusCode
) -> None:
    golden_bundle(tmp_path / "plain" / "1")
    there.fake.refuse = (code, "not now")
    with pytest.raises(EngineAway, match="could not be tried"):
        trial.load(tmp_path / "plain" / "1", remote(there))
    there.fake.refuse = None
    with pytest.raises(StartError, match=r"golden\.npz") as no:  # the fake says 7 to everything
        trial.load(tmp_path / "plain" / "1", remote(there))
    assert not isinstance(no.value, EngineAway)


def test_a_version_that_triton_has_later_is_served_later(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look tries it again, though no file of it has changed."""
    models = tmp_path / "models"
    golden_bundle(models / "plain" / "1")
    monkeypatch.setattr(trial, "check_golden", lambda *arguments: None)
    monkeypatch.setattr(repository, "FOLLOW_S", 0.02)

    async def told() -> None:
        gateway = Gateway(remote(there, models=models, poll_s=0.05))
        await gateway.start()
        try:
            there.fake.ready = False
            golden_bundle(tmp_path / "plain" / "2")
            (tmp_path / "plain" / "2").rename(models / "plain" / "2")

            def states() -> dict[str, str]:
                return {e.version: e.state for e in gateway.repository.index()}

            await until(lambda: states().get("2") == "UNAVAILABLE")
            (refused, _) = gateway.repository.index()
            assert "has no version 2 of plain that is ready" in refused.reason
            assert there.url not in refused.reason
            there.fake.ready = True
            await until(lambda: states() == {"2": "READY", "1": "READY"})
        finally:
            await gateway.close()

    asyncio.run(asyncio.wait_for(told(), 60))
