"""The lines of `attnvgg predict`: JSON and CSV that give back exactly what went in."""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnvgg_client import ItemError, Prediction, Score, _cli
from attnvgg_client._cli_formats import Csv, JsonLines

Output = pytest.CaptureFixture[bytes]
NAMES = [
    b"a, b.jpg",
    b'"quoted".jpg',
    b"line\nfeed.jpg",
    b"carriage\rreturn.jpg",
    b'both\r\n,".jpg',
    b"latin-\xe9.jpg",
    b"\xff\xfe.jpg",
    "günther 图 \U0001f408.jpg".encode(),
    b" spaces .jpg",
    b"-dash.jpg",
    b"{}[]'\\.jpg",
]


@pytest.fixture
def folder(photo: bytes, tmp_path: Path) -> Path:
    for name in NAMES:
        try:
            (tmp_path / os.fsdecode(name)).write_bytes(photo + b"damaged" * (name == NAMES[2]))
        except OSError:
            pytest.skip("this file system has no such names")
    return tmp_path


def written(folder: Path, capture: Output, fake_url: str, *flags: str) -> bytes:
    assert _cli.main(["predict", str(folder), "--url", fake_url, *flags]) == 1
    assert capture.readouterr().err.count(b"\n") == 1
    assert _cli.main(["predict", str(folder), "--url", fake_url, *flags, "--out", f"{folder}.o"])
    capture.readouterr()
    return Path(f"{folder}.o").read_bytes()


def wanted(folder: Path) -> list[str]:
    return sorted(os.path.join(folder, os.fsdecode(name)) for name in NAMES)


def test_any_name_survives_csv(
    folder: Path, fake_url: str, capsysbinary: Output, fake: Any
) -> None:
    assert _cli.main(["predict", str(folder), "--url", fake_url, "--csv"]) == 1
    out = capsysbinary.readouterr().out
    assert written(folder, capsysbinary, fake_url, "--csv") == out
    stream = io.TextIOWrapper(io.BytesIO(out), "utf-8", errors="surrogateescape", newline="")
    rows = list(csv.DictReader(stream, strict=True))
    assert [row["file"] for row in rows] == wanted(folder)
    assert {None} not in [set(row) for row in rows]
    good, (bad,) = [r for r in rows if not r["error"]], [r for r in rows if r["error"]]
    assert os.fsencode(bad["file"]).endswith(NAMES[2])
    assert (bad["error"], bad["message"], bad["label"]) == ("invalid_image", "damaged", "")
    assert good[0] == {
        "file": wanted(folder)[0],
        **{"label": "circle", "index": "0", "probability": "0.75"},
        **{"label_2": "square", "probability_2": "0.25"},
        **{f"{what}_{n}": "" for n in (3, 4, 5) for what in ("label", "probability")},
        **{"model": "tiny", "version": "1", "sha256": "ab" * 32, "provider": "cpu"},
        **{"width": "40", "height": "30", "request_id": "r-1", "error": "", "message": ""},
    }


def test_the_columns_are_these(photo_path: Path, fake_url: str, capsysbinary: Output) -> None:
    arguments = ["predict", str(photo_path), "--url", fake_url, "--csv", "--top-k"]
    for top_k, more in (("1", ""), ("3", "label_2,probability_2,label_3,probability_3,")):
        assert _cli.main([*arguments, top_k]) == 0
        assert capsysbinary.readouterr().out.splitlines()[0].decode() == (
            f"file,label,index,probability,{more}model,version,sha256,provider,width,height,"
            "request_id,error,message"
        )


def test_any_name_survives_json(folder: Path, fake_url: str, capsysbinary: Output) -> None:
    assert _cli.main(["predict", str(folder), "--url", fake_url, "--json"]) == 1
    out = capsysbinary.readouterr().out
    assert out.isascii()
    shown = [json.loads(line) for line in out.splitlines()]
    assert [values["file"] for values in shown] == wanted(folder)
    lines = written(folder, capsysbinary, fake_url, "--json").splitlines()
    for values, line in zip(shown, lines, strict=True):
        # What is kept can be compared with what another run keeps.
        assert set(values) - set(json.loads(line)) == ({"timings_ms"} & set(values))


def test_what_a_json_line_holds(predicted: Callable[..., Prediction], photo_path: Path) -> None:
    prediction = predicted(photo_path)
    values = json.loads(JsonLines(maps=False, top_k=5).encode("f", prediction))
    assert list(values) == [
        *["file", "label", "index", "probability", "top_k", "model", "input", "request_id"]
    ]
    error = ItemError("invalid_image", "damaged", 3, "r-9")
    assert json.loads(JsonLines(maps=True, top_k=5).encode("f", error)) == {
        "file": "f",
        "error": {"code": "invalid_image", "message": "damaged"},
        "request_id": "r-9",
    }


def test_a_label_that_is_no_text_does_not_end_the_run(
    predicted: Callable[..., Prediction], photo_path: Path
) -> None:
    strange = predicted(photo_path, label="\ud800", top_k=(Score("\ud800", 0, 0.5),))
    row = Csv(1).encode("f", strange)
    assert row.startswith(b"f,\\ud800,0,")
    assert Csv(1).decode(row)[0] == "f"


def test_kept_lines_can_be_read_again(
    predicted: Callable[..., Prediction], photo_path: Path
) -> None:
    for form in (Csv(3), JsonLines(maps=False, top_k=3)):
        for name in map(os.fsdecode, NAMES):
            line = form.encode(name, predicted(photo_path))
            assert form.whole(line)
            found, traits = form.decode(line)
            assert found == name
            assert traits == form.traits(predicted(photo_path))
            found, traits = form.decode(form.encode(name, ItemError("c", 'a\n"b"\r\n', 0)))
            assert (found, traits) == (name, None)
