"""Answers that are right, and every way in which they can be wrong."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnvgg_client import ItemError, Prediction, ProtocolError, ServerError
from attnvgg_client import _responses as responses
from attnvgg_client._http import Reply
from attnvgg_client._pictures import Source

SOURCE = Source(b"")
LENGTH = "inference-header-content-length"


def reply_of(response: httpx.Response) -> Reply:
    return Reply(response.status_code, dict(response.headers), response.content)


def one(reply: Reply) -> Prediction:
    (found,) = responses.predictions(reply, [SOURCE])
    assert isinstance(found, Prediction)
    return found


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("format", "tolerance"), [("f32", 0), ("f16", 1e-5), ("u8", 3e-4)])
def test_maps_arrive(
    fake: Any, expected_maps: dict[str, np.ndarray], binary: bool, format: str, tolerance: float
) -> None:
    fake.binary = binary
    found = one(reply_of(fake.ok(format)))
    assert found.attention is not None
    assert list(found.attention) == ["conv7", "conv10", "conv13", "fused"]
    for name, expected in expected_maps.items():
        a = found.attention[name]
        assert a.dtype == np.float32
        assert a.flags.writeable
        np.testing.assert_allclose(a, expected, rtol=1e-3 if tolerance else 0, atol=tolerance)
    assert abs(found.attention["conv10"].sum() - 1) < 1e-3 or format == "u8"


def test_the_other_fields_arrive(fake: Any) -> None:
    found = one(reply_of(fake.ok(None)))
    assert (found.label, found.index, found.probability) == ("circle", 0, 0.75)
    assert [score.label for score in found.top_k] == ["circle", "square"]
    assert found.attention is None
    assert (found.model.name, found.model.provider) == ("tiny", "cpu")
    assert found.timings_ms["inference"] == 2
    assert (found.input.width, found.input.box) == (40, (5, 0, 35, 30))
    assert found.request_id == "r-1"


def test_a_network_without_attention_has_no_maps_but_was_asked(fake: Any) -> None:
    answer, _ = fake.body(None)
    answer["predictions"][0]["attention"] = {}
    assert one(Reply(200, {}, json.dumps(answer).encode())).attention == {}


def test_the_repr_fits_a_terminal_and_to_dict_is_plain(fake: Any) -> None:
    found = one(reply_of(fake.ok()))
    assert len(repr(found)) < 160
    assert "array" not in repr(found)
    plain = json.loads(json.dumps(found.to_dict()))
    assert np.array(plain["attention"]["conv10"]).shape == (8, 8)
    assert plain["top_k"][1] == {"label": "square", "index": 1, "probability": 0.25}
    assert plain["input"]["box"] == [5, 0, 35, 30]
    assert one(reply_of(fake.ok(None))).to_dict()["attention"] is None


def test_an_error_stands_in_its_place(fake: Any) -> None:
    found = responses.predictions(reply_of(fake.ok("f16", 3, bad=[1])), [SOURCE] * 3)
    assert found[1] == ItemError("invalid_image", "damaged", 1, "r-1")
    assert isinstance(found[2], Prediction)


def drop(path: str) -> Callable[[dict[str, Any]], None]:
    return lambda answer: at(answer, path).pop(path.split("/")[-1])


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda answer: at(answer, path).update({path.split("/")[-1]: value})


def at(answer: Any, path: str) -> Any:
    """The object that holds the last name of the path."""
    for key in path.split("/")[:-1]:
        answer = answer[int(key)] if key.isdigit() else answer[key]
    return answer


ITEM, MAP = "predictions/0", "predictions/0/attention/conv10"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("model"), "the answer: model is missing"),
        (drop("model/sha256"), "the answer: model.sha256 is missing"),
        (drop(f"{ITEM}/label"), r"predictions.0.label is missing"),
        (drop(f"{ITEM}/top_k"), "top_k is missing"),
        (drop("request_id"), "request_id is missing"),
        (put(f"{ITEM}/index", "0"), "index is str, not int"),
        (put(f"{ITEM}/probability", True), "probability is bool"),
        (put(f"{ITEM}/probability", float("nan")), "no finite number"),
        (put(f"{ITEM}/probability", 10**400), "no finite number"),
        (put("predictions", []), "0 predictions for 1 pictures"),
        (put(f"{ITEM}/input/box", [0, 0, 0, 9]), "box .* is no part of 40 x 30"),
        (put(f"{ITEM}/input/box", [0, 0, 41, 9]), "box .* is no part of 40 x 30"),
        (put(f"{ITEM}/input/box", [1, 2]), "box"),
        (put(f"{MAP}/datatype", "BF16"), "conv10 has datatype 'BF16'; known are FP16"),
        (put(f"{MAP}/shape", [8, 9]), "came with 128 bytes; it must have 144"),
        (put(f"{MAP}/shape", [8.5, 8]), "shape.0 is float, not int"),
        (put(f"{MAP}/shape", [64]), r"shape \[64\]; it must be \[h, w\]"),
        (put(f"{MAP}/shape", [-8, -8]), "it must be"),
        (put(f"{MAP}/shape", [2**40, 2**40]), "it must have"),
        (put(f"{MAP}/datatype", "UINT8"), "128 bytes"),
    ],
)
@pytest.mark.parametrize("binary", [True, False])
def test_what_is_missing_or_wrong_is_named(
    fake: Any, change: Callable[[dict[str, Any]], None], message: str, binary: bool
) -> None:
    fake.binary = binary
    answer, tail = fake.body()
    change(answer)
    head = json.dumps(answer).encode()
    with pytest.raises(ProtocolError, match=message):
        one(Reply(200, {LENGTH: str(len(head))} if binary else {}, head + tail))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, b: (h, b[:-1]), "cut off"),
        (lambda h, b: (h, b + b"x"), "1 bytes that belong to no tensor"),
        (lambda h, b: ({LENGTH: str(len(b) + 1)}, b), f"header {LENGTH}"),
        (lambda h, b: ({LENGTH: "-1"}, b), f"header {LENGTH}"),
        (lambda h, b: ({LENGTH: "many"}, b), f"header {LENGTH}"),
        (lambda h, b: ({LENGTH: "10"}, b), "no JSON"),
        (lambda h, b: ({"content-type": "application/octet-stream"}, b), "has no header"),
        (lambda h, b: ({}, b), "no JSON"),
        (lambda h, b: ({}, b"<html>"), "no JSON .* it starts with b'<html>'"),
        (lambda h, b: ({}, b"[1]"), "a JSON list"),
        (lambda h, b: ({}, b"[" * 100_000), "no JSON"),
    ],
)
def test_binary_answers_that_do_not_add_up(fake: Any, change: Any, message: str) -> None:
    good = reply_of(fake.ok())
    headers, body = change({LENGTH: good.headers[LENGTH]}, good.body)
    with pytest.raises(ProtocolError, match=message):
        one(Reply(200, headers, body))


def test_maps_that_are_no_numbers(fake: Any) -> None:
    answer, tail = fake.body("f32")
    head = json.dumps(answer).encode()
    with pytest.raises(ProtocolError, match="no finite numbers"):
        one(Reply(200, {LENGTH: str(len(head))}, head + b"\xff" * len(tail)))
    answer, tail = fake.body("u8")
    drop(f"{MAP}/scale")(answer)
    head = json.dumps(answer).encode()
    with pytest.raises(ProtocolError, match="UINT8 and has no scale"):
        one(Reply(200, {LENGTH: str(len(head))}, head + tail))


def test_inline_maps_must_be_base64(fake: Any) -> None:
    fake.binary = False
    answer, _ = fake.body()
    put(f"{MAP}/data", "not base64!")(answer)
    with pytest.raises(ProtocolError, match="conv10 is no base64"):
        one(Reply(200, {}, json.dumps(answer).encode()))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_anywhere_gives_a_protocol_error_or_nothing_worse(fake: Any, data: Any) -> None:
    good = reply_of(fake.ok())
    body = bytearray(good.body)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    with suppress(ProtocolError):
        one(Reply(200, dict(good.headers), bytes(body[:cut])))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "gave no reason"),
        (b"<html>\n<h1>Bad\x00 Gateway</h1>", "Gateway"),
        (b'{"error": "a string"}', "a string"),
        (b'{"error": {"message": "no code"}}', "no code"),
    ],
)
def test_errors_of_something_else_keep_their_status(body: bytes, message: str) -> None:
    error = responses.error(Reply(500, {}, body), "r-9")
    assert type(error) is ServerError
    assert (error.status, error.code, error.request_id) == (500, "http_500", "r-9")
    assert message in str(error)


def test_a_redirect_says_where_to() -> None:
    error = responses.error(Reply(308, {"location": "https://new/"}, b""), None)
    assert "redirected to https://new/" in str(error)
