"""JSON of the Open Inference Protocol whose types are looked at by hand: no schema is built for
megabytes of numbers."""

import json
from reprlib import Repr
from typing import Any

from attnvgg_serving.errors import InvalidRequest

Object = dict[str, Any]
_SHORT = Repr()
_SHORT.maxstring = 60


def read(text: bytes | memoryview) -> Object:
    """The object that a text is.

    Raises:
        InvalidRequest: it is something else.
    """
    try:
        message = json.loads(bytes(text))
    except RecursionError:
        raise InvalidRequest("the JSON is nested too deeply") from None
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    return as_object(message, "the body")


def short(value: object) -> str:
    """A value in a message: never longer than a line, however long or deep it is."""
    return _SHORT.repr(value)


def as_object(value: object, what: str) -> Object:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} is {short(value)}; it must be a JSON object")
    return value


def parameters(of: Object, what: str) -> Object:
    """The parameters of a part of a request; what means nothing here is ignored, as by Triton."""
    found = as_object(of.get("parameters", {}), f"parameters of {what}")
    if any(name.startswith("shared_memory") for name in found):
        raise InvalidRequest(
            f"{what} uses shared memory, which is not offered; tensors travel in the body"
        )
    return found


def boolean(parameters: Object, name: str, of: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} of {of} is {short(value)}; it must be true or false")
    return value
