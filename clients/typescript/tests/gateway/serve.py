"""The real gateway for the tests of the TypeScript SDK, and what the Python SDK makes of it.

Serves $ATTNVGG_TEST_MODELS, or the released models, to whoever has the key. Prints one line of JSON
(url, key, photos; the Python SDK's answers as `golden`, and its classes of `errors` by their codes)
and ends when its standard input does.
"""

import base64
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[4]
sys.path.insert(0, str(ROOT / "tests"))

from attnvgg_client import Client, ItemError, Prediction, _errors  # noqa: E402
from attnvgg_serving import keys  # noqa: E402
from support import running  # noqa: E402

PHOTOS = sorted((ROOT / "export" / "attnvgg_export" / "photos").glob("*.jpg"))
FORMATS: tuple[Literal["f32", "f16", "u8"], ...] = ("f32", "f16", "u8")


def main() -> None:
    """See above."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    models = Path(os.environ.get("ATTNVGG_TEST_MODELS", ROOT / "models"))
    with tempfile.TemporaryDirectory() as folder:
        key, line = keys.generate()
        (Path(folder) / "keys").write_text(f"tester {line}\n")
        settings = {"ATTNVGG_API_KEYS": f"{folder}/keys", "ATTNVGG_TRUST_LOOPBACK": "false"}
        with running(models, Path(folder), **settings) as server:
            ready: dict[str, Any] = {
                "url": server.url,
                "key": key,
                "photos": [str(path) for path in PHOTOS],
            }
            ready["golden"] = golden(server.url, key)
            ready["errors"] = {code: kind.__name__ for code, kind in _errors._BY_CODE.items()}
            sys.stdout.write(json.dumps(ready) + "\n")
            sys.stdout.flush()
            sys.stdin.read()


def golden(url: str, key: str) -> list[dict[str, Any]]:
    """Every photo's prediction in every format of the maps."""
    found = []
    with Client(url, api_key=key) as client:
        for form in FORMATS:
            answers = client.predict_batch(PHOTOS, return_attention=True, attention_format=form)
            for path, answer in zip(PHOTOS, answers, strict=True):
                assert not isinstance(answer, ItemError)
                found.append({"photo": str(path), "format": form, **plain(answer)})
    return found


def plain(prediction: Prediction) -> dict[str, Any]:
    """As JSON, the maps with every bit: little-endian float32 in base64."""
    maps = prediction.attention or {}
    return {
        "label": prediction.label,
        "index": prediction.index,
        "topK": [vars(score) for score in prediction.top_k],
        "model": vars(prediction.model),
        "input": vars(prediction.input),
        "attention": {
            level: {
                "shape": attention.shape,
                "data": base64.b64encode(attention.astype("<f4").tobytes()).decode(),
            }
            for level, attention in maps.items()
        },
    }


if __name__ == "__main__":
    main()
