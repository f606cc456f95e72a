"""RESULTS.md, made of results.json and nothing else."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from settings import DATATYPE, ENGINE, PLAIN, PLAIN_ALONE

AIM = 2.0

HEAD = """\
# Training compared

Written by `benchmarks/training/run.py` from `results.json` beside it, and never by hand; every
figure is from one run.

    python benchmarks/training/run.py --device {device} --out DIR
"""

METHOD = """\
## How

- The plain loop is what is written everywhere: pictures in an array, torchvision's RandomCrop and
  RandomHorizontalFlip on one picture at a time in the workers of a DataLoader (one a core, or
  none, in the main process), float32, contiguous memory, eager, SGD with Nesterov's momentum. On
  a GPU its convolutions may use TF32, which is PyTorch's default.
- The engine is `attnvgg-train`'s own Trainer: bf16, channels last, not compiled, pictures and
  augmentation on the device; SGD too, but it also averages the weights (EMA),
  which the plain loop does not. Then one thing is changed at a time.
- `wide` is the network of cifar10-wide.toml, `full` the paper's VGG-att3-concat-pc; 32x32, ten
  classes, noise for pictures. Batches are equal; `full` has small ones on CPUs, where a step of 128
  would take half a minute.
- All contenders live in one process, which keeps freed memory as `attnvgg-train` does; the plain
  loop gains by that too. Each round runs every one of them once, in turn: steps that
  use up what its workers read in advance, then the timed ones, the same number of pictures for
  each. A round before the first does not count; it compiles.
- A figure is the median of the rounds, the best in brackets. A ratio is the median of the rounds'
  own ratios, so that what slows a whole round cancels out. "Of peak": three times the forward pass,
  two operations for each multiplication, against torch.mm in the same data type and rounds.
"""

Rows = dict[str, Any]


def render(values: Rows) -> str:
    """The whole document."""
    parts = [HEAD.format(**values), _quick(values), _aims(values), _machine(values)]
    parts += [_network(name, found, values["device"]) for name, found in values["networks"].items()]
    return "\n".join(part for part in (*parts, METHOD) if part)


def ratio(found: Rows, over: str, under: str) -> float:
    """How many times as fast `over` is, by the median of the rounds."""
    pairs = zip(found["rates"][over], found["rates"][under], strict=True)
    return median(a / b for a, b in pairs)


def better_plain(found: Rows) -> str:
    """The faster of the two plain loops: what our engine is held against."""
    return max((PLAIN, PLAIN_ALONE), key=lambda name: median(found["rates"][name]))


def _quick(values: Rows) -> str:
    return "**Made with `--quick`: the figures mean nothing.**\n" if values["quick"] else ""


def _aims(values: Rows) -> str:
    lines = ["## Aim", "", f"The engine is {AIM:g} times as fast as the better plain loop:", ""]
    for name, found in values["networks"].items():
        times = ratio(found, ENGINE, better_plain(found))
        word = "yes" if times >= AIM else "no"
        lines.append(f"- `{name}`: {times:.2f} times: {word} (against: {better_plain(found)}).")
    return "\n".join([*lines, ""])


def _machine(values: Rows) -> str:
    machine = values["machine"]
    cores = f"{machine['cores']} cores, {machine['threads']} threads"
    lines = [f"{machine['cpu']} ({cores}; {', '.join(machine['instructions'])})"]
    if values["device_name"]:
        lines.append(values["device_name"])
    versions = {"Python": machine["python"], **machine["versions"]}
    lines.append(", ".join([machine["system"], *(f"{n} {v}" for n, v in versions.items())]))
    load = f"load average before it began: {machine['load_at_start']:.2f}"
    lines.append(f"{values['date']}, {values['minutes']:g} minutes; {load}")
    return "\n".join(["## Machine", "", *(f"- {line}" for line in lines), ""])


def _network(name: str, found: Rows, device: str) -> str:
    title = (
        f"## `{name}`: {found['name']}, {found['gmacs']:.3f} GMAC, "
        f"{found['parameters'] / 1e6:.2f} M parameters"
    )
    about = f"{found['batch']} pictures a step, {found['pictures']:,} timed a round."
    peaks = ", ".join(f"{kind} {rate:,.0f}" for kind, rate in found["peaks"].items())
    plain = better_plain(found)
    header = ["", "pictures/s", "of peak", "times the plain loop", "times the engine"]
    rows = [_row(contender, found, plain, device) for contender in found["rates"]]
    text = f"{about} torch.mm, billions of operations a second: {peaks}."
    return "\n".join([title, "", text, "", *_table(header, rows), ""])


def _row(contender: str, found: Rows, plain: str, device: str) -> list[str]:
    rates = found["rates"][contender]
    kind = DATATYPE[contender]
    if kind == "fp32" and device == "cuda":
        kind = "tf32"
    share = 100 * median(rates) * 3 * 2 * found["gmacs"] / found["peaks"][kind]
    return [
        contender,
        f"{_rate(median(rates))} ({_rate(max(rates))})",
        f"{share:.0f} % of {kind}",
        f"{ratio(found, contender, plain):.2f}",
        f"{ratio(found, contender, ENGINE):.2f}",
    ]


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]
