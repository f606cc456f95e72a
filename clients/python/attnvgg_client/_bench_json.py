"""A bench as one JSON object: enough to run it again and to compare two runs.

Nothing of the machine is in it: such results are shared.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from attnvgg_client._bench_remarks import warnings
from attnvgg_client._bench_schedule import Load
from attnvgg_client._bench_statistics import LATE, Row
from attnvgg_client._version import __version__

if TYPE_CHECKING:
    from attnvgg_client._bench import Result, Setup


def as_json(result: Result) -> dict[str, Any]:
    """Everything."""
    pictures = result.setup.pictures
    return {
        "attnvgg_client": __version__,
        "python": platform.python_version(),
        "httpx": httpx.__version__,
        "numpy": np.__version__,
        "started": result.started,
        "url": result.url,
        "options": _options(result.setup, result.setup.loads[0]),
        "pictures": {
            "count": len(pictures.pictures),
            "bytes": pictures.size,
            "ignored": pictures.ignored,
            "made": pictures.made,
        },
        "model": None if result.model is None else vars(result.model).copy(),
        "rows": [_row(row) for row in result.rows],
        "warnings": warnings(result.rows),
    }


def _options(setup: Setup, load: Load) -> dict[str, Any]:
    is_open = load.rate is not None
    return {
        "rates": [load.rate for load in setup.loads] if is_open else None,
        "concurrencies": None if is_open else [load.callers for load in setup.loads],
        "duration": load.seconds,
        "requests": load.requests,
        "warmup": load.warmup,
        "arrivals": load.arrivals if is_open else None,
        "seed": load.seed if is_open else None,
        "in_flight": load.callers if is_open else None,
        "batch": setup.batch,
        "attention": setup.attention,
        "model": setup.model,
        "version": setup.version,
        "timeout": setup.timeout,
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "rate": row.load.rate,
        "concurrency": row.load.callers if row.load.rate is None else None,
        "seconds": row.seconds,
        "requests": row.requests,
        "answered": row.answered,
        "failed": row.failed,
        "unfinished": row.unfinished,
        "interrupted": row.interrupted,
        "failures": {code: vars(failure).copy() for code, failure in row.failures.items()},
        "requests_per_s": row.requests_per_s,
        "pictures_per_s": row.pictures_per_s,
        "latency_ms": row.latency_ms(),
        "quantiles_ms": [round(value, 4) for value in row.quantiles_ms()],
        "service_ms": None if row.changed else row.service_ms,
        "server_ms": {} if row.changed else row.server_ms,
        "models": [vars(model) | {"answered": count} for model, count in row.models.items()],
        "generator": {"cores": row.cpu, "lateness": _lateness(row)},
    }


def _lateness(row: Row) -> dict[str, float]:
    lateness = row.lateness_ms
    return {
        "share": row.late,
        "beyond_ms": LATE * 1e3,
        "mean_ms": float(lateness.mean()) if len(lateness) else 0.0,
        "max_ms": float(lateness.max()) if len(lateness) else 0.0,
    }
