"""The tables that matter, for the README and a model card, made of a report's results.json alone.

    python benchmarks/evidence/table.py benchmarks/evidence/NAME

prints two: what attention buys beside its peers, and where the maps look, beside the methods that
are applied afterwards and the picture's centre.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Rows = dict[str, list[Any]]
LEARNED, CENTRE = "attention ", "centre"
RATIO, INSIDE = "inside over area, median", "maximum inside, %"
SAME = "rank, another picture's map"


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 done, 2 there is no such report."""
    if len(argv) != 1:
        print("table.py: give the folder of one report", file=sys.stderr)
        return 2
    try:
        results = json.loads((Path(argv[0]) / "results.json").read_text(encoding="utf-8"))
        print("\n\n".join((networks(results), maps(results))))
    except (OSError, ValueError) as error:
        print(f"table.py: no report is in {argv[0]}: {error}", file=sys.stderr)
        return 2
    except KeyError as error:
        print(f"table.py: the report in {argv[0]} has no {error.args[0]}", file=sys.stderr)
        return 2
    return 0


def networks(results: dict[str, Any]) -> str:
    """What each network reaches: a line each, Markdown."""
    said, head = _rows(results, "classification", "Error and calibration")
    attacked, steps = _rows(results, "robustness", "Error under PGD, %")
    served, kinds = _rows(results, "transfer", "Linear SVM on frozen features")
    strength = next(step for step in steps if step.startswith("2/"))
    lines = [
        [
            name,
            f"{row[head.index('parameters, M')]:.2f} M",
            f"{row[head.index('GMAC')]:.3f}",
            _figure(row[head.index("error, %")], 2),
            f"{row[head.index('calibration error, %')]:.1f}",
            _figure(attacked[name][steps.index(strength)], 1),
            f"{served[name][kinds.index('mean accuracy, %')]:.1f}",
        ]
        for name, row in said.items()
    ]
    columns = (
        "network",
        "parameters",
        "GMAC",
        "test error, %",
        "calibration error, %",
        f"error under PGD {strength}, %",
        "SVM on other pictures, %",
    )
    return _markdown(columns, lines)


def maps(results: dict[str, Any]) -> str:
    """Where each learned map looks, the best method applied afterwards, and the centre."""
    looked, head = _rows(results, "localisation", "Photos with object masks")
    decides, order = _rows(results, "faithfulness", "Faithfulness")
    alike, measures = _rows(results, "sanity", "After cascading randomisation")
    cost, units = _rows(results, "cost", "Time of a map")
    ratio, inside = head.index(RATIO), head.index(INSIDE)
    chosen = [name for name in looked if name.startswith(LEARNED)]
    later = [name for name in looked if name in cost and name not in chosen]
    best = [max(later, key=lambda name: looked[name][i]["value"]) for i in (ratio, inside)]
    lines = [
        [
            name,
            _figure(looked[name][ratio], 2),
            _figure(looked[name][inside], 0),
            *(_figure(decides[name][1 + i], 3) if name in decides else "" for i in range(2)),
            _figure(alike[name][measures.index(SAME)], 2) if name in alike else "",
            f"{cost[name][units.index('forward passes')]:.1f}" if name in cost else "0",
        ]
        for name in (*chosen, *dict.fromkeys(best), CENTRE)
    ]
    columns = ("map", RATIO, INSIDE, *order[1:3], SAME, "forward passes, with the label")
    return _markdown(columns, lines)


def _rows(results: dict[str, Any], suite: str, title: str) -> tuple[Rows, list[str]]:
    """The rows of a table by their first cell, the last of each, and its heads."""
    for table in results["suites"][suite].get("tables", ()):
        if table["title"] == title:
            return {row[0]: row for row in table["rows"]}, table["columns"]
    raise KeyError(f"table {title!r} of the suite {suite}")


def _figure(found: dict[str, float | None] | float, digits: int) -> str:
    if not isinstance(found, dict):
        return f"{found:.{digits}f}"
    if found["value"] is None:  # nothing could be measured
        return ""
    value, low, high = (f"{found[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
