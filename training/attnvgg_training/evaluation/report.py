"""results.json as a page to read: report.html beside it, with its diagrams inside."""

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from attnvgg_training import files

PAGE = "report.html"
COLOURS = ("#a8356c", "#2a6f97", "#e08e0b", "#4d7c0f", "#6b6475", "#7048b6", "#0f9b8e", "#b3541e")
STYLES, MARKERS = ("-", "--", ":"), "os^Dv<>P*Xd"


def write(results: dict[str, Any], folder: Path) -> Path:
    """Writes the page, and its diagrams beside it as plots/SUITE-NUMBER.svg; everything on it is in
    `results`, but for the pictures, which are in the folder."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("attnvgg_training.evaluation", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cell"] = cell
    environment.filters["embedded"] = lambda name: _embedded(folder / name)
    diagrams = _diagrams(results)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for name, text in diagrams.items():
        files.write(folder / "plots" / f"{name}.svg", text.encode())
    page = environment.get_template("report.html.j2").render(results=results, diagrams=diagrams)
    path = folder / PAGE
    files.write(path, page.encode())
    return path


def _diagrams(results: dict[str, Any]) -> dict[str, str]:
    return {
        f"{name}-{number}": diagram(curves)
        for name, suite in results["suites"].items()
        for number, curves in enumerate(suite.get("curves", ()), start=1)
    }


def cell(value: Any, digits: int) -> str:
    """A value of a table in words; an interval as `5.1 (4.8 to 5.5)`, what would be 0 only because
    of too few digits as `4e-16` or `0.004`."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        if value["value"] is None:
            return "-"
        if value["low"] is None:
            return cell(value["value"], digits)
        bounds = f"{cell(value['low'], digits)} to {cell(value['high'], digits)}"
        return f"{cell(value['value'], digits)} ({bounds})"
    if isinstance(value, float):
        tiny = value != 0 and abs(value) < 0.5 * 10**-digits
        return f"{value:.1g}" if tiny else f"{value:.{digits}f}"
    return str(value)


def markdown(table: dict[str, Any]) -> str:
    """A table for a README or a model card."""
    rows = [[cell(value, table["digits"]) for value in row] for row in table["rows"]]
    lines = [table["columns"], ["---"] * len(table["columns"]), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def diagram(curves: dict[str, Any]) -> str:
    """Curves as SVG that stands in the page or alone; the same curves give the same bytes."""
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, series in enumerate(curves["series"]):
        colour = COLOURS[number % len(COLOURS)]
        style = STYLES[number // len(COLOURS) % len(STYLES)]
        mark = MARKERS[number % len(MARKERS)]
        x, y, low, high = (_numbers(series[key]) for key in ("x", "y", "low", "high"))
        axes.plot(x, y, style, color=colour, label=series["name"], lw=1.4, marker=mark, ms=3.5)
        if low.size:
            axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    axes.set_xlabel(curves["x"])
    axes.set_ylabel(curves["y"])
    if curves["ticks"]:
        axes.set_xticks(range(len(curves["ticks"])), curves["ticks"], rotation=40, ha="right")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": curves["title"], "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    named = f'<svg role="img" aria-label="{escape(curves["title"])}" '
    return text[text.index("<svg") :].replace("<svg ", named, 1)


def _numbers(values: list[float | None]) -> NDArray[np.float64]:
    """None, which is what JSON has for what is no number, leaves a gap."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
