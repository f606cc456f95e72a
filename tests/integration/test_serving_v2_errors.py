"""/v2 against the real process: every refusal is the protocol's, and models come and go."""

import io
import json
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as tritonclient
from PIL import Image
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from attnvgg_bundle.manifest import Sizes
from attnvgg_serving import keys
from golden_bundle import golden_bundle
from support import Server, running

ADMIN, ADMIN_HASH = keys.generate()
USER, USER_HASH = keys.generate()
BODY_LIMIT = 200_000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`plain` takes 32 x 24 pixels; `free` others too; `plain` is the default."""
    models = tmp_path_factory.mktemp("models")
    golden_bundle(models / "plain" / "1")
    golden_bundle(models / "plain" / "2", gain=2.0)
    golden_bundle(models / "free" / "1", sizes=Sizes(16, 64, 8))
    (models / "default").write_text("plain\n")
    return models


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("bentoml")
    file = home / "keys"
    file.write_text(f"root {ADMIN_HASH} admin\nsomebody {USER_HASH}\n")
    settings = {"ATTNVGG_API_KEYS": str(file), "ATTNVGG_MAX_IMAGES": "4"}
    with running(models, home, ATTNVGG_MAX_BODY_BYTES=str(BODY_LIMIT), **settings) as server:
        yield server


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return server.url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Any]:
    with tritonclient.InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def png(width: int = 32, height: int = 24) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 90, 30)).save(stream, "PNG")
    return stream.getvalue()


def image(*shape: int, binary: bool = True) -> list[Any]:
    values = np.full(shape, 9, np.uint8)
    return [InferInput("image", list(shape), "UINT8").set_data_from_numpy(values, binary)]


def encoded(*files: bytes) -> list[Any]:
    tensor = InferInput("encoded", [len(files), 1], "BYTES")
    return [tensor.set_data_from_numpy(np.array(files, dtype=object).reshape(-1, 1))]


def refused(status: int, says: str, call: Callable[..., object], *given: Any, **more: Any) -> None:
    with pytest.raises(InferenceServerException) as raised:
        call(*given, **more)
    assert raised.value.status() == str(status), raised.value.message()
    assert says in raised.value.message()
    code = raised.value.message().partition(": ")[0]
    assert code.replace("_", "").isalpha()


def test_what_is_not_there_is_not_found(client: Any) -> None:
    refused(404, "model_not_found: there is no model 'vgg'", client.infer, "vgg", encoded(png()))
    refused(
        404, "model_not_found: plain has no version '9'", client.get_model_metadata, "plain", "9"
    )
    refused(404, "model_not_found", client.get_model_config, "-encoded")
    refused(404, "not_found: there is nothing at /v2/logging", client.get_log_settings)
    refused(404, "not_found", client.register_system_shared_memory, "r", "/r", 9)
    refused(404, "not_found", client.get_inference_statistics)
    assert not client.is_model_ready("vgg")
    assert not client.is_model_ready("plain", "9")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v2/models/plain/infer", "POST"), ("/v2/repository/index", "POST")],
)
def test_another_method_is_refused_in_the_protocols_form(url: str, path: str, allowed: str) -> None:
    answer = httpx.get(url + path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"].startswith("method_not_allowed: ")


@pytest.mark.parametrize(
    ("model", "given", "status", "says"),
    [
        ("plain", image(1, 24, 24, 3), 400, "image's shape is [1, 24, 24, 3]; it must be [-1, 24"),
        ("plain", image(5, 24, 32, 3), 400, "too_many_images: the request has 5 pictures; at most"),
        ("plain", encoded(png()), 400, "the input is 'encoded'; it must be 'image'"),
        ("plain-encoded", image(1, 24, 32, 3), 400, "the input is 'image'; it must be 'encoded'"),
        ("free", image(1, 20, 16, 3), 400, "sides from 16 to 64 that are multiples of 8"),
        ("plain", image(1, 24, 32, 3) * 2, 400, "inputs is 2 tensors"),
        ("plain-encoded", encoded(b"text"), 415, "unsupported_media_type: 4 bytes that are no"),
        ("plain-encoded", encoded(png()[:40]), 400, "invalid_image: the picture"),
        ("plain-encoded", encoded(png(5001, 5000)), 413, "image_too_large: the picture has 5001 x"),
        ("plain-encoded", encoded(b"x" * 9 * BODY_LIMIT), 413, "body_too_large: a body may have"),
    ],
)
def test_what_the_model_does_not_take_is_refused(
    client: Any, model: str, given: list[Any], status: int, says: str
) -> None:
    refused(status, says, client.infer, model, given)


def test_one_bad_picture_is_the_requests_error(client: Any) -> None:
    says = "invalid_image: picture 2 of 3: the picture is empty"
    refused(400, says, client.infer, "plain-encoded", encoded(png(), b"", png()))


def test_outputs_and_shared_memory_that_are_not_there_are_refused(client: Any) -> None:
    tensor = image(1, 24, 32, 3)
    wrong = [InferRequestedOutput("attention_conv99")]
    refused(400, "no output 'attention_conv99'", client.infer, "plain", tensor, outputs=wrong)
    shared = [InferRequestedOutput("descriptor")]
    shared[0].set_shared_memory("r", 12)
    refused(400, "uses shared memory", client.infer, "plain", tensor, outputs=shared)
    tensor[0].set_shared_memory("r", 12)
    refused(400, "uses shared memory", client.infer, "plain", tensor)


def test_compressed_bodies_are_refused(client: Any) -> None:
    says = "unsupported_media_type: Content-Encoding is 'gzip'"
    tensor, way = image(1, 24, 32, 3), "gzip"
    call = client.infer
    refused(415, says, call, "plain", tensor, request_compression_algorithm=way)
    # An answer is never compressed, whatever is asked for.
    result = call("plain", tensor, response_compression_algorithm=way)
    assert result.as_numpy("descriptor").shape == (1, 3)


def test_a_deadline_is_honoured_in_both_forms(client: Any) -> None:
    slow, header = encoded(png(4900, 4900)), {"X-Timeout-Ms": "2"}
    refused(504, "deadline_exceeded: ", client.infer, "plain-encoded", slow, headers=header)
    refused(
        400, "X-Timeout-Ms is 'soon'", client.infer, "plain", slow, headers={"X-Timeout-Ms": "soon"}
    )
    tensor = image(1, 24, 32, 3)
    refused(504, "deadline_exceeded: ", client.infer, "plain", tensor, timeout=1)


def test_a_client_that_goes_away_is_noticed(server: Server) -> None:
    body, length = tritonclient.InferenceServerClient.generate_request_body(
        encoded(png(4900, 4900))
    )
    head = "POST /v2/models/plain-encoded/infer HTTP/1.1\r\nHost: x\r\nX-Request-ID: gone\r\n"
    head += f"Inference-Header-Content-Length: {length}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
    deadline = time.monotonic() + 30
    while not (found := re.search(r"request_id=gone .*status=(\d+)", server.log.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found[1] == "499"


def test_a_body_that_never_comes_has_a_deadline_too(server: Server) -> None:
    head = "POST /v2/repository/index HTTP/1.1\r\nHost: x\r\nX-Timeout-Ms: 100\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: 9\r\n\r\n".encode())
        answer = connection.recv(4096).decode()
        while not answer.endswith("}"):  # the body may come in a packet of its own
            more = connection.recv(4096).decode()
            assert more, answer
            answer += more
    assert answer.startswith("HTTP/1.1 504 ")
    assert "deadline_exceeded: " in answer


def test_refusals_carry_the_requests_id(url: str) -> None:
    headers = {"X-Request-ID": "mine"}
    answer = httpx.post(f"{url}/v2/models/plain/infer", content=b"{", headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (400, "mine")
    assert answer.json() == {"error": answer.json()["error"]}
    assert answer.json()["error"].startswith("invalid_request: the body is not JSON")


def test_free_sizes_are_described_and_answered(client: Any) -> None:
    about = client.get_model_metadata("free")
    assert about["inputs"][0]["shape"] == [-1, -1, -1, 3]
    assert [each["shape"] for each in about["outputs"]] == [[-1, 3], [-1, -1, -1], [-1, 3]]
    files = client.get_model_metadata("free-encoded")
    assert [each["shape"] for each in files["outputs"]] == [[-1, 3], [-1, 24, 32], [-1, 3]]
    for height, width in ((16, 64), (24, 32)):
        result = client.infer("free", image(2, height, width, 3))
        assert result.as_numpy("attention_conv1").shape == (2, height, width)


def test_versions_answer_under_their_numbers(client: Any) -> None:
    tensor = image(1, 24, 32, 3)
    assert client.get_model_metadata("plain")["versions"] == ["1", "2"]
    newest = client.infer("plain", tensor)
    first, second = (client.infer("plain", tensor, model_version=v) for v in ("1", "2"))
    assert newest.get_response()["model_version"] == "2"
    values = [result.as_numpy("descriptor") for result in (newest, first, second)]
    np.testing.assert_allclose(values[0], values[2])
    np.testing.assert_allclose(values[0], 2 * values[1], rtol=1e-5)


def states(client: Any) -> dict[tuple[str, str], str]:
    index = client.get_model_repository_index()
    return {(each["name"], each["version"]): each["state"] for each in index}


@pytest.mark.parametrize("call", ["load_model", "unload_model"])
def test_loading_needs_an_admin_key_on_loopback_too(client: Any, call: str) -> None:
    ask = getattr(client, call)
    refused(401, "unauthorized: ", ask, "free")
    refused(401, "unauthorized: ", ask, "free", headers={"X-API-Key": "wrong"})
    refused(403, "forbidden: ", ask, "free", headers={"X-API-Key": USER})
    assert set(states(client).values()) == {"READY"}


def test_without_keys_nothing_is_loaded(gateway: str) -> None:
    with tritonclient.InferenceServerClient(gateway.removeprefix("http://")) as client:
        refused(403, "forbidden: ", client.unload_model, "tiny")
        assert client.is_model_ready("tiny")


@pytest.mark.parametrize("name", ["free", "free-encoded"])
def test_a_model_is_unloaded_and_loaded_under_either_name(client: Any, name: str) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    client.unload_model(name, headers=headers)
    assert not client.is_model_ready("free")
    assert not client.is_model_ready("free-encoded")
    there = states(client)
    assert list(there) == [
        ("free", "1"),
        ("free-encoded", "1"),
        ("plain", "2"),
        ("plain", "1"),
        ("plain-encoded", "2"),
        ("plain-encoded", "1"),
    ]
    assert there["free", "1"] == there["free-encoded", "1"] == "UNAVAILABLE"
    refused(404, "model_not_found", client.infer, "free", image(1, 16, 16, 3))
    client.load_model(name, headers=headers)
    assert client.infer("free", image(1, 16, 16, 3)).as_numpy("descriptor").shape == (1, 3)


def test_the_index_can_leave_out_what_does_not_serve(url: str, client: Any) -> None:
    headers = {"X-API-Key": ADMIN}
    client.unload_model("free", headers=headers)
    ready = httpx.post(f"{url}/v2/repository/index", json={"ready": True}).json()
    assert {each["name"] for each in ready} == {"plain", "plain-encoded"}
    wrong = httpx.post(f"{url}/v2/repository/index", json={"ready": "yes"})
    assert (wrong.status_code, wrong.json()["error"]) == (
        400,
        "invalid_request: ready is 'yes'; it must be true or false",
    )
    client.load_model("free", headers=headers)


def test_a_new_version_is_loaded_and_a_broken_one_refused(client: Any, models: Path) -> None:
    headers = {"X-API-Key": ADMIN}
    golden_bundle(models / "free" / "2", gain=3.0, sizes=Sizes(16, 64, 8))
    client.load_model("free", headers=headers)
    assert client.infer("free", image(1, 16, 16, 3)).get_response()["model_version"] == "2"
    shutil.copytree(models / "free" / "2", models / "free" / "3")
    record = json.loads((models / "free" / "3" / "manifest.json").read_text())
    (models / "free" / "3" / "manifest.json").write_text(json.dumps({**record, "version": "3"}))
    (models / "free" / "3" / "model.onnx").write_bytes(b"broken")
    refused(400, "free/3", client.load_model, "free", headers=headers)
    assert client.infer("free", image(1, 16, 16, 3)).get_response()["model_version"] == "2"
    refused(404, "model_not_found", client.load_model, "nowhere", headers=headers)
    refused(404, "model_not_found", client.unload_model, "nowhere", headers=headers)
    config = {"config": '{"max_batch_size": 1}'}
    refused(400, "parameters is {'config'", client.load_model, "free", headers=headers, **config)
