"""The TypeScript SDK draws as the Python SDK does: its tests compare with kept goldens, and here
the goldens are compared with what the Python SDK draws today."""

import base64
import json
from typing import Any

import numpy as np

import overlay_goldens

AGAIN = "run `python tests/overlay_goldens.py`, then `npx vitest run` in clients/typescript"


def test_the_goldens_are_what_the_python_sdk_draws() -> None:
    kept = json.loads(overlay_goldens.PATH.read_text())
    today = json.loads(json.dumps(overlay_goldens.goldens()))
    assert kept.keys() == today.keys(), AGAIN
    for part in ("strengths", "paintings", "boxes"):
        assert [facts(one) for one in kept[part]] == [facts(one) for one in today[part]], AGAIN
    for old, new in zip(arrays(kept), arrays(today), strict=True):
        # Another build of numpy or Pillow may differ in the last bit, and so by one shade.
        assert np.abs(old.astype(float) - new).max() <= (1 if old.dtype == np.uint8 else 1e-6), (
            AGAIN
        )


def facts(golden: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in golden.items() if name not in ARRAYS}


def arrays(goldens: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
    texts = [(text, np.uint8) for text in goldens["tables"].values()]
    for one in goldens["strengths"] + goldens["paintings"]:
        texts += [(one[name], kind) for name, kind in ARRAYS.items() if name in one]
    return [np.frombuffer(base64.b64decode(text), kind) for text, kind in texts]


ARRAYS: dict[str, Any] = dict.fromkeys(("data", "times", "uniform", "minmax"), "<f4")
ARRAYS |= dict.fromkeys(("smooth", "hard"), np.uint8)
