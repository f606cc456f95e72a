"""RESULTS.md, made of results.json and nothing else."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from aims import aims
from results import Cell, Results, ratio
from settings import (
    BEFORE_TRITON,
    GATEWAY,
    JPEG_SIDE,
    MAX_BATCH,
    PAUSE,
    PAYLOADS,
    REFUSALS,
    TIMEOUT,
    TITLES,
    TRITON_2,
)

HEAD = """\
# Servers compared

Written by `benchmarks/serving/run.py` from `results.json` beside it, and never by hand; every
figure is from one run.

    python benchmarks/serving/run.py --out DIR

![Answers a second](throughput.svg)
"""

METHOD = """\
## How

Every server has the same bundle, `{bundle}` in float32, on the same {cores} cores as the load
generator; one server at a time. Only Triton and the gateway answer in binary; the others answer as
their documentation has them answer.

- attnvgg: `bentoml serve` at the root of this repository, in an environment made from `.[serve]`,
  with its defaults. Pixels travel as a binary UINT8 tensor to `/v2`, a JPEG as the body of
  `/v1/predict`. In binary the maps come back as float32 from `/v2` and as float16 (the default)
  from `/v1`; in JSON as numbers and as base64.
- attnvgg before Triton: the same with `ATTNVGG_ENGINE=triton`, and Triton with two instances behind
  it over gRPC; the gateway decodes, Triton runs. Both count as one server.
- Triton: the repository that `attnvgg-export triton` writes for the Python backend, over the binary
  HTTP protocol. Pixels go to the model itself, a JPEG to the ensemble that decodes it. The
  instances share the cores: as many threads together as there are cores.
- BentoML: `batchable` APIs, a `np.ndarray` for pixels (as JSON lists, which is how its own client
  sends arrays) and a `list[PIL.Image]` for JPEGs (a form with a file); JSON back.
- LitServe: one worker, `max_batch_size` {batch}, `batch_timeout` 0.01; pixels and JPEGs as base64
  in JSON; JSON back.
- FastAPI: no batches; `run_in_threadpool`; the bytes themselves as the body; JSON back.
- All peers have uvloop and httptools, where they are uvicorn underneath, ONNX Runtime with a thread
  a core and none that spins between two calls, a largest batch of {batch}, and the logging of their
  defaults.
- Pixels are {size}; a JPEG has {side} pixels on its longer side. Eight photos take turns. "Maps"
  are those of all levels and the fused one.
- Bare session: the same graph in a loop, with no server: what a server could at most reach. A
  batch of {batch} is the bound that shares are of.
- The load: each client has one connection, kept open, and asks again as soon as it has its answer;
  {pause:g} s later after a refusal or an error. {warm_up:g} s are not measured, then {seconds:g} s
  are, in each of {rounds} rounds; a round measures every server in turn, started afresh. Figures
  are the medians of the rounds (in brackets the best), ratios the medians of those within a round.
- Refusals are the documented ones, {refusals}. All else that is no answer is an error, and so is
  what takes longer than {timeout:g} s. Before it is measured each server's answers to all pictures
  are compared with the bare session's (label, probabilities, maps), and so are some 20 of each
  measurement.
- CPU: of all processes of the server, and of the load generator, for each answer. Memory: the sum
  of their processes' peaks of resident memory; what processes share counts for each.
"""


def render(values: dict[str, Any]) -> str:
    """The whole document."""
    results = Results(values)
    parts = [HEAD, _quick(results), _aims(results), _machine(results), _bare(results)]
    parts += [_table_of(results, payload, maps) for payload in PAYLOADS for maps in (False, True)]
    parts += [_hop(results), _sizes(results), _method(values), _generator(results), _noise(results)]
    return "\n".join(part for part in parts if part)


def _quick(results: Results) -> str:
    quick = results.values["quick"]
    return "**Made with `--quick`: the figures mean nothing.**\n" if quick else ""


def _aims(results: Results) -> str:
    sums, rows = [], []
    for aim in aims(results):
        met = sum(case.met for case in aim.cases)
        word = "met" if met == len(aim.cases) else "not met"
        sums.append(f"- {_capital(aim.text)}: {word}, in {met} of {len(aim.cases)} cases.")
        rows += [[aim.text, c.what, c.figure, "yes" if c.met else "no"] for c in aim.cases]
    if not sums:
        return ""
    return "\n".join(["## Aims", "", *sums, "", *_table(["aim", "case", "", "met"], rows), ""])


def _machine(results: Results) -> str:
    values, machine = results.values, results.values["machine"]
    system = f"{machine['system']}, Python {machine['python']}"
    load = f"load average before it began: {machine['load_at_start']:.2f}"
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores; {system}",
        f"{values['date']}, {values['minutes']:g} minutes; {load}",
    ]
    for server, versions in values["versions"].items():
        lines.append(f"{TITLES[server]}: " + ", ".join(f"{n} {v}" for n, v in versions.items()))
    return "\n".join(["## Machine", "", *(f"- {line}" for line in lines), ""])


def _bare(results: Results) -> str:
    rows = []
    for maps in (False, True):
        for batch in sorted({row["batch"] for row in results.values["bare"][0]}):
            rates = results.bare(maps, batch)
            cpu = results.bare_cpu_ms(maps, batch)
            rows.append(["yes" if maps else "no", batch, _rate(rates), f"{cpu:.2f}"])
    table = _table(["maps fetched", "batch", "pictures/s", "CPU ms a picture"], rows)
    return "\n".join(["## The bare session", "", *table, ""])


def _table_of(results: Results, payload: str, maps: bool) -> str:
    title = f"## {'Raw pixels' if payload == 'pixels' else 'A JPEG'}, {'' if maps else 'no '}maps"
    header = ["server", "clients", "answers/s", "of bare", "p50 ms", "p99 ms", "refusals", "errors"]
    header += ["server CPU ms", "client CPU ms", "memory MB"]
    bound = results.bare(maps)
    rows = [_row(cell, bound) for cell in results.cells(payload, maps)]
    return "\n".join([title, "", *_table(header, rows), ""])


def _hop(results: Results) -> str:
    """The gateway before Triton, beside each of the two alone."""
    if not {GATEWAY, BEFORE_TRITON, TRITON_2} <= set(results.servers):
        return ""
    rows = []
    for payload in PAYLOADS:
        for maps in (False, True):
            for clients in results.clients:
                both, engine, triton = (
                    results.find(server, payload, maps, clients)
                    for server in (BEFORE_TRITON, GATEWAY, TRITON_2)
                )
                row = [payload, "yes" if maps else "no", str(clients)]
                row += [f"{ratio(both.rates, other.rates):.2f}" for other in (triton, engine)]
                row += [_more(both, triton), _more(both, engine)]
                rows.append(row)
    header = ["payload", "maps", "clients", "of Triton alone", "of the engine in process"]
    header += ["p50 ms over Triton", "p50 ms over in process"]
    text = (
        "Answers a second of the gateway before Triton (two instances), as a share of those of "
        "Triton alone and of the gateway with the engine in its own process; and what its median "
        "takes longer."
    )
    return "\n".join(["## The cost of the hop", "", text, "", *_table(header, rows), ""])


def _more(cell: Cell, other: Cell) -> str:
    one, two = cell.milliseconds("p50"), other.milliseconds("p50")
    return "" if one is None or two is None else f"{one - two:+.1f}"


def _row(cell: Cell, bound: list[float]) -> list[str]:
    numbers = [cell.milliseconds("p50"), cell.milliseconds("p99")]
    name = f"**{cell.name}**" if cell.target.server == GATEWAY else cell.name
    return [
        name,
        str(cell.clients),
        _rate(cell.rates),
        f"{ratio(cell.rates, bound):.2f}",
        *map(_number, numbers),
        f"{cell.refusals:,}",
        f"{cell.errors:,}",
        _number(cell.cpu_ms("server")),
        _number(cell.cpu_ms("client")),
        f"{cell.memory_mb:,.0f}",
    ]


def _sizes(results: Results) -> str:
    rows = [
        [what, f"{size['request']:,}", f"{size['answer']:,}"]
        for what, size in results.values["sizes"].items()
    ]
    text = "Bytes of a request and of its answer, headers and all; those of the last photo."
    table = _table(["server, payload, maps", "request", "answer"], rows)
    return "\n".join(["## What travels", "", text, "", *table, ""])


def _method(values: dict[str, Any]) -> str:
    return METHOD.format(
        **values,
        cores=values["machine"]["cores"],
        batch=MAX_BATCH,
        side=JPEG_SIDE,
        pause=PAUSE,
        timeout=TIMEOUT,
        refusals=" and ".join(map(str, REFUSALS)),
    )


def _generator(results: Results) -> str:
    rows = []
    for clients in results.clients:
        found = results.generator(clients)
        cpu = median(1000 * row["client_cpu_s"] / row["answers"] for row in found)
        rows.append([clients, _rate([row["rate"] for row in found]), f"{cpu:.3f}"])
    text = (
        "Against a server that answers every request with the same 300 bytes; raw pixels, "
        f"{results.values['machine']['generator']}."
    )
    table = _table(["clients", "answers/s", "client CPU ms an answer"], rows)
    return "\n".join(["## The load generator alone", "", text, "", *table, ""])


def _noise(results: Results) -> str:
    cells = [c for p in PAYLOADS for maps in (False, True) for c in results.cells(p, maps)]
    spreads = [max(cell.rates) / median(cell.rates) for cell in cells if median(cell.rates)]
    bound = max(results.bare(False)) / median(results.bare(False))
    lines = [
        f"Best over median of the rounds: {median(spreads):.2f} in the middle of {len(spreads)} "
        f"cases, {max(spreads):.2f} at most; {bound:.2f} of the bare session.",
        "Compare figures of this page with each other, not with those of another run.",
    ]
    return "\n".join(["## Noise", "", *lines, ""])


def _rate(rates: Sequence[float]) -> str:
    return f"{median(rates):,.0f} ({max(rates):,.0f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]
