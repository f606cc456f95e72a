"""Would `bentoml serve` serve, here and now? One small function a check; nothing is changed.

The checks are the server's own functions, called in the order in which it calls them.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from attnvgg_serving import registry, settings, settings_file, tracing, trial
from attnvgg_serving.doctor_triton import check_triton
from attnvgg_serving.errors import ServingError, StartError
from attnvgg_serving.keys import KeyFile
from attnvgg_serving.machine import (
    Finding,
    check_cores,
    check_files,
    check_gpu,
    check_memory,
    check_packages,
    failure,
    ok,
    warning,
)
from attnvgg_serving.settings import Settings
from attnvgg_serving.survey import Survey

Check = Callable[[Settings], Iterable[Finding]]
_LOOPBACK = ("127.", "localhost", "::1")


def examine() -> Iterator[Finding]:
    """Every finding, each as soon as it is known. What a check raises is a failure of its own."""
    try:
        found = settings.load()
    except StartError as error:
        yield failure("settings", str(error))
        yield from check_misspelt()
        return
    for check in CHECKS:
        try:
            yield from check(found)
        except ServingError as error:
            yield failure(_name(check), str(error))
        except Exception as error:  # no traceback for an operator, and the other checks go on
            yield failure(_name(check), f"the check itself failed: {error!r}")


def check_settings(found: Settings) -> Iterator[Finding]:
    """Those that are set, and where."""
    file = os.environ.get(settings_file.VARIABLE)
    origins = {name: settings.origin(name) for name in Settings.model_fields}
    given = [f"{n}={getattr(found, n)} ({o})" for n, o in origins.items() if o != "default"]
    yield ok(
        "settings",
        f"{', '.join(given) or 'none is set'}; the other {len(origins) - len(given)} are defaults"
        + (f"; the file is {file}" if file else ""),
    )
    yield from check_misspelt()
    if found.gpu_memory_mb and found.provider == "cpu":
        yield warning("settings", "ATTNVGG_GPU_MEMORY_MB has no effect with ATTNVGG_PROVIDER=cpu")
    if found.engine_threads and found.engine == "triton":
        yield warning("settings", "ATTNVGG_ENGINE_THREADS has no effect with ATTNVGG_ENGINE=triton")


def check_misspelt() -> Iterator[Finding]:
    """Variables that look like settings and are none."""
    for name in settings.unknown():
        near = settings.PREFIX + settings_file.near(name, Settings.model_fields).upper()
        yield warning("settings", f"{name} is set, but there is no such setting; nearest: {near}")


def check_keys(found: Settings) -> Iterator[Finding]:
    """The file of keys, and who may write to it."""
    path = found.api_keys
    if path is None:
        yield ok("keys", "no file of keys: nobody needs one, and nobody can load or unload")
        return
    KeyFile(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o022:
        yield warning("keys", f"{path} has mode {mode:o}: others can add keys; chmod 640 {path}")
    else:
        yield ok("keys", f"{path} is sound, mode {mode:o}")


def check_address(found: Settings) -> Iterator[Finding]:
    """Who will reach it, as far as the environment says; an option of `bentoml serve` wins."""
    host, port = os.environ.get("BENTOML_HOST", "0.0.0.0"), os.environ.get("BENTOML_PORT", "3000")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        yield failure("address", f"BENTOML_PORT is {port!r}; it must be a number from 1 to 65535")
    elif _listens(host, int(port)):
        yield warning("address", f"port {port} is taken: is this server running already?")
    elif host.startswith(_LOOPBACK) or found.api_keys:
        yield ok("address", f"{host}:{port}, unless an option of `bentoml serve` says otherwise")
    else:
        yield warning(
            "address",
            f"it listens on {host}: whoever reaches it may use it; set BENTOML_HOST=127.0.0.1, "
            "or make keys (`attnvgg-serve key NAME`) and name their file in ATTNVGG_API_KEYS",
        )


def check_tracking(found: Settings) -> Iterator[Finding]:
    """What BentoML sends home."""
    if os.environ.get("BENTOML_DO_NOT_TRACK", "").lower() in ("true", "1"):
        yield ok("tracking", "BENTOML_DO_NOT_TRACK is set")
    else:
        yield warning("tracking", "BentoML reports its use; BENTOML_DO_NOT_TRACK=True ends that")


def check_tracing(found: Settings) -> Iterator[Finding]:
    """What OpenTelemetry's variables ask for."""
    yield ok("tracing", "traces are exported" if tracing.asked() else "no traces are asked for")


def check_bundles(found: Settings) -> Iterator[Finding]:
    """Every bundle as the server will load it: hashes, graph, provider, golden.npz."""
    folders = _folders(found)
    lacks = [
        what for what, check in NEEDS.items() if any(f.level == "failure" for f in check(found))
    ]
    if lacks or not folders:
        bundles = registry.scan(found.models)
        yield warning("bundles", f"{len(bundles)} as exported; not run, as {lacks[0]}")
        return
    for folder in folders:
        name = f"{folder.parent.name}/{folder.name}"
        try:
            bundle, engine = trial.load(folder, found)
        except StartError as error:
            yield failure(name, str(error))
            continue
        yield ok(
            name,
            f"{len(bundle.manifest.files)} files as exported; {engine.precision} on "
            f"{engine.provider} agrees with golden.npz",
        )
        engine.close()


def check_default(found: Settings) -> Iterator[Finding]:
    """The model that answers where a request names none."""
    names = {folder.parent.name for folder in _folders(found)}
    if names:
        yield ok("default", registry.default_name(found.models, found.default_model, names))


def _folders(found: Settings) -> list[Path]:
    look = Survey(found.models).look() if found.models.is_dir() else {}
    return [look[key].folder for key in sorted(look)]


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1" if host == "0.0.0.0" else host, port)) == 0


def _name(check: Check) -> str:
    return check.__name__.removeprefix("check_")


# What a bundle needs to be run, as it is said where it is not there.
NEEDS: dict[str, Check] = {
    "the GPU cannot be had": check_gpu,
    "Triton does not serve them": check_triton,
}
CHECKS: tuple[Check, ...] = (
    check_settings,
    check_packages,
    check_gpu,
    check_triton,
    check_cores,
    check_files,
    check_memory,
    check_keys,
    check_address,
    check_tracking,
    check_tracing,
    check_default,
    check_bundles,
)
