"""Measures in a process of its own, so that threads are set before any library starts its own.

Started by run.py: worker.py JOB.json RESULT.json
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import networks
import peaks
import runners
import torch
from settings import EAGER, Job

from attnvgg_bundle.manifest import BundleError
from attnvgg_export.errors import ExportError
from attnvgg_training.errors import TrainingError

# Idle threads of the engine before spin for up to some ten milliseconds before they sleep.
PAUSE = 0.05


@dataclass
class Case:
    """What is timed once a round. work: pictures or GFLOP of one call. facts: what it is."""

    facts: dict[str, Any]
    work: float
    call: Callable[[], object]
    rates: list[float] = field(default_factory=list)


def measure(job: Job, folder: Path) -> dict[str, Any]:
    """Readies and checks everything, then times every case once in each round."""
    if job.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device is cuda, but PyTorch finds no GPU here")
    torch.set_num_threads(job.threads)
    # What is called fp32 shall be that on a GPU too.
    torch.backends.cudnn.allow_tf32 = False
    cases = [
        Case({"kernel": k.name, "datatype": k.datatype}, k.gflop, k.call)
        for k in (peaks.kernels(job) if job.peaks else [])
    ]
    described = {}
    for name in job.networks:
        network = networks.build(name, max(job.batches))
        ready, agreement = _ready(network, folder / name, job)
        described[name] = {
            "gmacs": network.gmacs,
            "parameters": sum(p.numel() for p in network.graph.parameters()),
            "trained": network.trained,
            "agreement": agreement,
        }
        cases += _cases(name, network, ready, job)
    _time(cases, job)
    device = torch.cuda.get_device_name() if job.device == "cuda" else None
    found = [{**case.facts, "rates": case.rates} for case in cases]
    return {"device_name": device, "networks": described, "found": found}


def rate(call: Callable[[], object], seconds: float) -> float:
    """Calls a second: a pause, one call untimed, then at least one and at least `seconds`."""
    time.sleep(PAUSE)
    call()
    calls, start = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return calls / elapsed


def _ready(
    network: networks.Network, folder: Path, job: Job
) -> tuple[dict[str, runners.Run], dict[str, float]]:
    """The engines' runners, and how far their labels agree with eager's."""
    folder.mkdir()
    runners.write(network, folder, job.engines)
    reference = runners.build(EAGER, network, folder, job)
    ready = {engine: runners.build(engine, network, folder, job) for engine in job.engines}
    agreement = {
        engine: runners.check(engine, network, run, reference, job.batches)
        for engine, run in ready.items()
    }
    return ready, agreement


def _cases(
    name: str, network: networks.Network, ready: dict[str, runners.Run], job: Job
) -> list[Case]:
    """Engine after engine at one batch size, so that those compared are neighbours in time."""
    cases = []
    for batch in job.batches:
        pictures = network.pictures[:batch]
        for engine, run in ready.items():
            facts = {"network": name, "engine": engine, "batch": batch}
            cases.append(Case(facts, batch, partial(run, pictures)))
    return cases


def _time(cases: list[Case], job: Job) -> None:
    start = time.perf_counter()
    for number in range(1, job.rounds + 1):
        for case in cases:
            case.rates.append(round(case.work * rate(case.call, job.seconds), 4))
        seconds = time.perf_counter() - start
        print(f"threads {job.threads}, round {number} of {job.rounds}: {seconds:.0f} s", flush=True)


def main(source: str, target: str) -> None:
    """Reads a job, writes what was found."""
    values: dict[str, Any] = json.loads(Path(source).read_text(encoding="utf-8"))
    values |= {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    job = Job(**values)
    try:
        with TemporaryDirectory() as folder:
            found = measure(job, Path(folder))
    except (BundleError, ExportError, TrainingError) as error:
        raise SystemExit(str(error)) from error
    Path(target).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
