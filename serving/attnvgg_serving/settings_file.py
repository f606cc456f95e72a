"""The settings file: TOML with the same settings in lower case, as in `max_batch = 16`."""

import difflib
import os
import tomllib
from collections.abc import Collection, Mapping
from typing import Any

from attnvgg_serving.errors import StartError

VARIABLE = "ATTNVGG_CONFIG"


def read(known: Collection[str], environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What the file says that ATTNVGG_CONFIG names; nothing if that is not set.

    Raises:
        StartError: it cannot be read, is no TOML, or has a key that is not among the known.
    """
    path = environ.get(VARIABLE)
    if path is None:
        return {}
    try:
        with open(path, "rb") as stream:
            values = tomllib.load(stream)
    except OSError as error:
        raise StartError(f"{VARIABLE} is {path!r}: {str(error.strerror).lower()}") from error
    except ValueError as error:  # TOML that is none, or bytes that are no text
        raise StartError(f"{VARIABLE} is {path!r}, which is no TOML: {_line(error)}") from error
    for key in values:
        if key not in known:
            raise StartError(
                f"{path} has {key!r}, which is no setting; nearest: {near(key, known)}"
            )
    return values


def near(name: str, known: Collection[str]) -> str:
    """The one of the known names that was most likely meant."""
    written = name.lower().removeprefix("attnvgg_")
    return difflib.get_close_matches(written, known, n=1, cutoff=0)[0]


def _line(error: ValueError) -> str:
    return " ".join(str(error).split()).lower()
