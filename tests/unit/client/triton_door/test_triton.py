"""The verbs against Triton, over both protocols and with both clients."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from attnvgg_client import (
    APIStatusError,
    DeadlineError,
    InvalidArgumentError,
    InvalidRequestError,
    ItemError,
    NotFoundError,
    OverloadedError,
    PictureRejectedError,
    Prediction,
    ProtocolError,
    ServerDeadlineError,
    ServerError,
    UnavailableError,
)

LABELS = ("ant", "bee", "cat", "päté 🐱")


def test_a_file_travels_untouched_and_comes_back_as_a_prediction(
    call: Any, triton: Any, draw: Any
) -> None:
    data = draw.png(200, (40, 10))
    found = call("predict", data, top_k=2, client={"api_key": "k3y"})
    (asked,) = triton.asked
    assert (asked.model, asked.version) == ("tiny-encoded", "")
    assert (asked.name, asked.datatype, asked.shape) == ("encoded", "BYTES", [1, 1])
    assert asked.pictures() == [data]
    assert asked.outputs == ["probabilities"]
    assert 20_000_000 < asked.timeout <= 30_000_000
    assert asked.headers["authorization"] == "Bearer k3y"
    assert asked.headers["user-agent"].startswith("attnvgg-python/")
    assert (found.label, found.index) == (LABELS[3], 3)
    assert found.probability == pytest.approx(0.7)
    assert [(score.label, score.index) for score in found.top_k] == [(LABELS[3], 3), ("ant", 0)]
    assert found.attention is None
    assert (found.model.name, found.model.version) == ("tiny", "1")
    assert (found.model.sha256, found.model.provider) == ("a" * 64, "triton:python:cpu")
    assert (found.input.width, found.input.height) == (40, 10)
    assert found.input.box == pytest.approx((40 / 3, 0, 80 / 3, 10))
    assert found.request_id == asked.id
    assert list(found.timings_ms) == ["round_trip"]
    assert 0 < found.timings_ms["round_trip"] < 30_000
    assert found._source is not None
    assert found._source.place == data


class Tensor:
    """As much of a torch tensor as is looked at."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._array = pixels.transpose(2, 0, 1)

    def detach(self) -> "Tensor":
        return self

    cpu = detach

    def numpy(self) -> np.ndarray:
        return self._array


def images(draw: Any) -> dict[str, Any]:
    clear = Image.new("RGBA", (8, 6), (0, 0, 0, 0))
    return {
        "array": draw.pixels(130),
        "grey": draw.pixels(130)[:, :, 0],
        "strided": draw.pixels(130, (16, 12))[::2, ::2],
        "pil": Image.fromarray(draw.pixels(130)),
        "clear": clear,
        "tensor": Tensor(draw.pixels(130)),
    }


@pytest.mark.parametrize("kind", ["array", "grey", "strided", "pil", "clear", "tensor"])
def test_pixels_of_the_right_size_travel_as_pixels(
    call: Any, triton: Any, draw: Any, kind: str
) -> None:
    found = call("predict", images(draw)[kind])
    (asked,) = triton.asked
    assert (asked.model, asked.name, asked.datatype) == ("tiny", "image", "UINT8")
    assert asked.shape == [1, 6, 8, 3]
    value = 255 if kind == "clear" else 130  # transparency is laid over white
    assert np.array_equal(asked.pictures()[0], draw.pixels(value))
    assert found.label == LABELS[value // 64]
    assert found.input.box == (0, 0, 8, 6)


def test_other_pixels_and_files_of_the_right_size_go_to_the_decoder(
    call: Any, triton: Any, draw: Any
) -> None:
    for image in (draw.pixels(70, (6, 8)), draw.pixels(70, (80, 60)), draw.png(70)):
        assert call("predict", image).label == "bee"
    assert {asked.model for asked in triton.asked} == {"tiny-encoded"}


def test_maps_come_where_they_are_asked_for(call: Any, triton: Any, draw: Any) -> None:
    pictures = [draw.pixels(51), draw.pixels(102)]
    found = call("predict_batch", pictures, return_attention=True, attention_format="u8")
    (asked,) = triton.asked
    assert asked.outputs == ["probabilities", "attention_conv1", "attention_fused"]
    for prediction, value in zip(found, (0.2, 0.4), strict=True):
        assert list(prediction.attention) == ["conv1", "fused"]
        assert prediction.attention["conv1"].shape == (2, 3)
        assert prediction.attention["fused"].dtype == np.float32
        assert np.allclose(prediction.attention["fused"], value)
        assert prediction.attention["conv1"].base is None  # not the whole batch in memory
        assert prediction.overlay().size == (8, 6)


def test_a_mixed_batch_comes_back_in_order(call: Any, triton: Any, draw: Any) -> None:
    values = [10, 70, 130, 200, 80, 140]
    pictures = [draw.pixels(v) if i % 2 else draw.png(v) for i, v in enumerate(values)]
    found = call("predict_batch", pictures)
    assert [prediction.index for prediction in found] == [v // 64 for v in values]
    assert sorted(asked.model for asked in triton.asked) == ["tiny", "tiny-encoded"]
    ids = {asked.model: asked.id for asked in triton.asked}
    assert [p.request_id == ids["tiny"] for p in found] == [False, True] * 3


def test_a_batch_is_no_larger_than_the_model_takes(call: Any, triton: Any, draw: Any) -> None:
    triton.max_batch = 3
    values = [(40 * i) % 256 for i in range(14)]
    pictures = [draw.pixels(v) if i % 2 else draw.png(v) for i, v in enumerate(values)]
    found = call("predict_batch", pictures)
    assert [prediction.index for prediction in found] == [v // 64 for v in values]
    assert [asked.shape[0] for asked in triton.asked] == [3, 3, 1] * 2


def test_a_bad_picture_has_its_error_in_its_place(call: Any, triton: Any, draw: Any) -> None:
    pictures = [draw.png(70), draw.damaged(), draw.pixels(200), draw.png(130), b"text"]
    found = call("predict_batch", pictures)
    assert [isinstance(each, ItemError) for each in found] == [False, True, False, False, True]
    error = found[1]
    assert (error.code, error.message, error.index) == ("invalid_image", "it is damaged", 1)
    assert error.request_id in [asked.id for asked in triton.asked]
    assert [found[i].index for i in (0, 2, 3)] == [1, 3, 2]
    with pytest.raises(PictureRejectedError, match=r"^it is damaged \(400 invalid_image, request"):
        call("predict", draw.damaged())


def test_any_number_of_pictures(client: Any, triton: Any, draw: Any) -> None:
    values = [(i * 7) % 256 for i in range(60)]
    pictures = (draw.pixels(v) if i % 3 else draw.png(v) for i, v in enumerate(values))
    found = list(client.predict_many(pictures, concurrency=3))
    assert [each.index for each in found if isinstance(each, Prediction)] == [
        v // 64 for v in values
    ]


def test_a_model_and_a_version_are_passed_on(call: Any, triton: Any, draw: Any) -> None:
    triton.names, triton.versions = ("tiny", "other"), ("1", "2", "10")
    triton.hashes |= {"2": "b" * 64}
    found = call("predict", draw.pixels(0), model="other", version="2")
    assert (triton.asked[0].model, triton.asked[0].version) == ("other", "2")
    assert (found.model.name, found.model.version) == ("other", "2")
    assert found.model.sha256 == "b" * 64
    with pytest.raises(NotFoundError, match="version 7 is not found") as missing:
        call("predict", draw.pixels(0), model="tiny", version="7")
    assert (missing.value.status, missing.value.code) == (404, "model_not_found")
    with pytest.raises(NotFoundError, match="no model 'none'"):
        call("predict", draw.pixels(0), model="none")


def test_without_a_name_the_only_model_answers(call: Any, triton: Any, draw: Any) -> None:
    triton.names = ("tiny", "other")
    with pytest.raises(InvalidArgumentError, match=r"model must be given: .* has other, tiny$"):
        call("predict", draw.pixels(0))
    triton.names = ()
    with pytest.raises(NotFoundError, match="no model is ready"):
        call("predict", draw.pixels(0))
    assert triton.asked == []


def test_a_model_is_described_once_and_again_for_a_new_version(
    client: Any, triton: Any, draw: Any
) -> None:
    for _ in range(3):
        assert client.predict(draw.pixels(0)).model.sha256 == "a" * 64
    assert triton.described == ["tiny-encoded"]
    triton.versions, triton.hashes = ("1", "2"), {"1": "a" * 64, "2": "b" * 64}
    for _ in range(3):
        found = client.predict(draw.pixels(0)).model
        assert (found.version, found.sha256) == ("2", "b" * 64)
    assert triton.described == ["tiny-encoded"] * 2


def test_a_version_that_is_not_described_yet_has_no_sha256(
    client: Any, triton: Any, draw: Any
) -> None:
    """NAME has it a moment before NAME-encoded says what it is."""
    triton.versions = ("2",)
    assert client.predict(draw.pixels(0)).model.sha256 == ""
    triton.hashes["2"] = "b" * 64
    assert client.predict(draw.pixels(0)).model.sha256 == "b" * 64


def test_a_model_that_went_is_forgotten(client: Any, triton: Any, draw: Any) -> None:
    client.predict(draw.pixels(0))
    triton.names = ("next",)
    triton.troubles = [("NOT_FOUND", "Request for unknown model: 'tiny' is not found")]
    with pytest.raises(NotFoundError):
        client.predict(draw.pixels(0))
    assert client.predict(draw.pixels(0)).model.name == "next"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (None, "written by an older `attnvgg-export triton`; run that again"),
        ({"geometry": "fisheye"}, "'fisheye'; this client knows stretch and center-crop: a newer"),
        ({"labels": "ant"}, "labels is str, not list"),
        ({"sha256": {"1": 7}}, "sha256.1 is int, not str"),
        ({"height": 0}, "takes 0 x 8"),
    ],
)
def test_a_description_that_is_not_as_it_should_be(
    call: Any, triton: Any, draw: Any, written: Any, message: str
) -> None:
    triton.written = written
    for verb, arguments in (("predict", [draw.pixels(0)]), ("models", [])):
        with pytest.raises(ProtocolError, match=message):
            call(verb, *arguments)
    assert triton.asked == []


@pytest.mark.parametrize(
    ("code", "text", "kind", "attempts"),
    [
        ("UNAVAILABLE", "[request id: x] Exceeds maximum queue size", OverloadedError, 3),
        ("UNAVAILABLE", "Server not ready", UnavailableError, 3),
        ("UNAVAILABLE", "[request id: x] Request timeout expired", ServerDeadlineError, 1),
        ("INVALID_ARGUMENT", "unexpected shape for input 'image'", InvalidRequestError, 1),
        ("INTERNAL", "Stub process 'tiny_0_0' is not healthy.", ServerError, 1),
        ("INTERNAL", "in ensemble 'x', image_too_large: 9 x 9", PictureRejectedError, 1),
    ],
)
def test_refusals_have_their_classes_and_are_retried_where_that_helps(
    call: Any, triton: Any, draw: Any, code: str, text: str, kind: type, attempts: int
) -> None:
    triton.troubles = [(code, text)] * 9
    with pytest.raises(kind) as caught:
        call("predict", draw.pixels(0))
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, APIStatusError)
    assert len(triton.asked) == attempts
    assert {asked.id for asked in triton.asked} == {error.request_id}
    assert isinstance(error, DeadlineError) == (kind is ServerDeadlineError)
    triton.troubles = [(code, text)] * (attempts - 1)
    assert call("predict", draw.pixels(0)).index == 0


def lacking(outputs: Any) -> None:
    del outputs["probabilities"]


def of_another_type(outputs: Any) -> None:
    outputs["probabilities"] = outputs["probabilities"].astype(np.float64)


def not_a_number(outputs: Any) -> None:
    outputs["attention_fused"][0, 1, 1] = np.nan


def of_two_pictures(outputs: Any) -> None:
    outputs["attention_conv1"] = outputs["attention_conv1"].repeat(2, 0)


def of_more_labels(outputs: Any) -> None:
    outputs["probabilities"] = outputs["probabilities"].repeat(2, 1)


def flat(outputs: Any) -> None:
    outputs["attention_conv1"] = outputs["attention_conv1"].reshape(1, -1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lacking, "lacks the output probabilities"),
        (of_another_type, "probabilities has datatype 'FP64'"),
        (not_a_number, "attention_fused holds values that are no finite numbers"),
        (of_two_pictures, r"attention_conv1 has shape \[2, 2, 3\], for 1 pictures"),
        (of_more_labels, r"probabilities has shape \[1, 8\], for 1 pictures and 4 labels"),
        (flat, r"attention_conv1 has shape \[1, 6\]"),
    ],
)
def test_an_answer_that_does_not_fit_is_not_believed(
    call: Any, triton: Any, draw: Any, spoil: Any, message: str
) -> None:
    triton.spoil = spoil
    with pytest.raises(ProtocolError, match=message) as caught:
        call("predict", draw.pixels(0), return_attention=True)
    assert caught.value.request_id == triton.asked[-1].id


def test_models(call: Any, triton: Any) -> None:
    triton.versions, triton.hashes = ("10", "9"), {"9": "a" * 64, "10": "b" * 64}
    nine, ten = call("models")
    assert (nine.name, nine.version, nine.sha256, nine.default) == ("tiny", "9", "a" * 64, False)
    assert (ten.version, ten.sha256, ten.default) == ("10", "b" * 64, True)
    assert (ten.labels, ten.levels) == (LABELS, ("conv1", "fused"))
    assert ten.provider == "triton:python:cpu"
    triton.names = ("tiny", "other")
    assert [each.default for each in call("models")] == [False] * 4


def test_health(call: Any, triton: Any) -> None:
    assert call("health").ready
    call("wait_until_ready", 5)
    triton.ready = False
    found = call("health")
    assert not found.ready
    assert found.detail
    with pytest.raises(DeadlineError, match=r"not ready within 0.3 s: "):
        call("wait_until_ready", 0.3)
