"""results.json as a page to read: report.html beside it, with its diagrams inside."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from attnvgg_training import files

PAGE = "report.html"
COLOURS = ("#a8356c", "#2a6f97", "#e08e0b", "#4d7c0f", "#6b6475", "#7048b6", "#0f9b8e", "#b3541e")


def write(results: dict[str, Any], folder: Path) -> Path:
    """Writes the page; everything on it is in `results`, but for the pictures, which are in the
    folder."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("attnvgg_training.evaluation", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cell"] = cell
    environment.filters["diagram"] = diagram
    environment.filters["embedded"] = lambda name: _embedded(folder / name)
    text = environment.get_template("report.html.j2").render(results=results)
    path = folder / PAGE
    files.write(path, text.encode())
    return path


def cell(value: Any, digits: int) -> str:
    """A value of a table in words; an interval as `5.1 (4.8 to 5.5)`."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        bounds = f"{value['low']:.{digits}f} to {value['high']:.{digits}f}"
        return f"{cell(value['value'], digits)} ({bounds})"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return str(value)


def markdown(table: dict[str, Any]) -> str:
    """A table for a README or a model card."""
    rows = [[cell(value, table["digits"]) for value in row] for row in table["rows"]]
    lines = [table["columns"], ["---"] * len(table["columns"]), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def diagram(curves: dict[str, Any]) -> str:
    """Curves as SVG that stands in the page; the same curves give the same bytes."""
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, series in enumerate(curves["series"]):
        colour = COLOURS[number % len(COLOURS)]
        style = "-" if number < len(COLOURS) else "--"
        axes.plot(series["x"], series["y"], style, color=colour, label=series["name"], lw=1.6)
        if series["low"]:
            axes.fill_between(
                series["x"], series["low"], series["high"], color=colour, alpha=0.15, lw=0
            )
    axes.set_xlabel(curves["x"])
    axes.set_ylabel(curves["y"])
    if curves["ticks"]:
        axes.set_xticks(range(len(curves["ticks"])), curves["ticks"], rotation=40, ha="right")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "attnvgg", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
