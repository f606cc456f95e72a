"""The Open Inference Protocol: an inference request, from bytes to what it asks for. No HTTP.

The body is JSON; with Triton's binary tensor data extension the JSON comes first and the raw
little-endian tensors follow it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from attnvgg_serving.errors import InvalidRequest
from attnvgg_serving.http import oip_input, oip_json
from attnvgg_serving.http.oip_input import Takes, Tensor
from attnvgg_serving.http.oip_json import Object, as_object, boolean, parameters, short


@dataclass(frozen=True)
class Wanted:
    """One output on its way out: `classes` labels in place of its numbers, if not 0."""

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True)
class Asked:
    """A request that is right.

    `timeout`: seconds that it may wait for the engine, as the client has it; None: any.
    """

    tensor: Tensor
    outputs: tuple[Wanted, ...]
    id: str | None = None
    timeout: float | None = None


def parse(body: bytes, json_length: str | None, takes: Takes) -> Asked:
    """Reads a request; `json_length` is the header Inference-Header-Content-Length.

    Raises:
        InvalidRequest: says what is wrong, the value, and what would be right.
        TooManyImages: more than one request may have.
    """
    head, tail = _split(body, json_length)
    message = oip_json.read(head)
    identifier = message.get("id")
    if not isinstance(identifier, str | None):
        raise InvalidRequest(f"id is {short(identifier)}; it must be a string")
    general = parameters(message, "the request")
    binary = boolean(general, "binary_data_output", "the request")
    return Asked(
        oip_input.tensor(message.get("inputs"), tail, takes),
        _outputs(message.get("outputs"), binary, takes.outputs),
        identifier,
        _timeout(general),
    )


def _split(body: bytes, json_length: str | None) -> tuple[memoryview, memoryview]:
    """The JSON and what follows it; without the header all is JSON."""
    whole = memoryview(body)
    if json_length is None:
        return whole, whole[len(body) :]
    # The length comes first: Python refuses to read integers of thousands of digits.
    right = json_length.isascii() and json_length.isdecimal() and len(json_length) < 19
    if not right or int(json_length) > len(body):
        raise InvalidRequest(
            f"Inference-Header-Content-Length is {json_length[:40]!r}; it must be how many of the "
            f"body's {len(body)} bytes are JSON"
        )
    return whole[: int(json_length)], whole[int(json_length) :]


def _outputs(given: object, binary: bool, there: Sequence[str]) -> tuple[Wanted, ...]:
    """All outputs where none is named, else those that are, in the order in which they are."""
    if given is None or given == []:
        return tuple(Wanted(name, binary) for name in there)
    if not isinstance(given, list):
        raise InvalidRequest(f"outputs is {short(given)}; it must be a list")
    wanted = tuple(_wanted(as_object(each, "an output"), binary, there) for each in given)
    if len({each.name for each in wanted}) < len(wanted):
        raise InvalidRequest("outputs names one of them twice")
    return wanted


def _wanted(given: Object, binary: bool, there: Collection[str]) -> Wanted:
    name = given.get("name")
    if not isinstance(name, str) or name not in there:
        raise InvalidRequest(f"there is no output {short(name)}; there is {', '.join(there)}")
    own = parameters(given, name)
    classes = own.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise InvalidRequest(
            f"{name}'s classification is {short(classes)}; it must be a whole number, how many"
        )
    return Wanted(name, boolean(own, "binary_data", name, binary), classes)


def _timeout(general: Object) -> float | None:
    """In the protocol microseconds, where 0 means any."""
    value = general.get("timeout", 0)
    if type(value) is not int or value < 0:
        raise InvalidRequest(f"timeout is {short(value)}; it must be a whole number, microseconds")
    return min(value, 10**12) / 1e6 if value else None
