"""--dry-run: facts, memory and expected times from real steps, and nothing written."""

import re
from contextlib import closing
from pathlib import Path

import pytest
import torch

from attnvgg_training import data, dry_run, models, recipes
from attnvgg_training.begin import Request, make
from attnvgg_training.distributed import World
from attnvgg_training.dry_run import Watch
from training_support import SHAPES, TINY, train


def test_it_says_what_a_run_would_take_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(run, "--dry-run") == 0
    text = capsys.readouterr().out
    model = models.build(recipes.read(TINY).model, 3)
    assert f"{models.parameters(model)} parameters" in text
    assert "72 training and 24 test pictures, 3 classes" in text
    size = models.parameters(model) * 4 / 1e6
    assert f"gradients {size:.1f} MB" in text
    for part in (
        r"^memory: weights \d.* \(exact\)$",
        r"^activations: \d.* \(estimated: ",
        r"^pictures: 0\.3 MB \(exact\)$",
        r"^peak of the process: \d.* \(measured; ",
        r"^step: \d.*, \d+ pictures a second \(measured, median of 20\)$",
        r"^epoch: \d.* expected: 9 steps of 8 pictures, \d.* for the test$",
        r"^run: \d.* expected: 12 epochs, and once \d",
    ):
        assert re.search(part, text, re.MULTILINE), part
    assert not run.exists()


def test_it_says_what_would_be_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run", "--dry-run", "--batch-size", "100") == 2
    assert "--batch-size is 100, but there are only 72" in capsys.readouterr().err


def test_epochs_whose_maps_are_kept_are_measured_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", "--dry-run", "--keep-maps", "0.3") == 0
    text = capsys.readouterr().out
    assert re.search(r"^step, maps kept: \d.*, \d+ pictures a second \(measured, ", text, re.M)
    assert re.search(r"^epoch, maps kept: \d.* expected: the last 9 epochs$", text, re.M)
    weights = models.build(recipes.read(TINY).model, 3).state_dict()
    size = sum(value.nbytes for value in weights.values()) / 1e6
    assert f", teacher {size:.1f} MB (exact)" in text
    assert train(tmp_path / "run", "--dry-run", "--keep-maps", "0.3", "--epochs", "1") == 0
    assert "maps kept" not in capsys.readouterr().out


def test_a_run_takes_longer_by_the_epochs_whose_maps_are_kept() -> None:
    recipe = recipes.read(TINY, {"keep_maps": "0.3"})
    request = Request(recipe, str(SHAPES), Path("never"), torch.device("cpu"))
    with closing(make(request, data.load(str(SHAPES), recipe.data), World())) as trainer:
        usual = Watch(trainer.device, begun=0.0, ends=[100.0, 200.0, 300.0])
        later = Watch(trainer.device, begun=0.0, ends=[900.0, 1900.0, 2300.0])
        text = "\n".join(dry_run._times(trainer, usual, later))
    # 9 steps an epoch; 3 epochs of steps of 100 s, 9 of 400 s
    assert re.search(r"^run: (9\.8|9\.7) h expected: 12 epochs", text, re.M)
    assert re.search(r"^epoch, maps kept: 60\.\d min expected", text, re.M)


def kept(**settings: str) -> float:
    recipe = recipes.read(TINY, settings)
    request = Request(recipe, str(SHAPES), Path("never"), torch.device("cpu"))
    lines = dry_run.dry_run(request, World())
    found = re.search(r"activations: ([\d.]+) MB", "\n".join(lines))
    assert found
    return float(found[1])


def test_activations_grow_with_the_batch_and_shrink_with_its_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dry_run, "MEASURED", 1)
    small, large = kept(batch_size="8"), kept(batch_size="32")
    assert large == pytest.approx(4 * small, rel=0.05)
    assert kept(batch_size="32", accumulate="4") == pytest.approx(small, rel=0.05)
    # 32 x 32 x (3 + 2 x 8) float32, two convolutions with their batch norms, at least
    assert small > 8 * 32 * 32 * (3 + 2 * 2 * 8) * 4 / 1e6


def test_the_first_steps_are_not_measured() -> None:
    watch = Watch(torch.device("cpu"), begun=0.0, ends=[70.0, 71.0, 71.5, 72.0])
    assert watch.first == 70.0
    assert watch.measured == [0.5, 0.5]
    assert Watch(torch.device("cpu"), begun=0.0, ends=[70.0]).measured == [70.0]
