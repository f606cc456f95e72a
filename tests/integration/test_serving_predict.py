"""The wire of /v1, against the real process over a socket: what good requests get."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from attnvgg_bundle import preprocess
from attnvgg_serving import schemas

LEVELS = {"conv7": [16, 16], "conv10": [8, 8], "conv13": [4, 4], "fused": [16, 16]}
DTYPES = {"FP16": "<f2", "FP32": "<f4", "UINT8": "u1"}


@pytest.fixture(scope="module")
def client(gateway: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway, timeout=30) as client:
        yield client


def picture(seed: int, width: int = 48, height: int = 32) -> Image.Image:
    """Smooth noise: what survives JPEG and resizing."""
    rough = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


def file(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def post(client: httpx.Client, body: bytes, kind: str = "image/png", **query: Any) -> Any:
    headers = {"Content-Type": kind}
    answer = client.post("/v1/predict", content=body, headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def decode(map: dict[str, Any], data: bytes) -> NDArray[np.float64]:
    values = np.frombuffer(data, DTYPES[map["datatype"]]).astype(np.float64)
    return values.reshape(map["shape"]) * map.get("scale", 1)


def inline(map: dict[str, Any]) -> NDArray[np.float64]:
    return decode(map, base64.b64decode(map["data"], validate=True))


def test_the_answer_has_the_shape_of_the_contract(client: httpx.Client) -> None:
    answer = post(client, file(picture(1)), top_k=2)
    assert set(answer) == {"model", "request_id", "timings_ms", "predictions"}
    assert answer["model"]["name"] == "tiny"
    assert answer["model"]["provider"] == "cpu"
    assert set(answer["timings_ms"]) == {"decode", "queue", "inference", "total"}
    (prediction,) = answer["predictions"]
    assert set(prediction) == {"label", "index", "probability", "top_k", "input"}
    assert prediction["input"] == {"width": 48, "height": 32, "box": [0, 0, 48, 32]}
    first, second = prediction["top_k"]
    assert first == {key: prediction[key] for key in ("label", "index", "probability")}
    assert first["probability"] >= second["probability"]


@pytest.mark.parametrize("format", ["f16", "u8"])
def test_the_answer_is_what_the_schema_says(client: httpx.Client, format: str) -> None:
    files = [("f", ("a", file(picture(1)))), ("f", ("b", b"text"))]
    query = {"return_attention": "true", "attention_format": format}
    answer = client.post("/v1/predict", files=files, params=query)
    read = schemas.Answer.model_validate_json(answer.content)
    # Nothing is missing, and nothing is in it that the schema leaves out.
    assert json.loads(read.json_bytes()) == answer.json()


def test_probabilities_are_those_of_the_graph(client: httpx.Client, tiny_models: Path) -> None:
    image = picture(2)
    seen = preprocess.fit(image, 32, 32, "stretch", "bicubic").pixels[None]
    session = onnxruntime.InferenceSession(tiny_models / "tiny" / "1" / "model.onnx")
    probabilities, fused = session.run(["probabilities", "attention_fused"], {"image": seen})
    query = {"return_attention": True, "attention_format": "f32"}
    (prediction,) = post(client, file(image), **query)["predictions"]
    found = {one["index"]: one["probability"] for one in prediction["top_k"]}
    np.testing.assert_allclose([found[i] for i in range(3)], probabilities[0], atol=1e-6)
    np.testing.assert_allclose(inline(prediction["attention"]["fused"]), fused[0], atol=1e-6)


@pytest.mark.parametrize(
    ("format", "options"), [("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True})]
)
def test_every_format_gets_the_same_label(
    client: httpx.Client, format: str, options: dict[str, Any]
) -> None:
    (alone,) = post(client, file(picture(3)))["predictions"]
    body = file(picture(3), format, **options)
    (prediction,) = post(client, body, f"image/{format.lower()}")["predictions"]
    assert prediction["label"] == alone["label"]
    assert prediction["probability"] == pytest.approx(alone["probability"], abs=0.02)


def test_all_three_kinds_of_body_get_the_same_answer(client: httpx.Client) -> None:
    bodies = [file(picture(seed)) for seed in (4, 5)]
    raw = [post(client, body)["predictions"][0] for body in bodies]
    files = [("files", (f"{i}.png", body)) for i, body in enumerate(bodies)]
    multipart = client.post("/v1/predict", files=files).json()["predictions"]
    images = [base64.b64encode(body).decode() for body in bodies]
    as_json = client.post("/v1/predict", json={"images": images}).json()["predictions"]
    for other in (multipart, as_json):
        assert [one["label"] for one in other] == [one["label"] for one in raw]
        found = [one["probability"] for one in other]
        np.testing.assert_allclose(found, [one["probability"] for one in raw], atol=1e-6)


@pytest.mark.parametrize(
    ("format", "within"), [(None, 1e-3), ("f16", 1e-3), ("f32", 1e-5), ("u8", 0.2)]
)
def test_maps_come_at_their_own_resolution_and_sum_to_one(
    client: httpx.Client, format: str | None, within: float
) -> None:
    query = {"return_attention": "true"} | ({"attention_format": format} if format else {})
    (prediction,) = post(client, file(picture(6)), **query)["predictions"]
    assert {name: map["shape"] for name, map in prediction["attention"].items()} == LEVELS
    for map in prediction["attention"].values():
        values = inline(map)
        assert values.min() >= 0
        assert abs(values.sum() - 1) < within
        assert ("scale" in map) == (format == "u8")


def test_the_binary_answer_says_the_same_as_the_json(client: httpx.Client) -> None:
    files = [("f", ("a", file(picture(7)))), ("f", ("b", b"text")), ("f", ("c", file(picture(8))))]
    query = {"return_attention": "true", "attention_format": "f32"}
    headers = {"Accept": "application/octet-stream"}
    plain = client.post("/v1/predict", params=query, files=files).json()["predictions"]
    answer = client.post("/v1/predict", params=query, files=files, headers=headers)
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    body, at = json.loads(answer.content[:length]), length
    for expected, found in zip(plain, body["predictions"], strict=True):
        for name, map in found.get("attention", {}).items():
            assert "data" not in map
            size = map["parameters"]["binary_data_size"]
            values = decode(map, answer.content[at : at + size])
            at += size
            np.testing.assert_allclose(values, inline(expected["attention"][name]), atol=1e-6)
    assert at == len(answer.content)
    assert sum("attention" in found for found in body["predictions"]) == 2


def test_a_binary_answer_without_maps_is_all_json(client: httpx.Client) -> None:
    headers = {"Accept": "application/octet-stream", "Content-Type": "image/png"}
    answer = client.post("/v1/predict", content=file(picture(7)), headers=headers)
    assert int(answer.headers["inference-header-content-length"]) == len(answer.content)


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1), (3, 3), (100, 3)])
def test_top_k(client: httpx.Client, top_k: int, expected: int) -> None:
    (prediction,) = post(client, file(picture(9)), top_k=top_k)["predictions"]
    assert len(prediction["top_k"]) == expected
    if expected == 3:
        assert sum(one["probability"] for one in prediction["top_k"]) == pytest.approx(1, abs=1e-5)


def test_a_turned_photo_is_seen_upright(client: httpx.Client) -> None:
    upright = picture(10)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    turned = file(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    (expected,) = post(client, file(upright))["predictions"]
    (prediction,) = post(client, turned)["predictions"]
    assert prediction == expected


def test_one_bad_picture_is_reported_in_its_place(client: httpx.Client) -> None:
    files = [("f", ("a", file(picture(11)))), ("f", ("b", b"text")), ("f", ("c", b""))]
    answer = client.post("/v1/predict", files=files)
    assert answer.status_code == 200
    good, text, empty = answer.json()["predictions"]
    assert good["label"]
    assert text["error"]["code"] == "unsupported_media_type"
    assert empty == {"error": {"code": "invalid_image", "message": "the picture is empty: 0 bytes"}}


def test_nothing_but_bad_pictures_is_a_failure(client: httpx.Client) -> None:
    files = [("f", ("a", b"text")), ("f", ("b", b"more text"))]
    answer = client.post("/v1/predict", files=files)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert "none of the 2 pictures" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "status", "code", "says"),
    [
        ({"model": "vgg"}, 404, "model_not_found", "no model 'vgg'; there is tiny"),
        ({"version": "9"}, 404, "model_not_found", "tiny has no version '9'; it has 1"),
        ({"top_k": "all"}, 400, "invalid_request", "top_k is 'all'"),
        ({"attention_format": "png"}, 400, "invalid_request", "f16, f32, u8"),
        ({"retrun_attention": "true"}, 400, "invalid_request", "there is return_attention"),
    ],
)
def test_a_bad_option_is_explained(
    client: httpx.Client, query: dict[str, str], status: int, code: str, says: str
) -> None:
    headers = {"Content-Type": "image/png", "X-Request-ID": "mine"}
    answer = client.post("/v1/predict", content=file(picture(1)), params=query, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["request_id"]) == (status, code, "mine")
    assert says in error["message"]


def test_a_named_model_and_version_answer(client: httpx.Client) -> None:
    answer = post(client, file(picture(1)), model="tiny", version="1")
    assert answer["model"]["version"] == "1"


def test_request_ids_go_in_and_come_out(client: httpx.Client) -> None:
    headers = {"Content-Type": "image/png", "X-Request-ID": "trace-7"}
    answer = client.post("/v1/predict", content=file(picture(1)), headers=headers)
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "trace-7"
    other = client.post(
        "/v1/predict", content=file(picture(1)), headers={**headers, "X-Request-ID": "a b"}
    )
    assert other.headers["x-request-id"] == other.json()["request_id"] != "a b"


def test_a_deadline_is_honoured(client: httpx.Client) -> None:
    slow = file(Image.new("RGB", (4900, 4900)))
    headers = {"Content-Type": "image/png", "X-Timeout-Ms": "3"}
    answer = client.post("/v1/predict", content=slow, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_models_are_described(client: httpx.Client, tiny_models: Path) -> None:
    manifest = json.loads((tiny_models / "tiny" / "1" / "manifest.json").read_text("utf-8"))
    (model,) = client.get("/v1/models").json()["models"]
    assert model["sha256"] == manifest["files"]["model.onnx"]["sha256"]
    assert model["labels"] == manifest["labels"]
    assert model["attention"] == list(LEVELS)
    assert model["levels"][1]["grid"] == [8, 8]
    assert model["default"] is True


def test_health_and_metrics_are_the_frameworks(client: httpx.Client) -> None:
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200
    post(client, file(picture(1)))
    metrics = client.get("/metrics")
    assert 'endpoint="/v1/predict"' in metrics.text


def test_the_document_describes_what_there_is(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        if "get" in methods:
            place = path.format(name="tiny", version="1")
            assert client.get(place).status_code == 200


FRAMEWORKS_PAGES = """
/ /docs.json /docs /index.html /assets/index.html /web/ /schema.json /openapi.json
/static_content/index.html /static_content/swagger-ui.css /static_content/swagger-initializer.js
"""


@pytest.mark.parametrize("path", FRAMEWORKS_PAGES.split())
def test_the_frameworks_page_and_its_tag_manager_cannot_be_reached(
    client: httpx.Client, path: str
) -> None:
    answer = client.get(path)
    assert "googletagmanager" not in answer.text.lower()
    assert "swaggerui" not in answer.text.lower()
    assert ("text/html" in answer.headers["content-type"]) == (path == "/")


def test_the_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    answer = client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    files = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(files) > 3
    for file in files:
        assert not file.startswith(("http", "//"))
        assert client.get(f"/{file}").status_code == 200
