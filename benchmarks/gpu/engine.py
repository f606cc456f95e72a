"""What the gateway's engine gains on a GPU by padding, by IO binding, by cuDNN's search.

    PYTHONPATH=serving:export python benchmarks/gpu/engine.py BUNDLE --provider cuda --out DIR

Needs numpy and onnxruntime beside the source tree. Writes DIR/engine.json after every case and
prints a line each; a case that is in the file is not measured again. Groups of cases:

  ways      each batch size again and again, plain and with IO binding, with all outputs and with
            the probabilities alone
  padding   a seeded mixture of batch sizes, as requests make it, from the first batch on: sizes
            that the engine meets for the first time are in the figures; then the mixture again
  search    how cuDNN chooses its convolutions, by seconds until warm and by speed (CUDA only)
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from attnvgg_bundle import manifest
from attnvgg_serving.engines import Engine, padding, providers
from attnvgg_serving.engines.binding import bound, plain
from attnvgg_serving.engines.onnxruntime import OnnxRuntimeEngine, warm
from attnvgg_serving.registry import Bundle

BATCHES = (1, 2, 3, 8, 17, 32, 64, 128, 256)
SEARCHES = ("HEURISTIC", "EXHAUSTIVE", "DEFAULT")
MIXED = 400  # batches of the mixture

Case = tuple[str, Callable[[], dict[str, float]]]


def main(argv: list[str] | None = None) -> int:
    """Runs every case that the file has not yet."""
    arguments = _arguments(argv)
    bundle = Bundle(arguments.bundle, manifest.read(arguments.bundle))
    build = partial(OnnxRuntimeEngine, bundle, arguments.provider, arguments.precision)
    file = arguments.out / "engine.json"
    results = _start(file, arguments, build())
    for name, measure in cases(build, bundle, arguments):
        if name not in results["cases"]:
            results["cases"][name] = measure()
            file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        found = ", ".join(f"{key} {value:.4g}" for key, value in results["cases"][name].items())
        print(f"{name}: {found}", flush=True)
    return 0


def cases(
    build: Callable[..., Engine], bundle: Bundle, arguments: argparse.Namespace
) -> Iterator[Case]:
    """Every case with its name, and what measures it."""
    seconds, largest = arguments.seconds, max(arguments.batches)
    names = [output.name for output in bundle.manifest.outputs]
    picture = (bundle.manifest.input.height, bundle.manifest.input.width, 3)
    for way in (plain, bound):
        engine = build(way=way)
        for batch in arguments.batches:
            for what, outputs in (("all outputs", names), ("probabilities", names[:1])):
                pixels = _pixels(batch, picture)
                run = partial(repeat, engine, pixels, outputs, seconds)
                yield f"ways: {way.__name__}, batch {batch}, {what}", run
        engine.close()
    for sizes in ((), padding.sizes(largest)):
        kind = "padded" if sizes else "as they come"
        run = partial(mixture, build, bundle, sizes, largest, arguments.mixed)
        yield f"padding: {kind}", run
    for search in SEARCHES if arguments.provider == "cuda" else ():
        options = {**providers.cuda(0), "cudnn_conv_algo_search": search}
        yield f"search: {search}", partial(started, build, bundle, options, largest, seconds)


def repeat(engine: Engine, pixels: Any, outputs: Sequence[str], seconds: float) -> dict[str, float]:
    """The same batch for `seconds`, after three runs that do not count."""
    for _ in range(3):
        engine.run(pixels, outputs)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        times.append(_timed(engine, pixels, outputs))
    return _summary(times, len(pixels) * len(times))


def mixture(
    build: Callable[..., Engine],
    bundle: Bundle,
    sizes: Sequence[int],
    largest: int,
    count: int,
) -> dict[str, float]:
    """Batches of all sizes: `first_` from a new engine on, `again_` when it has seen them all."""
    names = [output.name for output in bundle.manifest.outputs]
    picture = (bundle.manifest.input.height, bundle.manifest.input.width, 3)
    engine: Engine = build()
    started = time.perf_counter()
    if sizes:
        engine = padding.Padded(engine, sizes)
    warm(engine, bundle, sizes or (1, largest))
    found = {"warm_s": time.perf_counter() - started}
    batches = np.random.default_rng(0).integers(1, largest + 1, count)
    for turn in ("first", "again"):
        times = [_timed(engine, _pixels(batch, picture), names) for batch in batches]
        summary = _summary(times, int(batches.sum()))
        found |= {f"{turn}_{key}": value for key, value in summary.items()}
    engine.close()
    return found


def started(
    build: Callable[..., Engine],
    bundle: Bundle,
    options: dict[str, str],
    largest: int,
    seconds: float,
) -> dict[str, float]:
    """Seconds until every padded size is warm, and the speed at the largest after that."""
    start = time.perf_counter()
    engine = build(cuda=options)
    warm(engine, bundle, padding.sizes(largest))
    found = {"warm_s": time.perf_counter() - start}
    names = [output.name for output in bundle.manifest.outputs]
    picture = (bundle.manifest.input.height, bundle.manifest.input.width, 3)
    found |= repeat(engine, _pixels(largest, picture), names, seconds)
    engine.close()
    return found


def _timed(engine: Engine, pixels: Any, outputs: Sequence[str]) -> float:
    start = time.perf_counter()
    engine.run(pixels, outputs)
    return time.perf_counter() - start


def _summary(times: Sequence[float], pictures: int) -> dict[str, float]:
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "p50_ms": 1000 * float(p50),
        "p99_ms": 1000 * float(p99),
        "max_ms": 1000 * max(times),
        "pictures_s": pictures / sum(times),
    }


def _pixels(batch: int, picture: tuple[int, ...]) -> Any:
    return np.random.default_rng(batch).integers(0, 256, (batch, *picture), dtype=np.uint8)


def _start(file: Path, arguments: argparse.Namespace, engine: Engine) -> dict[str, Any]:
    """What the file has, if it is of the same graph and provider; otherwise a new one."""
    facts = {
        "bundle": arguments.bundle.name,
        "sha256": engine.sha256,
        "provider": engine.provider,
        "precision": engine.precision,
        "onnxruntime": onnxruntime.__version__,
        "batches": list(arguments.batches),
        "seconds": arguments.seconds,
    }
    engine.close()
    if file.is_file():
        results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if {key: results[key] for key in facts} != facts:
            raise SystemExit(f"{file} is of another run; name another folder with --out")
        return results
    file.parent.mkdir(parents=True, exist_ok=True)
    return {**facts, "cases": {}}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--provider", choices=list(providers.NAMES), default="cuda")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each batch size")
    parser.add_argument("--mixed", type=int, default=MIXED, help="batches of the mixture")
    parser.add_argument(
        "--batches", type=lambda text: tuple(map(int, text.split(","))), default=BATCHES
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
