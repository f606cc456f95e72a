"""RESULTS.md, made of results.json and nothing else."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from results import Results
from settings import DATATYPE, EAGER, ORT, ORT_INT8

AIM_PEAK, AIM_INT8 = 85.0, 3.0

HEAD = """\
# Engines compared

Written by `benchmarks/engines/run.py` from `results.json` beside it, and never by hand; every
figure is from one run.

    python benchmarks/engines/run.py --device {device} --out DIR
"""

METHOD = """\
## How

All engines run the very same graph: uint8 pictures in, normalisation and softmax inside, what no
output depends on cut away, batch norms folded, all outputs fetched into the host's memory. Before
it is timed, each engine's outputs are compared with those of PyTorch eager at every batch size:
float32, and float16 of trained networks, within the limits of the export's parity check, others by
their labels.

- PyTorch eager: under `inference_mode`. Compiled: `torch.compile` with inductor's defaults, a
  program for each batch size. TorchScript and ONNX: the files of a bundle.
- ONNX Runtime: the serving engine's session options; its threads spin within a call and not
  between calls, as in the server. int8: convolutions, with the ReLU and max pool between them.
- `small` is the checkpoint of cifar10-small; `full` has the paper's widths and is untrained, with
  batch statistics that keep its activations moderate.
- One process a thread count holds all engines and the peaks. Each of {rounds} rounds times every
  one of them once, in turn, for {seconds_a_case} s or one call, whichever is longer, after a pause
  in which the threads of the engine before fall asleep, and one untimed call.
- A figure is the median of the rounds, the best in brackets. Per cent of peak compares medians: two
  operations for each of the network's multiplications, against the fastest of the matrix products
  and convolutions of the same data type and thread count, timed in the same rounds.
"""


def render(values: dict[str, Any]) -> str:
    """The whole document."""
    results = Results(values)
    parts = [HEAD.format(**values), _quick(results), _aims(results), _machine(results)]
    parts += [_peaks(results), *(_network(results, name) for name in values["networks"])]
    parts += [METHOD.format(**values), _noise(results), _alone(results), _labels(results)]
    return "\n".join(part for part in parts if part)


def _quick(results: Results) -> str:
    quick = results.values["quick"]
    return "**Made with `--quick`: the figures mean nothing.**\n" if quick else ""


def _aims(results: Results) -> str:
    """Whether the aims are met, case by case; they are set for the full network on CPUs."""
    if "full" not in results.values["networks"] or results.values["device"] != "cpu":
        return ""

    def gain(network: str, threads: int, engine: str, batch: int) -> float:
        return results.gain(network, threads, engine, ORT, batch)

    rows, sums = [], []
    for aim, engine, least, value in (
        (f"{ORT}, per cent of peak: {AIM_PEAK:g} or more", ORT, AIM_PEAK, results.share),
        (f"{ORT_INT8}, times fp32: {AIM_INT8:g} or more", ORT_INT8, AIM_INT8, gain),
    ):
        met = []
        for threads in results.threads:
            found = [value("full", threads, engine, batch) for batch in results.batches]
            rows.append([aim, threads, *(f"{v:.2f}: {_word(v >= least)}" for v in found)])
            met += [v >= least for v in found]
        sums.append(f"- {aim}: {_word(all(met))}, met in {sum(met)} of {len(met)} cases.")
    table = _table(["aim, on `full`", "threads", *(f"batch {b}" for b in results.batches)], rows)
    return "\n".join(["## Aims", "", *sums, "", *table, ""])


def _machine(results: Results) -> str:
    values, machine = results.values, results.values["machine"]
    cores = f"{machine['cores']} cores; {', '.join(machine['instructions'])}"
    lines = [f"{machine['cpu']} ({cores})"]
    if values["device_name"]:
        lines.append(values["device_name"])
    versions = {"Python": machine["python"], **machine["versions"]}
    lines.append(", ".join([machine["system"], *(f"{n} {v}" for n, v in versions.items())]))
    load = f"load average before it began: {machine['load_at_start']:.2f}"
    lines.append(f"{values['date']}, {values['minutes']:g} minutes; {load}")
    return "\n".join(["## Machine", "", *(f"- {line}" for line in lines), ""])


def _peaks(results: Results) -> str:
    rows: dict[tuple[str, str], list[str]] = {}
    for each in results.values["peaks"]:
        text = f"{each['median']:,.0f} ({each['best']:,.0f})"
        top = results.peak(each["threads"], each["datatype"]) is each
        row = rows.setdefault((each["datatype"], each["kernel"]), [])
        row.append(f"**{text}**" if top else text)
    header = ["type", "kernel", *map(_threads, results.threads)]
    table = _table(header, ([*key, *cells] for key, cells in rows.items()))
    text = (
        "Billions of operations a second, median (best); bold: the peak, 100 per cent below.\n"
        "The operations are those of the definition. Algorithms of the Winograd kind do fewer,\n"
        "so a convolution by one may exceed what the machine multiplies."
    )
    return "\n".join(["## Peaks", "", text, "", *table, "", *_convolutions(results)])


def _convolutions(results: Results) -> list[str]:
    """How the fastest convolution compares with the fastest matrix product, in float32."""
    lines = []
    for threads in results.threads:
        rows = results.kernels(threads, "fp32")
        convolutions = [r["median"] for r in rows if "convolution" in r["kernel"]]
        products = [r["median"] for r in rows if "convolution" not in r["kernel"]]
        if convolutions:
            ratio = max(convolutions) / max(products)
            lines.append(
                f"- {_threads(threads)}: the fastest fp32 convolution runs at {ratio:.2f} times "
                "the rate of the fastest fp32 matrix product."
            )
    return [*lines, ""] if lines else []


def _network(results: Results, name: str) -> str:
    about = results.values["networks"][name]
    title = f"## `{name}`: {about['gmacs']:.3f} GMAC, {about['parameters'] / 1e6:.2f} M parameters"
    columns = [c for b in results.batches for c in (f"batch {b}, images/s", "of peak")]
    lines = [title, ""]
    for threads in results.threads:
        rows = [_engine(results, name, threads, engine) for engine in results.engines]
        rows += _ratios(results, name, threads)
        lines += [f"### {_threads(threads)}", "", *_table(["engine", *columns], rows), ""]
    return "\n".join(lines)


def _engine(results: Results, name: str, threads: int, engine: str) -> list[str]:
    cells = [engine]
    for batch in results.batches:
        row = results.find(name, threads, engine, batch)
        cells.append(f"{_rate(row['median'])} ({_rate(row['best'])})")
        cells.append(f"{results.share(name, threads, engine, batch):.0f} %")
    return cells


def _ratios(results: Results, name: str, threads: int) -> list[list[str]]:
    rows = []
    for over, under in ((ORT, EAGER), (ORT_INT8, ORT)):
        if {over, under} <= set(results.engines):
            gains = [results.gain(name, threads, over, under, b) for b in results.batches]
            cells = [cell for gain in gains for cell in (f"{gain:.2f} times", "")]
            rows.append([f"{over} / {under}", *cells])
    return rows


def _noise(results: Results) -> str:
    rows = results.values["peaks"] + results.values["measurements"]
    spreads = [row["best"] / row["median"] for row in rows]
    lines = [
        f"Best over median of the rounds: {median(spreads):.2f} in the middle of {len(spreads)} "
        f"cases, {max(spreads):.2f} at most, above 1.25 in {sum(s > 1.25 for s in spreads)}.",
        "Compare figures of this page with each other, not with those of another run.",
    ]
    return "\n".join(["## Noise", "", *lines, ""])


def _alone(results: Results) -> str:
    """Whether sharing a process slows an engine: a case again in a process of its own."""
    rows = []
    for own in results.values["alone"]:
        key = (own["network"], own["threads"], own["engine"], own["batch"])
        alone, shared = own["median"], results.find(*key)["median"]
        rows.append([own["engine"], _rate(alone), _rate(shared), f"{shared / alone:.2f}"])
        where = f"`{own['network']}`, batch {own['batch']}, {_threads(own['threads'])}"
    if not rows:
        return ""
    text = f"A case once more in a process that times nothing else: {where}, images/s."
    table = _table(["engine", "alone", "shared", "shared / alone"], rows)
    return "\n".join(["## Sharing a process", "", text, "", *table, ""])


def _labels(results: Results) -> str:
    """How often the engines that do not compute in float32 give eager's label."""
    lines = [
        f"- `{name}`, {engine}: {share:.0%}"
        for name, about in results.values["networks"].items()
        for engine, share in about["agreement"].items()
        if DATATYPE[engine] != "fp32" and about["trained"]
    ]
    text = (
        "The share of the pictures timed, ten photos and noise, that get the label of PyTorch\n"
        "eager: whether the graph is whole, not how accurate it is."
    )
    return "\n".join(["## Labels", "", text, "", *lines, ""]) if lines else ""


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _word(met: bool) -> str:
    return "yes" if met else "no"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]
