"""The commands of benchmarks/gpu/QUEUE.md that train: all of them, on the CPU, with little."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT

QUEUE = (ROOT / "benchmarks" / "gpu" / "QUEUE.md").read_text()
SHAPES = ROOT / "tests" / "data" / "shapes"
# Whatever the machine there lacks, or may lack. A None in sys.modules makes an import fail.
ABSENT = ("tensorboard", "pyarrow", "datasets", "huggingface_hub", "scipy", "pandas", "onnx")
ABSENT += ("onnxruntime", "onnxscript", "bentoml", "pydantic", "yaml", "httpx", "hypothesis")


def blocks(item: int) -> list[str]:
    """The commands of an item of the list."""
    text = QUEUE.split(f"\n{item}. **")[1].split(f"\n{item + 1}. **")[0]
    indented = re.findall(r"(?:^ {7}.*\n(?:^\n(?= {7}))?)+", text, re.M)
    return [re.sub(r"^ {7}", "", block, flags=re.M) for block in indented]


def shrunk(block: str, folder: Path) -> str:
    """The same on the CPU, with the tests' pictures and network, and files under `folder`."""
    replaced = {
        "cifar100-full.toml": "tiny.toml",
        "--device cuda": "--device cpu",
        "/tmp/": f"{folder}/",  # before those that name folders of ours
        "torchvision:CIFAR100@DIR": str(SHAPES),
        ".gpu/": f"{folder}/gpu/",
        "join OUT/": "join $OUT/",
        "export:training": f"export:training:{folder}/absent",
        "runs/cifar100-full": f"{folder}/joined",
        "--epochs $((epochs < 200 ? epochs : 200))": "--epochs 12",
    }
    for given, ours in replaced.items():
        block = block.replace(given, ours)
    return f"export OUT={folder}/out\n{block}"


def run(block: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-euc", block]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_the_first_item_runs_from_pictures_to_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "out").mkdir()
    shim = f"import sys\nsys.modules.update(dict.fromkeys({ABSENT}))\n"
    (tmp_path / "absent" / "sitecustomize.py").write_text(shim)
    pack, first, second, join = (shrunk(block, tmp_path) for block in blocks(1))
    assert "parts in 1 loads" in run(pack)
    run(first)
    trained = run(second)
    assert "96 pictures of 3 classes" in trained
    assert "tensorboard is not installed" in trained  # the shim is at work
    found = re.search(r"^at (\d+) pictures a second (\d+) epochs fit$", trained, re.M)
    assert found
    assert int(found[2]) == int(found[1]) * 360 // 50000
    assert "mean of each picture and its mirror image" in trained
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    again = run(second)  # cut off and sent once more: everything is there again
    assert "epoch 12/12: train" in trained
    assert "epoch 12/12: train" not in again
    assert "96 pictures of 3 classes" not in again
    out = tmp_path / "out"
    names = {path.name for path in out.rglob("*") if path.is_file()}
    assert names == {
        "evaluation.json",
        "metrics.csv",
        "part-0.safetensors",
        "parts.json",
        "checkpoint.json",
    }
    joined = run(join)
    rate = json.loads((out / "evaluation.json").read_text())["accuracy"]["rate"]
    assert rate >= 0.75  # chance is 0.33
    assert f"accuracy {100 * rate:.2f} %" in joined


@pytest.mark.parametrize("item", range(1, 6))
def test_commands_fit_and_name_what_exists(item: int) -> None:
    for block in blocks(item):
        assert len(block) < 2000
        for path in re.findall(r"(?:training|benchmarks)/[\w/-]+\.(?:py|toml)", block):
            assert (ROOT / path).is_file()


def test_the_order_is_kept() -> None:
    titles = re.findall(r"^\d+\. \*\*(.*?)\*\*", QUEUE, re.M)
    assert titles[0].startswith("The full VGG-att3-concat-pc on CIFAR-100")
    assert titles[1].startswith("The full VGG-att2-concat-pc on CIFAR-10,")
    assert titles[2:6] == [
        "The control of item 1",
        "The control of item 2",
        "Training speed.",
        "Engines on CUDA.",
    ]
    numbers = [int(n) for n in re.findall(r"^(\d+)\. \*\*", QUEUE, re.M)]
    assert numbers == list(range(1, len(numbers) + 1))
