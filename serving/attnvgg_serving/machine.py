"""What the machine has for the server: packages, GPU, cores, memory."""

import importlib
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from attnvgg_serving.cores import cores, quota, share
from attnvgg_serving.errors import StartError
from attnvgg_serving.settings import Settings

# What a worker and the supervisor take before the first request, measured.
WORKER_MB, SUPERVISOR_MB = 200, 110
FILES = 100  # what a worker has open beside its connections


@dataclass(frozen=True)
class Finding:
    """What a check found, in one line; a failure says what to do."""

    level: Literal["ok", "warning", "failure"]
    what: str
    says: str


def ok(what: str, says: str) -> Finding:
    return Finding("ok", what, says)


def warning(what: str, says: str) -> Finding:
    return Finding("warning", what, says)


def failure(what: str, says: str) -> Finding:
    return Finding("failure", what, says)


def check_packages(settings: Settings) -> Iterator[Finding]:
    """What the engine needs. onnxruntime: exactly one of its packages, whole, built with the
    provider."""
    if settings.engine == "triton":
        yield _triton_packages()
        return
    found = {name: version for name in ("onnxruntime", "onnxruntime-gpu") if (version := _of(name))}
    cure = "`pip uninstall -y onnxruntime onnxruntime-gpu`, then install the one that is meant"
    if not found:
        yield failure("packages", "there is no onnxruntime; pip install 'attnvgg[serve]'")
        return
    module = importlib.import_module("onnxruntime")
    if not hasattr(module, "InferenceSession"):
        yield failure("packages", f"onnxruntime is empty, as another one was removed: {cure}")
        return
    if len(found) > 1:
        yield warning(
            "packages",
            f"onnxruntime and onnxruntime-gpu are both installed into the same folder: {cure}",
        )
    listed = ", ".join(f"{name} {version}" for name, version in found.items())
    built = ", ".join(module.get_available_providers())
    yield ok("packages", f"bentoml {_of('bentoml')}, {listed}, built with {built}")


def _triton_packages() -> Finding:
    try:
        importlib.import_module("tritonclient.grpc")
    except ImportError as error:
        return failure(
            "packages",
            f"ATTNVGG_ENGINE is 'triton', which needs tritonclient ({error}); "
            "pip install 'attnvgg[triton]'",
        )
    listed = ", ".join(f"{name} {_of(name)}" for name in ("bentoml", "tritonclient", "grpcio"))
    return ok("packages", f"{listed}; no onnxruntime is needed")


def check_gpu(settings: Settings) -> Iterator[Finding]:
    """The libraries and the driver, where a GPU is asked for or the package for it is there."""
    if settings.engine == "triton":  # a GPU would be Triton's
        return
    if settings.provider != "cpu":
        yield _asked_gpu(settings.provider)
    elif _of("onnxruntime-gpu") is not None:
        from attnvgg_serving.engines import libraries

        lacking = ", ".join(libraries.missing("cuda"))
        wrong = f"{lacking} cannot be loaded" if lacking else libraries.driver()
        could = f"'cuda' could not be asked for here: {wrong}" if wrong else "'cuda' would be there"
        yield ok("gpu", f"ATTNVGG_PROVIDER is 'cpu'; {could}")


def _asked_gpu(provider: str) -> Finding:
    from attnvgg_serving.engines import libraries, providers

    try:
        providers.check_before(provider)
    except StartError as error:
        return failure("gpu", str(error))
    return ok("gpu", f"the driver and {len(libraries.names(provider)) - 1} libraries are there")


def check_cores(settings: Settings) -> Iterator[Finding]:
    """How the cores are shared out."""
    count, limit, workers = cores(), quota(), settings.workers
    says = f"{count} cores" + (f" (the container's quota is {limit})" if limit else "")
    says += f", {workers} worker{'s' * (workers > 1)}"
    if settings.engine == "triton":
        threads = 1
        says += "; forward passes are Triton's"
    else:
        threads = settings.engine_threads or share(workers)
        says += f" with {threads} threads a forward pass"
    if workers * threads > count:
        yield warning("cores", f"{says}: more threads than cores make every request slower")
    else:
        yield ok("cores", says)


def check_files(settings: Settings) -> Iterator[Finding]:
    """May a worker hold open as many connections as the settings allow?"""
    # The hard limit: a worker raises its soft one by itself.
    limit, need = resource.getrlimit(resource.RLIMIT_NOFILE)[1], settings.max_connections + FILES
    says = f"a worker opens up to {need} files and connections"
    if resource.RLIM_INFINITY != limit < need:
        yield warning(
            "files", f"{says}, and may open {limit}: raise the limit with `ulimit -Hn {need}`"
        )
    else:
        yield ok("files", says)


def check_memory(settings: Settings) -> Iterator[Finding]:
    """Is there enough for the workers and for all that they may hold of requests?"""
    held = settings.max_upload_bytes // 1_000_000
    need = SUPERVISOR_MB + settings.workers * (WORKER_MB + held)
    there = memory_mb()
    says = f"up to {need} MB for {settings.workers} x ({WORKER_MB} MB and {held} MB of requests)"
    if there is not None and there < need:
        yield warning(
            "memory", f"{says}, of {there} MB: lower ATTNVGG_MAX_UPLOAD_BYTES or ATTNVGG_WORKERS"
        )
    else:
        yield ok("memory", f"{says}, of {there or 'unknown'} MB")


def memory_mb(root: Path = Path("/")) -> int | None:
    """What this process may still take: free memory, or a container's limit if that is less."""
    limits = [
        root / "sys/fs/cgroup/memory.max",
        root / "sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    found = [int(text) for path in limits if (text := _text(path)).isdecimal()]
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    return min(found) // 1_000_000 if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
