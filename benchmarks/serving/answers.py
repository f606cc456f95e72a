"""What a server answered, as arrays, and whether it is what the bare session says."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float32]]
LENGTH = b"inference-header-content-length:"
TYPES = {"FP16": "<f2", "FP32": "<f4"}


class WrongAnswer(Exception):
    """An answer that is not the bare session's; says which and by how much."""


def check(response: bytes, expected: Arrays, maps: bool) -> None:
    """Compares a whole response (status line, headers, body) with the outputs of one picture.

    Probabilities are compared where the answer names them; the largest must be among them. Where
    maps were asked for every map of `expected` must be there, where not, none.

    Raises:
        WrongAnswer: it differs, or it is no answer at all.
    """
    try:
        probabilities, found = _read(response)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise WrongAnswer(f"cannot be read ({error!r}): {response[:300]!r}") from error
    wanted = {name for name in expected if name.startswith("attention_")} if maps else set()
    if set(found) != wanted:
        raise WrongAnswer(f"has the maps {sorted(found)} in place of {sorted(wanted)}")
    for index, value in probabilities.items():
        _close("probabilities", value, expected["probabilities"][index])
    if max(probabilities, key=lambda i: probabilities[i]) != expected["probabilities"].argmax():
        raise WrongAnswer(f"has another label: {probabilities}")
    for name in sorted(wanted):
        _close(name, found[name], expected[name])


def _close(name: str, found: Any, expected: Any) -> None:
    # float16 on the wire keeps 11 bits; the network itself is computed in float32 everywhere.
    if np.shape(found) != np.shape(expected) or not np.allclose(found, expected, 2e-3, 2e-5):
        raise WrongAnswer(f"{name} is {found}; the bare session gives {expected}")


def _read(response: bytes) -> tuple[dict[int, float], dict[str, NDArray[Any]]]:
    """Probabilities by class index, and the maps by the names of the graph's outputs."""
    head, _, body = response.partition(b"\r\n\r\n")
    lengths = [
        line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(LENGTH)
    ]
    size = int(lengths[0]) if lengths else len(body)
    said, rest = json.loads(body[:size]), body[size:]
    if isinstance(said, dict) and "predictions" in said:
        return _v1(said["predictions"][0], rest)
    arrays = (
        _v2(said["outputs"], rest) if isinstance(said, dict) and "outputs" in said else _plain(said)
    )
    probabilities = arrays.pop("probabilities")
    return dict(enumerate(map(float, probabilities))), arrays


def _v1(prediction: Any, rest: bytes) -> tuple[dict[int, float], dict[str, NDArray[Any]]]:
    maps = {}
    for level, each in (prediction.get("attention") or {}).items():
        if "data" in each:
            data = base64.b64decode(each["data"])
        else:
            size = each["parameters"]["binary_data_size"]
            data, rest = rest[:size], rest[size:]
        maps[f"attention_{level}"] = np.frombuffer(data, TYPES[each["datatype"]]).reshape(
            each["shape"]
        )
    return {each["index"]: each["probability"] for each in prediction["top_k"]}, maps


def _v2(outputs: Any, rest: bytes) -> dict[str, NDArray[Any]]:
    arrays = {}
    for each in outputs:
        if "data" in each:
            values = np.array(each["data"], np.float32)
        else:
            size = each["parameters"]["binary_data_size"]
            values, rest = np.frombuffer(rest[:size], TYPES[each["datatype"]]), rest[size:]
        arrays[each["name"]] = values.reshape(each["shape"])[0]
    return arrays


def _plain(said: Any) -> dict[str, NDArray[Any]]:
    """{name: values}, or BentoML's list with one of these, or with the probabilities alone."""
    found = said[0] if isinstance(said, list) else said
    if isinstance(found, list):
        found = {"probabilities": found}
    return {name: np.array(values, np.float32) for name, values in found.items()}
