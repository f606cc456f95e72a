"""throughput.svg: answers a second of every server, a panel a payload, with and without maps."""

from html import escape
from statistics import median
from typing import Any

from results import Cell, Results
from settings import GATEWAY, PAYLOADS

PANEL, LABELS, GAP, TOP = 300, 190, 60, 92
BAR, SERVER_GAP, PANEL_HEAD = 11, 12, 34
# Light to dark: few clients to many. Ours in colour, the others in grey.
OURS = ("#a9cfe4", "#4f9cc6", "#0f5f8a")
OTHERS = ("#d9dcdf", "#a7adb3", "#646b72")
TITLES = {"pixels": "Raw pixels", "jpeg": "A 500-pixel JPEG"}


def render(values: dict[str, Any]) -> str:
    """The whole picture."""
    results = Results(values)
    panels = [(payload, maps) for maps in (False, True) for payload in PAYLOADS]
    rates = [median(c.rates) for p in panels for c in results.cells(*p)]
    most = max([*rates, median(results.bare(False))]) * 1.12
    heights = [_height(results, maps) for maps in (False, True)]
    width = LABELS + PANEL + GAP + LABELS + PANEL + GAP
    parts = [_legend(results, width)]
    for index, (payload, maps) in enumerate(panels):
        x = LABELS + (index % 2) * (LABELS + PANEL + GAP)
        y = TOP + (heights[0] + 20) * maps
        parts.append(f'<g transform="translate({x} {y})">')
        parts += _panel(results, payload, maps, most)
        parts.append("</g>")
    return _document(width, TOP + sum(heights) + 30, parts)


def _panel(results: Results, payload: str, maps: bool, most: float) -> list[str]:
    scale = PANEL / most
    bound, height = median(results.bare(maps)) * scale, _height(results, maps) - 10
    title = f"{TITLES[payload]}, {'with' if maps else 'no'} maps"
    parts = [_text(0, 12, title, "title")]
    cells, y = results.cells(payload, maps), PANEL_HEAD
    for start in range(0, len(cells), len(results.clients)):
        group = cells[start : start + len(results.clients)]
        parts += _server(group, y, scale)
        y += len(group) * BAR + SERVER_GAP
    return [*parts, _upright("axis", 0, height), _upright("bound", bound, height)]


def _server(group: list[Cell], y: float, scale: float) -> list[str]:
    """One bar for each number of clients; the dark one has its figure beside it."""
    ours = group[0].target.server == GATEWAY
    middle = y + len(group) * BAR / 2 + 4
    parts = [_text(-8, middle, group[0].name, "name ours" if ours else "name")]
    for index, cell in enumerate(group):
        rate = median(cell.rates)
        colour = (OURS if ours else OTHERS)[min(index, 2)]
        size = f'width="{rate * scale:.1f}" height="{BAR - 2}"'
        parts.append(f'<rect x="0" y="{y + index * BAR}" {size} fill="{colour}"/>')
        note = f"{rate:,.0f}" + (f", {cell.errors:,} errors" if cell.errors else "")
        parts.append(_text(rate * scale + 4, y + index * BAR + 8, note, "figure"))
    return parts


def _legend(results: Results, width: int) -> str:
    parts = [_text(24, 30, "Answers a second", "head")]
    x = 24.0
    for index, clients in enumerate(results.clients):
        word = f"{clients} client{'s' if clients > 1 else ''}"
        parts.append(f'<rect x="{x}" y="46" width="11" height="11" fill="{OURS[min(index, 2)]}"/>')
        parts.append(
            f'<rect x="{x + 12}" y="46" width="11" height="11" fill="{OTHERS[min(index, 2)]}"/>'
        )
        parts.append(_text(x + 29, 56, word, "note"))
        x += 105
    parts.append(f'<line class="bound" x1="{x + 8}" y1="44" x2="{x + 8}" y2="60"/>')
    parts.append(_text(x + 16, 56, "the session alone, batches of 32, no server", "note"))
    return "\n".join(parts)


def _height(results: Results, maps: bool) -> int:
    count = len(results.cells(PAYLOADS[0], maps))
    groups = count // len(results.clients)
    return PANEL_HEAD + count * BAR + groups * SERVER_GAP + 10


def _upright(kind: str, x: float, height: int) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{PANEL_HEAD - 8}" x2="{x:.1f}" y2="{height}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _document(width: int, height: int, parts: list[str]) -> str:
    style = (
        "text { font-family: system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #24292f }"
        " .head { font-size: 18px; font-weight: 600 } .title { font-size: 14px; font-weight: 600 }"
        " .name { font-size: 12px; text-anchor: end } .ours { font-weight: 600; fill: #0f5f8a }"
        " .figure { font-size: 10px; fill: #57606a } .note { font-size: 12px }"
        " .axis { stroke: #24292f } .bound { stroke: #c2410c; stroke-dasharray: 4 3 }"
    )
    size = f'width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size}>'
    back = f'<rect {size} fill="#ffffff"/>'
    return "\n".join([head, f"<style>{style}</style>", back, *parts, "</svg>", ""])
