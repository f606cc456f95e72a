"""Pictures a second of every engine, beside what the machine's arithmetic allows.

    python benchmarks/engines/run.py --out benchmarks/engines

writes results.json and, made of nothing but that, RESULTS.md. Takes about ten minutes on two idle
cores (load on them slows the engines unequally) and needs the extras train, export and serve, and a
C++ compiler for torch.compile. A run that fails writes nothing.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime
import report
from settings import COMPILED, EAGER, NETWORKS, Job, engines

THREADS = (1, 2)
LIBRARIES = ("torch", "onnxruntime", "onnxruntime-gpu", "onnx", "numpy")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 a worker failed, 2 something is missing."""
    arguments = _parse(argv)
    out: Path = arguments.out
    try:
        if not arguments.render:
            out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(measure(arguments), indent=1) + "\n"
            (out / "results.json").write_text(text, encoding="utf-8")
        results = json.loads((out / "results.json").read_text(encoding="utf-8"))
        (out / "RESULTS.md").write_text(report.render(results), encoding="utf-8")
    except subprocess.CalledProcessError:
        print("run.py: a worker failed, as it says above; nothing is written", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    print(f"{out / 'RESULTS.md'} is written")
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that goes into results.json."""
    start, load = time.monotonic(), os.getloadavg()[0]
    jobs = _jobs(arguments)
    results: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": arguments.quick,
        "device": arguments.device,
        "machine": {**machine(), "load_at_start": load},
        "rounds": jobs[0].rounds,
        "seconds_a_case": jobs[0].seconds,
        "peaks": [],
        "measurements": [],
        "alone": [],
    }
    for job in jobs:
        found = _work(job)
        results |= {key: found[key] for key in ("networks", "device_name")}
        for each in _summarised(found, job):
            results["peaks" if "kernel" in each else "measurements"].append(each)
    for job in _alone(jobs[-1]):
        results["alone"] += _summarised(_work(job), job)
    return {**results, "minutes": round((time.monotonic() - start) / 60, 1)}


def machine() -> dict[str, Any]:
    """What the figures hang on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in pairs}
    flags = values.get("flags", "").split()
    return {
        "cpu": values.get("model name", platform.machine()),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": _cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {n: v for n in LIBRARIES if (v := _version(n))},
    }


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("run.py", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="where both files go")
    add("--networks", default="small,full", metavar="A,B", help=f"of {', '.join(NETWORKS)}")
    add("--device", default="cpu", choices=("cpu", "cuda"))
    add("--quick", action="store_true", help="whether it works at all; the figures mean nothing")
    add("--render", action="store_true", help="only write RESULTS.md again, from results.json")
    arguments = parser.parse_args(argv)
    arguments.networks = tuple(arguments.networks.split(","))
    if unknown := sorted(set(arguments.networks) - set(NETWORKS)):
        parser.error(f"--networks has {', '.join(unknown)}; known are {', '.join(NETWORKS)}")
    compiler = os.environ.get("CXX", "g++")
    if not (arguments.render or arguments.quick or shutil.which(compiler)):
        parser.error(f"torch.compile needs a C++ compiler; there is no {compiler} (or set CXX)")
    return arguments


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    """One worker a thread count; on a GPU the host's threads hardly matter."""
    quick, gpu = arguments.quick, arguments.device == "cuda"
    chosen = engines(arguments.device, onnxruntime.get_available_providers())
    job = Job(
        device=arguments.device,
        threads=1,
        networks=arguments.networks,
        # Compiling takes longer than everything else of a quick run.
        engines=tuple(engine for engine in chosen if not (quick and engine == COMPILED)),
        batches=(1, 2) if quick else (1, 8, 32, 256) if gpu else (1, 8, 32),
        rounds=2 if quick else 8,
        seconds=0.01 if quick else 0.3,
        peaks=True,
        quick=quick,
    )
    counts = (1,) if quick or gpu else [count for count in THREADS if count <= _cores()]
    return [replace(job, threads=count) for count in counts]


def _alone(job: Job) -> list[Job]:
    """One case of each engine in a process of its own, to see whether sharing one slows it."""
    if job.device != "cpu":
        return []
    shared = replace(job, networks=job.networks[:1], batches=job.batches[1:2], peaks=False)
    chosen = (EAGER,) if job.quick else job.engines
    return [replace(shared, engines=(engine,)) for engine in chosen]


def _work(job: Job) -> dict[str, Any]:
    """Runs one worker; it inherits stdout and stderr."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "job.json"), Path(folder, "found.json")
        source.write_text(json.dumps(asdict(job)), encoding="utf-8")
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(job.threads),
            # A program compiled for another number of threads must not be found again.
            "TORCHINDUCTOR_CACHE_DIR": folder,
        }
        worker = str(Path(__file__).with_name("worker.py"))
        command = [sys.executable, worker, str(source), str(target)]
        subprocess.run(command, env=environment, check=True)
        found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
        return found


def _summarised(found: dict[str, Any], job: Job) -> list[dict[str, Any]]:
    """What was found, each with its thread count and the best and median of its rounds."""
    return [
        {
            "threads": job.threads,
            **each,
            "best": max(each["rates"]),
            "median": median(each["rates"]),
        }
        for each in found["found"]
    ]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
