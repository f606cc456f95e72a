"""`attnvgg predict` over a folder, against the real gateway process."""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COMMAND = [sys.executable, "-c", "from attnvgg_client._cli import main; exit(main())", "predict"]
COUNT = 240


def fill(folder: Path) -> None:
    random = np.random.default_rng(5)
    for number in range(COUNT):
        path = folder / "pictures" / f"{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    (folder / "pictures" / "1" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def rows(path: Path) -> list[dict[str, Any]]:
    """Without what is new in every run; probabilities are of batches that were put together
    otherwise, whose last bits may differ."""
    with path.open(newline="", encoding="utf-8") as file:
        found = [row for row in csv.DictReader(file) if row.pop("request_id")]
    return [
        {
            name: round(float(value), 5) if name.startswith("probability") and value else value
            for name, value in row.items()
        }
        for row in found
    ]


def test_a_killed_run_over_a_folder_is_continued(gateway: str, tmp_path: Path) -> None:
    fill(tmp_path)
    arguments = ["pictures", "--url", gateway, "--out"]
    process = subprocess.Popen(
        [*COMMAND, *arguments, "a.csv", "--concurrency", "1"], cwd=tmp_path, stderr=subprocess.PIPE
    )
    part, end = tmp_path / "a.csv.part", time.monotonic() + 60
    while time.monotonic() < end and not (part.exists() and part.stat().st_size):
        time.sleep(0.001)
    with process:
        process.kill()
    assert not (tmp_path / "a.csv").exists()
    for name in ("a.csv", "b.csv"):
        assert run(tmp_path, *arguments, name).returncode == 1  # one picture is broken
    first, second = rows(tmp_path / "a.csv"), rows(tmp_path / "b.csv")
    assert first == second
    assert len(first) == COUNT + 1
    assert [row["file"] for row in first if row["error"] == "invalid_image"] == [
        "pictures/1/broken.jpg"
    ]


def test_maps_and_overlays_of_a_folder(gateway: str, tmp_path: Path) -> None:
    fill(tmp_path)
    found = run(
        tmp_path,
        *["pictures", "--url", gateway, "--out", "a.jsonl"],
        *["--attention", "--overlay", "overlays", "--quiet"],
    )
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == sorted(
        f"pictures/{path.relative_to(tmp_path / 'pictures')}"
        for path in (tmp_path / "pictures").rglob("*.*")
    )
    assert sum("attention" in line for line in lines) == COUNT
    assert len(list((tmp_path / "overlays" / "0").glob("*.overlay.png"))) == 80
