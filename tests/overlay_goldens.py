"""What the Python SDK draws, kept for the tests of the TypeScript SDK: both must draw the same.

`python tests/overlay_goldens.py` writes the file anew; a contract test says when it is stale.
"""

import base64
import json
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attnvgg_client import _colors, _overlay
from attnvgg_client._prediction import Input
from support import ROOT

PATH = ROOT / "clients" / "typescript" / "tests" / "overlay.golden.json"
SIZES = [(20, 14), (7, 9), (24, 1), (1, 1), (13, 23)]  # width, height; some shrink some maps
LOOKS = [(0.7, "ember"), (0.35, "tide"), (1.0, "grey"), (0.0, "ember")]  # alpha, colormap
BOXES = [  # picture, box: halves are rounded to even, and a pixel is left of anything
    ((20, 10), (0.0, 0.0, 20.0, 10.0)),
    ((20, 10), (5.0, 0.0, 15.0, 10.0)),
    ((21, 11), (0.5, 1.5, 18.5, 9.5)),
    ((9, 30), (0.0, 10.49, 9.0, 19.51)),
    ((6, 6), (5.8, 5.9, 6.0, 6.0)),
    ((6, 6), (2.4, 3.2, 2.45, 3.3)),
]


def goldens() -> dict[str, Any]:
    """Plain JSON; arrays are base64 of uint8 or of little-endian float32, rows first."""
    looks = cycle((size, *look) for size in SIZES for look in LOOKS)
    return {
        "tables": {name: encoded(_colors.table(name)) for name in _colors.ANCHORS},
        "strengths": [strengths(name, cells) for name, cells in maps().items()],
        "paintings": [
            painting(name, scale, *next(looks))
            for name in maps()
            for scale in ("uniform", "minmax")
            for _ in range(3)
        ],
        "boxes": [{"picture": size, "box": box, "drawn": drawn(size, box)} for size, box in BOXES],
    }


def maps() -> dict[str, NDArray[np.float32]]:
    """[h, w] of every kind that a network may give, and some that it should not."""
    random = np.random.default_rng(8)
    softmax = np.exp(random.normal(0, 2, (4, 5)))
    kinds = {
        "softmax": softmax / softmax.sum(),
        "sigmoids": random.uniform(0, 1, (3, 3)),
        "zeros": np.zeros((2, 3)),
        "even": np.full((2, 2), 0.25),
        "one cell": np.ones((1, 1)),
        "one-hot": np.eye(1, 64, 27).reshape(8, 8),
        "negative": random.normal(0, 1, (2, 4)),
        "fine": random.dirichlet(np.ones(20 * 30)).reshape(20, 30),
    }
    return {name: cells.astype(np.float32) for name, cells in kinds.items()}


def strengths(name: str, cells: NDArray[np.float32]) -> dict[str, Any]:
    return {
        "map": name,
        "shape": cells.shape,
        "data": encoded(cells),
        "times": encoded(_overlay.times_uniform(cells)),
        "uniform": encoded(_overlay.strengths(cells, "uniform")),
        "minmax": encoded(_overlay.strengths(cells, "minmax")),
    }


def painting(
    name: str, scale: _overlay.Scale, size: tuple[int, int], alpha: float, colormap: str
) -> dict[str, Any]:
    """Colours and cover, as they are laid over a picture: smooth, and cell by cell."""
    cells = _overlay.strengths(maps()[name], scale)
    rows, columns = (
        (2 * np.arange(wanted) + 1) * there // (2 * wanted)  # the cell under a pixel's centre
        for wanted, there in zip(size[::-1], cells.shape, strict=True)
    )
    asked = {"map": name, "scale": scale, "size": size, "alpha": alpha, "colormap": colormap}
    return asked | {
        "smooth": rgba(_overlay._enlarge(cells, *size), alpha, colormap),
        "hard": rgba(cells[rows][:, columns], alpha, colormap),
    }


def rgba(strength: NDArray[np.float32], alpha: float, colormap: str) -> str:
    colours = np.asarray(_overlay._paint(strength, _colors.table(colormap)))
    cover = np.asarray(_overlay._cover(strength, alpha))
    return encoded(np.dstack([colours, cover]))


def drawn(size: tuple[int, int], box: tuple[float, ...]) -> list[int]:
    """The pixels x0, y0, x1, y1 that a map over this box changes."""
    picture = Image.new("RGB", size, (0, 255, 0))
    options = _overlay.Options(alpha=1.0, colormap="grey", scale="uniform")
    over = _overlay.draw(picture, np.ones((2, 2), np.float32), Input(*size, box), options)  # type: ignore[arg-type]
    rows, columns = np.nonzero((np.asarray(over) != np.asarray(picture)).any(axis=2))
    return [
        int(side) for side in (*(columns.min(), rows.min()), *(columns.max() + 1, rows.max() + 1))
    ]


def encoded(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


if __name__ == "__main__":
    PATH.write_text(json.dumps(goldens(), indent=1) + "\n")
