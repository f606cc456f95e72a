"""Which options of `attnvgg predict` go together, and the format that they choose."""

from __future__ import annotations

import argparse
from pathlib import Path

from attnvgg_client._cli_formats import Csv, Format, JsonLines, KeptFormat, Text
from attnvgg_client._cli_part import check_free
from attnvgg_client._errors import InvalidArgumentError
from attnvgg_client._requests import Options

SUFFIXES = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv"}


def check(options: argparse.Namespace) -> str:
    """The format: text, json or csv.

    Raises:
        InvalidArgumentError: options that do not go together, or cannot be right.
    """
    Options(options.attention, options.top_k, "f16", options.model, options.model_version)
    if options.level is not None and options.overlay is None:
        raise InvalidArgumentError("--level says which map --overlay draws; give --overlay, too")
    kind = "csv" if options.csv else "json" if options.json else "text"
    if options.out is not None:
        kind = _kind(Path(options.out), kind)
        check_free(Path(options.out))
    if kind == "csv" and options.attention:
        raise InvalidArgumentError("--attention gives no columns for --csv; --json has the maps")
    return kind


def _kind(path: Path, asked: str) -> str:
    named = SUFFIXES.get(path.suffix.lower(), asked)
    if named == "text":
        known = ", ".join(SUFFIXES)
        raise InvalidArgumentError(
            f"--out {path}: the name must end in one of {known}, or --json or --csv be given"
        )
    if asked not in ("text", named):
        raise InvalidArgumentError(f"--out {path}: --{asked} does not go with the name's end")
    return named


def kept(kind: str, options: argparse.Namespace) -> KeptFormat:
    """What --out writes."""
    if kind == "csv":
        return Csv(options.top_k)
    return JsonLines(options.attention, options.top_k)


def shown(kind: str, options: argparse.Namespace) -> Format:
    """What goes to standard output."""
    if kind == "text":
        return Text(options.attention)
    if kind == "json":
        return JsonLines(options.attention, options.top_k, timings=True)
    return kept(kind, options)
