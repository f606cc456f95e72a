"""The one tensor that a request brings: `image` UINT8 [B, H, W, 3], or `encoded` BYTES [B, 1]."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnvgg_serving.errors import InvalidRequest, TooManyImages
from attnvgg_serving.http import oip_tensors
from attnvgg_serving.http.oip_json import Object, as_object, parameters, short

Tensor = NDArray[np.uint8] | list[bytes]


@dataclass(frozen=True)
class Takes:
    """What a model takes and gives: `shape` has -1 for an axis of any length."""

    name: str
    datatype: Literal["UINT8", "BYTES"]
    shape: tuple[int, ...]
    outputs: tuple[str, ...]
    max_images: int


def tensor(inputs: object, tail: memoryview, takes: Takes) -> Tensor:
    """uint8 [B, H, W, 3], or B encoded pictures; `tail` is what follows the JSON.

    Raises:
        InvalidRequest, TooManyImages: it is not what the model takes.
    """
    given = _only(inputs, takes)
    shape = _shape(given.get("shape"), takes)
    size = parameters(given, takes.name).get("binary_data_size")
    if size is None:
        return _from_json(given, shape, tail, takes)
    if "data" in given:
        raise InvalidRequest(f"{takes.name} has both data and binary_data_size; it must have one")
    if type(size) is not int or size != len(tail):
        raise InvalidRequest(
            f"{takes.name}'s binary_data_size is {short(size)}; {len(tail)} bytes follow the JSON, "
            "whose own length is the header Inference-Header-Content-Length"
        )
    if takes.datatype == "UINT8":
        return oip_tensors.pixels(tail, shape)
    return oip_tensors.strings(tail, shape[0])


def _only(inputs: object, takes: Takes) -> Object:
    """The description of the only tensor, its name and datatype checked."""
    if not isinstance(inputs, list) or len(inputs) != 1:
        found = f"{len(inputs)} tensors" if isinstance(inputs, list) else short(inputs)
        raise InvalidRequest(f"inputs is {found}; it must be a list of one tensor, {takes.name!r}")
    given = as_object(inputs[0], "the input")
    name, datatype = given.get("name"), given.get("datatype")
    if name != takes.name:
        raise InvalidRequest(f"the input is {short(name)}; it must be {takes.name!r}")
    if datatype != takes.datatype:
        raise InvalidRequest(
            f"{takes.name}'s datatype is {short(datatype)}; it must be {takes.datatype!r}"
        )
    return given


def _shape(given: object, takes: Takes) -> tuple[int, ...]:
    if (
        not isinstance(given, list)
        or len(given) != len(takes.shape)
        or not all(type(axis) is int and axis > 0 for axis in given)
        or not all(right in (-1, axis) for axis, right in zip(given, takes.shape, strict=True))
    ):
        raise InvalidRequest(
            f"{takes.name}'s shape is {short(given)}; it must be {list(takes.shape)} "
            "with a number from 1 on for each -1"
        )
    if given[0] > takes.max_images:
        raise TooManyImages(
            f"the request has {short(given[0])} pictures; at most {takes.max_images} may be"
        )
    return tuple(given)


def _from_json(given: Object, shape: tuple[int, ...], tail: memoryview, takes: Takes) -> Tensor:
    if tail:
        raise InvalidRequest(
            f"{len(tail)} bytes follow the JSON, but {takes.name} has no binary_data_size"
        )
    data = given.get("data")
    if not isinstance(data, list):
        raise InvalidRequest(
            f"{takes.name}'s data is {short(data)}; it must be a list, or the parameter "
            "binary_data_size says how many bytes follow the JSON"
        )
    if takes.datatype == "UINT8":
        return oip_tensors.pixels_of_json(data, shape)
    return oip_tensors.strings_of_json(data, shape)
