"""What the command `attnvgg` does, once its arguments are read."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnvgg_client import _overlay_files
from attnvgg_client._batch import MAX_IMAGES
from attnvgg_client._client import Client
from attnvgg_client._errors import AttnVGGError, InvalidArgumentError, ItemError
from attnvgg_client._prediction import Prediction

OK, PICTURE_FAILED, USAGE, NOT_AVAILABLE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 4, 130


def predict(options: argparse.Namespace) -> int:
    """One line a picture, as the answers come."""
    names: list[str] = options.files
    if names.count("-") > 1:
        raise InvalidArgumentError("- stands for standard input and can be given once")
    targets: list[Path | None] = [None] * len(names)
    if options.overlay is not None:
        targets = list(_overlay_files.plan(names, options.overlay))
    with Client(options.url, timeout=options.timeout) as client:
        results = _results(client, names, options)
        good = [_show(*each, options) for each in zip(names, targets, results, strict=True)]
    return OK if all(good) else PICTURE_FAILED


def models(options: argparse.Namespace) -> int:
    """One line a model."""
    with Client(options.url, timeout=options.timeout) as client:
        for model in client.models():
            maps = f"maps {', '.join(model.levels)}" if model.levels else "no attention maps"
            mark = ", the default" if model.default else ""
            line = f"{model.name}/{model.version}: {len(model.labels)} labels, {maps}"
            text = f"{line}, on {model.provider}{mark}"
            print(json.dumps(vars(model)) if options.json else printable(text))
    return OK


def health(options: argparse.Namespace) -> int:
    """Whether the server would answer."""
    with Client(options.url, timeout=options.timeout) as client:
        if options.wait is not None:
            client.wait_until_ready(options.wait)
        found = client.health()
    if options.json:
        print(json.dumps(vars(found)))
    elif found.ready:
        print("ready")
    if found.ready:
        return OK
    return complain(f"not ready: {found.detail}", NOT_AVAILABLE)


def printable(text: str) -> str:
    """One line without control characters: labels and messages come from elsewhere."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _results(
    client: Client, names: list[str], options: argparse.Namespace
) -> Iterator[Prediction | ItemError]:
    for start in range(0, len(names), MAX_IMAGES):
        chunk = names[start : start + MAX_IMAGES]
        yield from client.predict_batch(
            [sys.stdin.buffer if name == "-" else name for name in chunk],
            return_attention=options.overlay is not None or options.attention,
            top_k=options.top_k,
            model=options.model,
            version=options.model_version,
        )


def _show(
    name: str, target: Path | None, result: Prediction | ItemError, options: argparse.Namespace
) -> bool:
    problem = None
    if isinstance(result, ItemError):
        problem = {"code": result.code, "message": result.message}
    elif target is not None:
        problem = _draw(result, target, options.level)
    if isinstance(result, Prediction):
        print(_as_json(name, result, options) if options.json else _as_text(name, result))
    elif options.json:
        print(json.dumps({"file": name, "error": problem}))
    if problem is not None:
        message = problem["message"]  # those from this side name the file already
        complain(message if name in message else f"{name}: {message}", PICTURE_FAILED)
    return problem is None


def _draw(prediction: Prediction, target: Path, level: str | None) -> dict[str, str] | None:
    """Writes the overlay; says what went wrong."""
    try:
        _overlay_files.write(prediction.overlay(level), target)
    except AttnVGGError as error:
        return {"code": "overlay", "message": str(error)}
    except OSError as error:
        return {"code": "overlay", "message": f"{target} cannot be written: {error.strerror}"}
    return None


def _as_text(name: str, prediction: Prediction) -> str:
    scores = ", ".join(f"{s.label} {s.probability:.1%}" for s in prediction.top_k)
    return printable(f"{name}: {scores}")


def _as_json(name: str, prediction: Prediction, options: argparse.Namespace) -> str:
    values: dict[str, Any] = {"file": name, **prediction.to_dict()}
    if not options.attention:
        del values["attention"]
    return json.dumps(values)


def complain(message: str, code: int) -> int:
    """One line on standard error; gives the exit code back."""
    print(f"attnvgg: {printable(message)}", file=sys.stderr)
    return code
