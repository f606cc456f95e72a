"""The commands `attnvgg models` and `attnvgg health`."""

from __future__ import annotations

import argparse
import json

from attnvgg_client._cli_terminal import NOT_AVAILABLE, OK, complain, encoded, write
from attnvgg_client._client import Client
from attnvgg_client._plain import one_line, width
from attnvgg_client._responses import ModelInfo

COLUMNS = ("MODEL", "VERSION", "LABELS", "MAPS", "PROVIDER", "SHA256", "")


def models(options: argparse.Namespace) -> int:
    """A table with a row for each model, or a JSON object a line."""
    with Client(options.url, timeout=options.timeout) as client:
        found = client.models()
    if options.json:
        lines = [json.dumps(vars(model)) for model in found]
    else:
        lines = _table([COLUMNS, *map(_row, found)])
    write(b"".join(map(encoded, lines)))
    return OK


def health(options: argparse.Namespace) -> int:
    """Whether the server would answer, and which server that is."""
    with Client(options.url, timeout=options.timeout) as client:
        if options.wait is not None:
            client.wait_until_ready(options.wait)
        found = client.health()
    if options.json:
        write(encoded(json.dumps({"url": client.url, **vars(found)})))
    elif found.ready:
        write(encoded(one_line(f"{client.url} is ready")))
    if found.ready:
        return OK
    return complain(f"{client.url} is not ready: {found.detail}", NOT_AVAILABLE)


def _row(model: ModelInfo) -> tuple[str, ...]:
    cells = (
        model.name,
        model.version,
        str(len(model.labels) or "-"),  # none: an older server, which does not say
        ",".join(model.levels) or "-",
        model.provider,
        model.sha256[:12],
        "default" if model.default else "",
    )
    return tuple(map(one_line, cells))


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell, two spaces between them."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
