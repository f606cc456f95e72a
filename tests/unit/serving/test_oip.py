"""The Open Inference Protocol's parser and encoder: what is right, what is wrong, and anything."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

from attnvgg_serving.errors import EngineUnavailable, InvalidRequest, TooManyImages, WireError
from attnvgg_serving.http import oip, oip_answer
from attnvgg_serving.http.oip_input import Takes

OUTPUTS = ("probabilities", "attention_conv7", "descriptor")
IMAGE = Takes("image", "UINT8", (-1, 2, 2, 3), OUTPUTS, max_images=4)
ENCODED = Takes("encoded", "BYTES", (-1, 1), OUTPUTS, max_images=4)
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
MODEL = oip_answer.Model("tiny", "1", ("red", "green", "blue"))


def image(**changes: Any) -> dict[str, Any]:
    """A request with one input, as JSON; a change to None takes a field away."""
    data = PIXELS.ravel().tolist()
    tensor = {"name": "image", "datatype": "UINT8", "shape": [2, 2, 2, 3], "data": data} | changes
    return {"inputs": [{name: value for name, value in tensor.items() if value is not None}]}


def parse(message: object, tail: bytes = b"", takes: Takes = IMAGE) -> oip.Asked:
    head = json.dumps(message).encode()
    return oip.parse(head + tail, str(len(head)) if tail else None, takes)


def test_a_binary_tensor_is_read_where_it_lies() -> None:
    message = image(data=None, parameters={"binary_data_size": 24})
    asked = parse(message, PIXELS.tobytes())
    assert isinstance(asked.tensor, np.ndarray)
    assert np.array_equal(asked.tensor, PIXELS)
    assert not asked.tensor.flags.owndata


@pytest.mark.parametrize("size", [12, 25])
def test_a_binary_tensor_of_another_size_than_its_shape_is_refused(size: int) -> None:
    message = image(data=None, parameters={"binary_data_size": size})
    with pytest.raises(InvalidRequest, match=f"has 24 bytes; {size} follow the JSON"):
        parse(message, bytes(size))


@pytest.mark.parametrize("data", [PIXELS.ravel().tolist(), PIXELS.tolist()], ids=["flat", "nested"])
def test_json_is_flat_or_nested_as_the_shape(data: list[Any]) -> None:
    assert np.array_equal(parse(image(data=data)).tensor, PIXELS)


def test_strings_are_read_in_both_forms() -> None:
    files = [b"one", b"", b"three\xff"]
    tensor = {"name": "encoded", "datatype": "BYTES", "shape": [3, 1]}
    raw = b"".join(len(each).to_bytes(4, "little") + each for each in files)
    binary = {**tensor, "parameters": {"binary_data_size": len(raw)}}
    assert parse({"inputs": [binary]}, raw, ENCODED).tensor == files
    text = [[base64.b64encode(each).decode()] for each in files]
    assert parse({"inputs": [{**tensor, "data": text}]}, takes=ENCODED).tensor == files


def test_every_output_comes_unless_some_are_named() -> None:
    asked = parse(image())
    assert [each.name for each in asked.outputs] == list(OUTPUTS)
    assert not any(each.binary for each in asked.outputs)
    wanted = [
        {"name": "descriptor", "parameters": {"binary_data": False}},
        {"name": "probabilities", "parameters": {"classification": 2}},
    ]
    asked = parse({**image(), "outputs": wanted, "parameters": {"binary_data_output": True}})
    first, second = asked.outputs
    assert first == oip.Wanted("descriptor", binary=False)
    assert second == oip.Wanted("probabilities", binary=True, classes=2)


def test_what_travels_with_a_request() -> None:
    parameters = {"timeout": 2500, "priority": 1, "sequence_id": 7, "mine": "any"}
    asked = parse({**image(), "id": "a-1", "parameters": parameters})
    assert (asked.id, asked.timeout) == ("a-1", 0.0025)
    assert parse({**image(), "parameters": {"timeout": 0}}).timeout is None


WRONG: list[tuple[object, str]] = [
    ([], "the body is []; it must be a JSON object"),
    ({}, "inputs is None; it must be a list of one tensor, 'image'"),
    ({"inputs": []}, "inputs is 0 tensors"),
    ({"inputs": [1]}, "the input is 1; it must be a JSON object"),
    ({**image(), "id": 7}, "id is 7; it must be a string"),
    (image(name="pixels"), "the input is 'pixels'; it must be 'image'"),
    (image(datatype="FP32"), "image's datatype is 'FP32'; it must be 'UINT8'"),
    (image(shape=None), "image's shape is None; it must be [-1, 2, 2, 3]"),
    (image(shape=[2, 2, 3]), "image's shape is [2, 2, 3]"),
    (image(shape=[0, 2, 2, 3]), "image's shape is [0, 2, 2, 3]"),
    (image(shape=[True, 2, 2, 3]), "image's shape is [True, 2, 2, 3]"),
    (image(shape=[2, 2, 3, 2]), "image's shape is [2, 2, 3, 2]"),
    (image(data=None), "image's data is None; it must be a list"),
    (image(data=5), "image's data is 5"),
    (image(data=[1, 2]), "the shape [2, 2, 2, 3] has 24 values; data has 2"),
    (image(data=[[1] * 12, [2] * 12]), "neither flat nor nested as the shape [2, 2, 2, 3]"),
    (image(data=[256] * 24), "whole numbers from 0 to 255"),
    (image(data=[-1] * 24), "whole numbers from 0 to 255"),
    (image(data=[1.0] * 24), "whole numbers from 0 to 255"),
    (image(data=["1"] * 24), "whole numbers from 0 to 255"),
    (image(data=[10**30] * 24), "whole numbers from 0 to 255"),
    (image(parameters=[]), "parameters of image is []; it must be a JSON object"),
    (image(parameters={"binary_data_size": 24}), "both data and binary_data_size"),
    (image(data=None, parameters={"binary_data_size": 24}), "0 bytes follow the JSON"),
    (image(parameters={"shared_memory_region": "r"}), "image uses shared memory"),
    ({**image(), "parameters": {"timeout": "1"}}, "timeout is '1'"),
    ({**image(), "parameters": {"binary_data_output": 1}}, "must be true or false"),
    ({**image(), "outputs": {}}, "outputs is {}; it must be a list"),
    ({**image(), "outputs": [{"name": "maps"}]}, "no output 'maps'; there is probabilities, att"),
    ({**image(), "outputs": [{"name": "descriptor"}] * 2}, "names one of them twice"),
    (
        {**image(), "outputs": [{"name": "descriptor", "parameters": {"classification": -1}}]},
        "descriptor's classification is -1",
    ),
]


@pytest.mark.parametrize(("message", "says"), WRONG, ids=[says for _, says in WRONG])
def test_what_is_wrong_is_said(message: object, says: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(message)
    assert says in raised.value.message


@pytest.mark.parametrize(
    ("body", "length", "says"),
    [
        (b"", None, "the body is not JSON"),
        (b"\xff\xfe\xfd", None, "the body is not JSON"),
        (b"[" * 100_000, None, "nested too deeply"),
        (b"9" * 5_000, None, "the body is not JSON"),
        (b"{}", "3", "Inference-Header-Content-Length is '3'; it must be how many of the body's 2"),
        (b"{}", "-1", "Inference-Header-Content-Length is '-1'"),
        (b"{}", "٢", "Inference-Header-Content-Length is"),
        (b"{}", "9" * 9_000, "Inference-Header-Content-Length is"),
        (json.dumps(image()).encode() + b"tail", str(len(json.dumps(image()))), "4 bytes follow"),
    ],
)
def test_a_wrong_frame_is_said(body: bytes, length: str | None, says: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        oip.parse(body, length, IMAGE)
    assert says in raised.value.message


@pytest.mark.parametrize(
    "raw", [b"", b"\x01", b"\x05\0\0\0abc", b"\x01\0\0\0abc", b"\xff\xff\xff\xff", b"\0" * 8]
)
def test_lengths_that_do_not_lead_to_the_end(raw: bytes) -> None:
    tensor = {"name": "encoded", "datatype": "BYTES", "shape": [1, 1]}
    tensor |= {"parameters": {"binary_data_size": len(raw)}}
    with pytest.raises(InvalidRequest, match=r"are not 1 strings|binary_data_size"):
        parse({"inputs": [tensor]}, raw, ENCODED)


def test_text_that_is_no_base64_is_refused() -> None:
    tensor = {"name": "encoded", "datatype": "BYTES", "shape": [1, 1], "data": ["no base64!"]}
    with pytest.raises(InvalidRequest, match="files in base64"):
        parse({"inputs": [tensor]}, takes=ENCODED)


def test_too_many_pictures_are_refused_before_their_data() -> None:
    with pytest.raises(TooManyImages, match="has 5 pictures; at most 4"):
        parse(image(shape=[5, 2, 2, 3], data=None))


KEYS = ["id", "inputs", "outputs", "parameters", "name", "datatype", "shape", "data"]
KEYS += ["binary_data_size", "binary_data_output", "binary_data", "classification", "timeout"]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(0, 4),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["image", "encoded", "UINT8", "BYTES", *OUTPUTS]),
    st.sampled_from([[1, 2, 2, 3], [1, 1], [24], {"binary_data_size": 12}]),
)
MESSAGES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=4)), inner, max_size=5),
    ),
    max_leaves=12,
)
TENSORS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("name", "datatype", "shape", "data", "parameters"), LEAVES)
)
TENSORS = st.one_of(
    TENSORS,
    TENSORS.map(lambda t: {**image()["inputs"][0], **t}),
    TENSORS.map(lambda t: {"name": "encoded", "datatype": "BYTES", "shape": [1, 1], **t}),
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.one_of(MESSAGES, st.lists(TENSORS, min_size=1, max_size=1))},
    optional=dict.fromkeys(("id", "outputs", "parameters"), MESSAGES),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(REQUESTS, MESSAGES), st.binary(max_size=16), st.sampled_from([IMAGE, ENCODED]))
def test_any_json_is_a_request_or_an_error(message: object, tail: bytes, takes: Takes) -> None:
    head = json.dumps(message).encode()
    check(head + tail, str(len(head)) if tail else None, takes)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.binary(max_size=64),
    st.one_of(st.none(), st.integers(-1, 70).map(str), st.text(max_size=5)),
    st.sampled_from([IMAGE, ENCODED]),
)
def test_any_bytes_are_a_request_or_an_error(body: bytes, length: str | None, takes: Takes) -> None:
    check(body, length, takes)


def check(body: bytes, length: str | None, takes: Takes) -> None:
    try:
        asked = oip.parse(body, length, takes)
    except WireError as error:
        refusal = error
    else:
        assert 1 <= len(asked.tensor) <= takes.max_images
        assert {each.name for each in asked.outputs} <= set(OUTPUTS)
        return
    assert refusal.status == 400
    assert len(refusal.message) < 1000


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    arrays.arrays(np.uint8, st.sampled_from([(1, 2, 2, 3), (4, 2, 2, 3)])),
    st.booleans(),
    st.lists(st.sampled_from(OUTPUTS), unique=True),
    st.text(max_size=9),
)
def test_what_tritonclient_writes_is_read(
    pixels: np.ndarray, binary: bool, names: list[str], identifier: str
) -> None:
    tensor = InferInput("image", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels, binary_data=binary)
    wanted = [InferRequestedOutput(name, binary_data=binary) for name in names]
    body, length = InferenceServerClient.generate_request_body(
        [tensor], outputs=wanted, request_id=identifier
    )
    asked = oip.parse(body, None if length is None else str(length), IMAGE)
    assert np.array_equal(asked.tensor, pixels)
    assert [each.name for each in asked.outputs] == (names or list(OUTPUTS))
    assert all(each.binary for each in asked.outputs) == (binary or not names)
    assert (asked.id or "") == identifier


FLOATS = arrays.arrays(np.float32, (3,), elements=st.floats(-(2.0**99), 2.0**99, width=32))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(FLOATS, min_size=1, max_size=3),
    st.booleans(),
    st.one_of(st.none(), st.text(max_size=9)),
)
def test_what_is_answered_tritonclient_reads(
    values: list[np.ndarray], binary: bool, identifier: str | None
) -> None:
    asked = oip.Asked(PIXELS, (oip.Wanted("descriptor", binary),), identifier)
    body = oip_answer.encode(asked, MODEL, [{"descriptor": each} for each in values])
    assert (body.json_length is not None) == binary
    result = InferResult.from_response_body(body.content, header_length=body.json_length)
    assert np.array_equal(result.as_numpy("descriptor"), np.stack(values))
    assert result.get_response().get("id") == identifier


@pytest.mark.parametrize("binary", [True, False])
def test_classes_are_written_as_triton_does(binary: bool) -> None:
    values = {
        "probabilities": np.array([0.25, 0.5, 0.25], np.float32),
        "attention_conv7": np.array([[0.0, 0.75], [0.25, 0.0]], np.float32),
    }
    wanted = (oip.Wanted("probabilities", binary, 9), oip.Wanted("attention_conv7", binary, 1))
    body = oip_answer.encode(oip.Asked(PIXELS, wanted), MODEL, [values, values])
    result = InferResult.from_response_body(body.content, header_length=body.json_length)
    expected = ["0.500000:1:green", "0.250000:0:red", "0.250000:2:blue"]
    assert result.as_numpy("probabilities").astype(str).tolist() == [expected, expected]
    assert result.as_numpy("attention_conv7").astype(str).tolist() == [["0.750000:1"]] * 2


def test_json_cannot_say_what_is_no_number() -> None:
    asked = oip.Asked(PIXELS, (oip.Wanted("descriptor", binary=False),))
    with pytest.raises(EngineUnavailable):
        oip_answer.encode(asked, MODEL, [{"descriptor": np.array([np.nan], np.float32)}])
