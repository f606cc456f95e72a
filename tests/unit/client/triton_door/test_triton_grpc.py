"""What only gRPC has: channels, codes, messages, processes."""

import asyncio
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from attnvgg_client import (
    APIConnectionError,
    AsyncClient,
    AuthenticationError,
    Client,
    DeadlineError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    PictureRejectedError,
    Prediction,
    ProtocolError,
    _grpc,
)

pytest.importorskip("tritonclient.grpc")

PIXELS = np.zeros((6, 8, 3), np.uint8)


def nobody() -> str:
    """A URL of loopback where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"grpc://127.0.0.1:{free.getsockname()[1]}"


def test_a_missing_extra_is_named_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("tritonclient"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tritonclient", None)
    with pytest.raises(InvalidArgumentError) as caught:
        Client("grpc://host:8001")
    assert "needs tritonclient: pip install 'attnvgg-client[triton]'" in str(caught.value)
    Client("triton+http://host:8000").close()  # does without


def test_a_client_over_http_loads_no_grpc() -> None:
    code = (
        "import sys; from attnvgg_client import Client; Client('triton+http://h:1').close();"
        "Client().close(); print([n for n in sys.modules if n.split('.')[0] in "
        "('grpc', 'google', 'tritonclient')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_nobody_there(ask: Any) -> None:
    url = nobody()
    for verb, arguments in (("predict", [PIXELS]), ("health", []), ("models", [])):
        with pytest.raises(APIConnectionError, match=f"{url} cannot be reached: ") as caught:
            ask(url, verb, *arguments, client={"max_retries": 1})
        assert caught.value.request_id
    with pytest.raises(DeadlineError, match=r"not ready within 0\.3 s: .* cannot be"):
        ask(url, "wait_until_ready", 0.3)


def test_a_name_that_nobody_has(ask: Any) -> None:
    with pytest.raises(APIConnectionError, match="cannot be reached"):
        ask("grpc://no-such-host.invalid:1", "health", timeout=20)


def test_something_else_is_there(ask: Any) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def talk() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(100)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\nwhat?" * 3)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            url = f"grpc://127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises((APIConnectionError, DeadlineError)):
                ask(url, "predict", PIXELS, timeout=2)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_server_without_this_service(ask: Any) -> None:
    grpc = pytest.importorskip("grpc")
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with pytest.raises(NotFoundError, match="Method not found!"):
                ask(f"grpc://127.0.0.1:{port}", "predict", PIXELS)
        finally:
            server.stop(0).wait(10)


def test_a_server_that_says_it_is_unavailable_is_not_ready(
    ask: Any, triton: Any, over_grpc: Any
) -> None:
    grpc = pytest.importorskip("grpc")

    def refuse(request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, "Server is starting")

    with over_grpc(triton, ServerReady=refuse) as url:
        found = ask(url, "health")
    assert not found.ready
    assert "Server is starting" in found.detail


def test_a_slow_server_meets_the_deadline(ask: Any, triton: Any, over_grpc: Any) -> None:
    ended = threading.Event()

    def slow(request: Any, context: Any) -> None:
        context.add_callback(ended.set)
        ended.wait(20)

    with over_grpc(triton, ModelInfer=slow) as url:
        start = time.monotonic()
        with pytest.raises(DeadlineError, match=r"no whole answer within 0\.5 s") as caught:
            ask(url, "predict", PIXELS, timeout=0.5)
        assert time.monotonic() - start < 10
        assert caught.value.request_id
        assert ended.wait(10)  # the server knows, too


def test_cancelling_a_task_cancels_the_call(triton: Any, over_grpc: Any) -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow(request: Any, context: Any) -> None:
        context.add_callback(ended.set)
        begun.set()
        ended.wait(20)

    async def cancel() -> None:
        async with AsyncClient(url) as client:
            task = asyncio.create_task(client.predict(PIXELS))
            await asyncio.to_thread(begun.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(ended.wait, 10)

    with over_grpc(triton, ModelInfer=slow) as url:
        asyncio.run(cancel())


def test_leaving_predict_many_ends_its_calls(triton: Any, over_grpc: Any, draw: Any) -> None:
    """Dark pictures are answered at once, bright ones never."""
    waiting, ended = threading.Event(), threading.Event()
    answer = triton.infer

    def infer(asked: Any) -> Any:
        if asked.pictures()[0].any():
            waiting.set()
            ended.wait(60)
        return answer(asked)

    triton.infer = infer
    try:
        with over_grpc(triton) as url, Client(url) as client:
            pictures = (draw.pixels(0 if i < 4 else 200) for i in range(100))
            for found in client.predict_many(pictures, concurrency=2):
                assert isinstance(found, Prediction)
                assert waiting.wait(20)
                start = time.monotonic()
                break
            assert time.monotonic() - start < 10
            ended.set()
    finally:
        ended.set()


@contextmanager
def aborting(over_grpc: Any, triton: Any, code: str, text: str) -> Iterator[str]:
    grpc = pytest.importorskip("grpc")

    def refuse(request: Any, context: Any) -> None:
        context.abort(getattr(grpc.StatusCode, code), text)

    with over_grpc(triton, ModelInfer=refuse) as url:
        yield url


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("UNAUTHENTICATED", AuthenticationError, 401),
        ("PERMISSION_DENIED", PermissionDeniedError, 403),
    ],
)
def test_codes_that_triton_itself_never_gives(
    ask: Any, triton: Any, over_grpc: Any, code: str, kind: type, status: int
) -> None:
    refused = pytest.raises(kind, match="the server says: who are you")
    with aborting(over_grpc, triton, code, "who are you?") as url, refused as caught:
        ask(url, "predict", PIXELS)
    assert caught.value.status == status  # type: ignore[attr-defined]


def test_an_answer_that_is_too_large(
    ask: Any, triton: Any, over_grpc: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_grpc, "_OPTIONS", [("grpc.max_receive_message_length", 200)])
    triton.written = {"label": "x" * 300}
    refused = pytest.raises(ProtocolError, match="the answer has more than")
    with over_grpc(triton) as url, refused:
        ask(url, "models")


def test_garbage_in_place_of_a_message(ask: Any) -> None:
    grpc = pytest.importorskip("grpc")

    class Garbage(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"\xff" * 50)

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, handlers=[Garbage()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with pytest.raises(ProtocolError, match="no message of the inference protocol"):
                ask(f"grpc://127.0.0.1:{port}", "health")
        finally:
            server.stop(0).wait(10)


def test_a_request_that_the_server_finds_too_large(
    ask: Any, triton: Any, over_grpc: Any, draw: Any
) -> None:
    """4 MB, for this server. In a batch the pictures are tried one by one."""
    large = draw.png(0) + bytes(5_000_000)
    with over_grpc(triton) as url:
        with pytest.raises(PictureRejectedError, match="message larger than max") as caught:
            ask(url, "predict", large)
        assert caught.value.code == "body_too_large"
        good, bad = ask(url, "predict_batch", [PIXELS, large])
    assert (good.label, bad.code) == ("ant", "body_too_large")


def test_answers_are_as_large_as_over_http(ask: Any, triton: Any, over_grpc: Any) -> None:
    """gRPC's own limit is 4 MB."""
    triton.spoil = lambda outputs: outputs.update(
        attention_conv1=np.full((1, 1200, 1200), 0.5, np.float32)
    )
    with over_grpc(triton) as url:
        found = ask(url, "predict", PIXELS, return_attention=True)
    assert found.attention["conv1"].shape == (1200, 1200)


def test_a_server_that_comes_back_is_found(triton: Any, over_grpc: Any) -> None:
    with over_grpc(triton) as url:
        port = url.rpartition(":")[2]
        client = Client(url, max_retries=0)
        assert client.predict(PIXELS).label == "ant"
    with pytest.raises(APIConnectionError):
        client.predict(PIXELS)
    with Again(port), client:
        client.wait_until_ready(20)


class Again:
    """A server that is ready, on a given port."""

    def __init__(self, port: str) -> None:
        grpc = pytest.importorskip("grpc")
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
            def ServerReady(self, request: Any, context: Any) -> Any:
                return service_pb2.ServerReadyResponse(ready=True)

        self.pool = ThreadPoolExecutor(1)
        self.server = grpc.server(self.pool)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), self.server)
        self.server.add_insecure_port(f"127.0.0.1:{port}")

    def __enter__(self) -> None:
        self.server.start()

    def __exit__(self, *error: object) -> None:
        self.server.stop(0).wait(10)
        self.pool.shutdown()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """(key, certificate) of 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate")
    key, found = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(found)]
    subprocess.run(command, check=True, capture_output=True)
    return key, found


def test_tls(
    ask: Any,
    triton: Any,
    over_grpc: Any,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grpc = pytest.importorskip("grpc")
    key, root = certificate
    pairs = [(key.read_bytes(), root.read_bytes())]
    with over_grpc(triton, grpc.ssl_server_credentials(pairs)) as url:
        assert url.startswith("grpcs://")
        with pytest.raises(APIConnectionError, match=r"(?i)certificate|handshake|tls|ssl"):
            ask(url, "predict", PIXELS, client={"max_retries": 0})
        assert triton.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(root))
        assert ask(url, "predict", PIXELS, client={"api_key": "k"}).label == "ant"


def test_urls_of_pictures_are_fetched_over_http(triton: Any, over_grpc: Any, draw: Any) -> None:
    fetched = []

    def pictures(request: httpx.Request) -> httpx.Response:
        fetched.append(str(request.url))
        return httpx.Response(200, content=draw.png(130))

    transport = httpx.MockTransport(pictures)
    with over_grpc(triton) as url, Client(url, api_key="k", transport=transport) as client:
        assert client.predict("http://pictures/a.png").label == "cat"
    assert fetched == ["http://pictures/a.png"]


def test_threads_share_one_channel(triton: Any, over_grpc: Any, draw: Any) -> None:
    with over_grpc(triton) as url, Client(url) as client, ThreadPoolExecutor(8) as pool:
        client.predict(PIXELS)
        values = [(i * 9) % 256 for i in range(64)]
        found = list(pool.map(lambda v: client.predict(draw.pixels(v)).index, values))
        assert found == [v // 64 for v in values]
        assert len(client._channel._channels._open) == 1


def test_one_asyncio_client_serves_several_loops(triton: Any, over_grpc: Any) -> None:
    with over_grpc(triton) as url:
        client = AsyncClient(url)

        async def some() -> set[str]:
            found = await asyncio.gather(*(client.predict(PIXELS) for _ in range(5)))
            return {each.label for each in found}

        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda _: asyncio.run(some()), range(6)))
        assert found == [{"ant"}] * 6
        asyncio.run(some())
        assert len(client._channel._channels._open) == 1  # not one for each loop that is no more


def test_an_answer_with_outputs_that_have_no_tensors(ask: Any, triton: Any, over_grpc: Any) -> None:
    pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")

    def half(request: Any, context: Any) -> Any:
        output = pb2.ModelInferResponse.InferOutputTensor(name="probabilities", datatype="FP32")
        return pb2.ModelInferResponse(model_version="1", outputs=[output])

    with (
        over_grpc(triton, ModelInfer=half) as url,
        pytest.raises(ProtocolError, match="the answer has 1 outputs and 0 tensors") as caught,
    ):
        ask(url, "predict", PIXELS)
    assert caught.value.request_id
