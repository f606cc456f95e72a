"""Training pictures a second of our engine, of the engine with one thing changed, of a plain loop.

    python benchmarks/training/run.py --out benchmarks/training

writes results.json and, made of nothing but that, RESULTS.md. Takes about half an hour on two idle
cores; on one GPU (--device cuda) about five minutes. Needs the extra train and a C++ compiler for
torch.compile. A run that fails writes nothing.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import contenders
import peak
import report
import torch
from settings import NETWORKS, Case, case

from attnvgg_training import memory, models

LIBRARIES = ("torch", "torchvision", "numpy", "pillow")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 something is missing."""
    arguments = _parse(argv)
    out: Path = arguments.out
    try:
        if not arguments.render:
            out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(measure(arguments), indent=1) + "\n"
            _write(out / "results.json", text)
        results = json.loads((out / "results.json").read_text(encoding="utf-8"))
        _write(out / "RESULTS.md", report.render(results))
    except (OSError, ValueError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    print(f"{out / 'RESULTS.md'} is written")
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that goes into results.json."""
    memory.keep()
    start, load = time.monotonic(), os.getloadavg()[0]
    device: str = arguments.device
    results: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": arguments.quick,
        "device": device,
        "device_name": torch.cuda.get_device_name() if device == "cuda" else None,
        "machine": {**machine(), "load_at_start": load},
        "networks": {},
    }
    for network in arguments.networks:
        measured = case(network, device, arguments.quick)
        results["networks"][network] = race(measured, device, arguments.quick)
    return {**results, "minutes": round((time.monotonic() - start) / 60, 1)}


def race(case: Case, device: str, quick: bool) -> dict[str, Any]:
    """Every contender once a round, in turn, after one round that does not count: it compiles."""
    with TemporaryDirectory() as folder:
        # In the order of the settings, plain first: its workers are forked before others start.
        ready = {
            name: contenders.build(name, case, device, Path(folder)) for name in case.contenders
        }
        peaks = peak.measure(device, quick)
        rates: dict[str, list[float]] = {name: [] for name in ready}
        products: dict[str, list[float]] = {name: [] for name in peaks}
        for turn in range(case.rounds + 1):
            for name, contender in ready.items():
                found = contender.slot(case.steps)
                print(f"{case.network}, round {turn}, {name}: {found:.1f} pictures/s", flush=True)
                rates[name] += [found] if turn else []
            for name, once in peaks.items():
                products[name] += [once()] if turn else []
        for contender in ready.values():
            contender.close()
    config = contenders.model_config(case.network)
    with torch.device("meta"):
        parameters = models.parameters(models.build(config, contenders.CLASSES))
    return {
        "name": config.name,
        "gmacs": models.gmacs(config, contenders.SIZE),
        "parameters": parameters,
        "batch": case.batch,
        "pictures": case.pictures,
        "rates": rates,
        "peaks": {name: median(each) for name, each in products.items()},
    }


def machine() -> dict[str, Any]:
    """What the figures hang on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in pairs}
    flags = values.get("flags", "").split()
    return {
        "cpu": values.get("model name", platform.machine()),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
    }


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("run.py", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="where both files go")
    add("--networks", default="wide,full", metavar="A,B", help=f"of {', '.join(NETWORKS)}")
    add("--device", default="cpu", choices=("cpu", "cuda"))
    add("--quick", action="store_true", help="whether it works at all; the figures mean nothing")
    add("--render", action="store_true", help="only write RESULTS.md again, from results.json")
    arguments = parser.parse_args(argv)
    arguments.networks = tuple(arguments.networks.split(","))
    if unknown := sorted(set(arguments.networks) - set(NETWORKS)):
        parser.error(f"--networks has {', '.join(unknown)}; known are {', '.join(NETWORKS)}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device is cuda, but PyTorch finds no GPU here")
    compiler = os.environ.get("CXX", "g++")
    if not (arguments.render or arguments.quick or shutil.which(compiler)):
        parser.error(f"torch.compile needs a C++ compiler; there is no {compiler} (or set CXX)")
    return arguments


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


if __name__ == "__main__":
    sys.exit(main())
