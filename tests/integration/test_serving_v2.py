"""/v2 against the real process: the unmodified tritonclient is answered as by Triton."""

import asyncio
import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
import tritonclient.http as tritonclient
import tritonclient.http.aio as tritonclient_aio
from PIL import Image
from tritonclient.http import InferInput, InferRequestedOutput

from attnvgg_bundle import preprocess
from support import OUTPUTS

LABELS = ("circle", "square", "triangle")
MAPS = [[16, 16], [8, 8], [4, 4], [16, 16]]  # at the network's own size


@pytest.fixture(scope="module")
def client(gateway: str) -> Iterator[Any]:
    with tritonclient.InferenceServerClient(gateway.removeprefix("http://")) as client:
        yield client


@pytest.fixture(scope="module")
def session(tiny_models: Path) -> Any:
    return onnxruntime.InferenceSession(tiny_models / "tiny" / "1" / "model.onnx")


def pixels(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def file(seed: int = 0) -> bytes:
    """A PNG of another size than the network's."""
    stream = io.BytesIO()
    Image.fromarray(pixels(1, seed)[0]).resize((48, 40)).save(stream, "PNG")
    return stream.getvalue()


def image(values: np.ndarray, binary: bool = True) -> list[Any]:
    tensor = InferInput("image", list(values.shape), "UINT8")
    return [tensor.set_data_from_numpy(values, binary_data=binary)]


def encoded(files: Sequence[bytes]) -> list[Any]:
    tensor = InferInput("encoded", [len(files), 1], "BYTES")
    return [tensor.set_data_from_numpy(np.array(files, dtype=object).reshape(-1, 1))]


def wanted(*names: str, binary: bool = True, classes: int = 0) -> list[Any]:
    return [InferRequestedOutput(name, binary_data=binary, class_count=classes) for name in names]


def assert_answers(result: Any, session: Any, values: np.ndarray, names: list[str]) -> None:
    """These outputs, in this order, as the bundle's graph gives them."""
    assert [output["name"] for output in result.get_response()["outputs"]] == names
    for name, right in zip(names, session.run(names, {"image": values}), strict=True):
        found = result.as_numpy(name)
        scale = right[0].size if name.startswith("attention_") else 1
        assert (found.dtype, found.shape) == (np.float32, right.shape)
        np.testing.assert_allclose(found * scale, right * scale, atol=1e-4, err_msg=name)


def test_the_server_says_what_it_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    about = client.get_server_metadata()
    assert about["name"] == "attnvgg"
    assert {"binary_tensor_data", "classification", "model_repository"} <= set(about["extensions"])


@pytest.mark.parametrize(
    ("model", "tensor"),
    [
        ("tiny", {"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}),
        ("tiny-encoded", {"name": "encoded", "datatype": "BYTES", "shape": [-1, 1]}),
    ],
)
@pytest.mark.parametrize("version", ["", "1"])
def test_both_models_are_described(
    client: Any, model: str, tensor: dict[str, Any], version: str
) -> None:
    assert client.is_model_ready(model, version)
    about = client.get_model_metadata(model, version)
    assert (about["name"], about["versions"], about["inputs"]) == (model, ["1"], [tensor])
    outputs = {output["name"]: output for output in about["outputs"]}
    assert list(outputs) == OUTPUTS
    assert {output["datatype"] for output in outputs.values()} == {"FP32"}
    maps = [outputs[name]["shape"][1:] for name in OUTPUTS if name.startswith("attention_")]
    assert maps == (MAPS if model == "tiny-encoded" else [[-1, -1]] * 4)
    assert {output["shape"][0] for output in outputs.values()} == {-1}
    config = client.get_model_config(model, version)
    assert config["max_batch_size"] == 64
    assert config["input"][0]["dims"] == tensor["shape"][1:]
    assert [output["name"] for output in config["output"]] == OUTPUTS


def test_the_index_lists_the_model_then_the_encoded_one(client: Any) -> None:
    index = client.get_model_repository_index()
    assert [(each["name"], each["version"], each["state"]) for each in index] == [
        ("tiny", "1", "READY"),
        ("tiny-encoded", "1", "READY"),
    ]


@pytest.mark.parametrize("answer_binary", [True, False])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_pixels_are_answered_as_by_the_graph(
    client: Any, session: Any, count: int, binary: bool, answer_binary: bool
) -> None:
    values = pixels(count)
    outputs = None if answer_binary else wanted(*OUTPUTS, binary=False)
    result = client.infer("tiny", image(values, binary), outputs=outputs)
    response = result.get_response()
    assert (response["model_name"], response["model_version"]) == ("tiny", "1")
    assert ["data" in output for output in response["outputs"]] == [not answer_binary] * 6
    assert_answers(result, session, values, OUTPUTS)


def test_the_asynchronous_client_is_answered_too(gateway: str, session: Any) -> None:
    async def ask() -> list[Any]:
        url = gateway.removeprefix("http://")
        async with tritonclient_aio.InferenceServerClient(url) as client:
            assert await client.is_model_ready("tiny-encoded")
            assert len(await client.get_model_repository_index()) == 2
            names = wanted("probabilities", "attention_conv10")
            calls = [client.infer("tiny", image(pixels(1, i)), outputs=names) for i in range(8)]
            return await asyncio.gather(*calls)

    for seed, result in enumerate(asyncio.run(ask())):
        names = ["probabilities", "attention_conv10"]
        assert_answers(result, session, pixels(1, seed), names)


@pytest.mark.parametrize("model", ["tiny", "tiny-encoded"])
@pytest.mark.parametrize("binary", [True, False])
def test_only_the_outputs_that_are_named_come(
    client: Any, session: Any, model: str, binary: bool
) -> None:
    seen = preprocess.fit(preprocess.decode(file()), 32, 32, "stretch", "bicubic").pixels[None]
    given = image(seen) if model == "tiny" else encoded([file()])
    names = ["attention_fused", "probabilities"]
    result = client.infer(model, given, outputs=wanted(*names, binary=binary))
    assert_answers(result, session, seen, names)


def test_binary_and_json_outputs_share_an_answer(client: Any, session: Any) -> None:
    outputs = [*wanted("descriptor", binary=False), *wanted("probabilities")]
    result = client.infer("tiny", image(pixels()), outputs=outputs)
    assert ["data" in output for output in result.get_response()["outputs"]] == [True, False]
    assert_answers(result, session, pixels(), ["descriptor", "probabilities"])


def test_files_are_answered_like_their_pixels_and_like_v1(
    client: Any, gateway: str, session: Any
) -> None:
    files = [file(seed) for seed in range(3)]
    result = client.infer("tiny-encoded", encoded(files))
    assert result.get_response()["model_name"] == "tiny-encoded"
    seen = [preprocess.fit(preprocess.decode(each), 32, 32, "stretch", "bicubic") for each in files]
    assert_answers(result, session, np.stack([each.pixels for each in seen]), OUTPUTS)
    parts = [("files", (f"{i}.png", each)) for i, each in enumerate(files)]
    query = {"return_attention": "true", "attention_format": "f32"}
    answer = httpx.post(f"{gateway}/v1/predict", params=query, files=parts).json()
    for index, prediction in enumerate(answer["predictions"]):
        top = {one["index"]: one["probability"] for one in prediction["top_k"]}
        found = result.as_numpy("probabilities")[index]
        np.testing.assert_allclose(found, [top[i] for i in range(3)], atol=1e-6)
        for level, map in prediction["attention"].items():
            right = np.frombuffer(base64.b64decode(map["data"]), "<f4").reshape(map["shape"])
            found = result.as_numpy(f"attention_{level}")[index]
            np.testing.assert_allclose(found, right, atol=1e-6)


def test_a_file_may_be_base64_in_json(client: Any, gateway: str) -> None:
    data = [base64.b64encode(file()).decode()]
    tensor = {"name": "encoded", "datatype": "BYTES", "shape": [1, 1], "data": data}
    answer = httpx.post(f"{gateway}/v2/models/tiny-encoded/infer", json={"inputs": [tensor]})
    assert answer.headers["content-type"] == "application/json"
    (first, *_) = answer.json()["outputs"]
    right = client.infer("tiny-encoded", encoded([file()])).as_numpy("probabilities")
    np.testing.assert_allclose(first["data"], right[0], atol=1e-6)


def test_classes_come_with_their_labels(client: Any) -> None:
    probabilities = client.infer("tiny", image(pixels())).as_numpy("probabilities")[0]
    outputs = wanted("probabilities", classes=2)
    (found,) = client.infer("tiny", image(pixels()), outputs=outputs).as_numpy("probabilities")
    order = np.argsort(-probabilities)
    for text, right in zip(found, order, strict=False):
        value, index, label = text.decode().split(":")
        assert float(value) == pytest.approx(probabilities[right], abs=1e-5)
        assert (int(index), label) == (right, LABELS[right])
    assert len(found) == 2


def test_ids_come_back(client: Any, gateway: str) -> None:
    result = client.infer("tiny", image(pixels()), request_id="mine", model_version="1")
    assert result.get_response()["id"] == "mine"
    assert "id" not in client.infer("tiny", image(pixels())).get_response()
    answer = httpx.get(f"{gateway}/v2/models/tiny", headers={"X-Request-ID": "trace-7"})
    assert answer.headers["x-request-id"] == "trace-7"


def test_parameters_that_mean_nothing_here_are_ignored(client: Any, session: Any) -> None:
    more = {"priority": 1, "sequence_id": 5, "timeout": 20_000_000, "parameters": {"mine": "x"}}
    result = client.infer("tiny", image(pixels()), **more)
    assert_answers(result, session, pixels(), OUTPUTS)


def test_a_large_json_tensor_is_answered(client: Any, session: Any) -> None:
    """Read and written beside the event loop."""
    values = pixels(32)
    result = client.infer("tiny", image(values, False), outputs=wanted(*OUTPUTS, binary=False))
    assert_answers(result, session, values, OUTPUTS)


def test_several_clients_at_once_get_their_own_answers(gateway: str, session: Any) -> None:
    def ask(seed: int) -> list[Any]:
        with tritonclient.InferenceServerClient(gateway.removeprefix("http://")) as client:
            return [client.infer("tiny", image(pixels(1 + seed % 3, seed + i))) for i in range(4)]

    with ThreadPoolExecutor(6) as pool:
        for seed, results in enumerate(pool.map(ask, range(6))):
            for i, result in enumerate(results):
                assert_answers(result, session, pixels(1 + seed % 3, seed + i), OUTPUTS)
