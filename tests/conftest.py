"""What every kind of test shares: a tiny bundle, and the real gateway serving it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import ROOT, changed_checkpoint, running

if TYPE_CHECKING:
    import torch

# Tiny networks: a second thread costs more than it gives, and two cores are often busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHAPES = ROOT / "tests" / "data" / "shapes"
LABELS = ("circle", "square", "triangle")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained network whose maps are far from uniform."""
    import torch

    from attnvgg_training import checkpoint, data, loop, models, recipes

    recipe = recipes.read(ROOT / "training" / "configs" / "tiny.toml")
    dataset = data.load(SHAPES, recipe.data)
    mean, std = dataset.statistics()
    torch.manual_seed(0)
    model = models.build(recipe.model, len(LABELS))
    for name, parameter in model.named_parameters():
        if name.endswith(".u"):
            torch.nn.init.normal_(parameter)
    for _ in range(3):  # batch norm gets statistics of its own
        model(loop.normalise(dataset.train.images, mean, std))
    metrics = {"epoch": 0, "test_accuracy": 0.0, "seconds": 0.0}
    facts = {"name": "shapes", "train": 72, "test": 24, "fingerprint": dataset.fingerprint()}
    record = checkpoint.Record(recipe, LABELS, mean, std, metrics, facts)
    run = tmp_path_factory.mktemp("run")
    return checkpoint.save(run, 0, model.state_dict(), record, {})


@pytest.fixture(scope="session")
def gentle_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with maps nearer to uniform, as training makes them: they survive 8 bits."""

    def calm(weights: "dict[str, torch.Tensor]") -> None:
        for name, value in weights.items():
            if name.endswith(".u"):
                value *= 0.3

    return changed_checkpoint(tiny_checkpoint, tmp_path_factory.mktemp("gentle"), calm)


@pytest.fixture(scope="session")
def tiny_models(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder: models/default and the bundle models/tiny/1."""
    from attnvgg_export.build import build

    models = tmp_path_factory.mktemp("models")
    build(tiny_checkpoint, models / "tiny" / "1")
    (models / "default").write_text("tiny\n")
    return models


@pytest.fixture(scope="session")
def gateway(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real `bentoml serve` process with the tiny bundle."""
    with running(tiny_models, tmp_path_factory.mktemp("bentoml")) as server:
        yield server.url


@pytest.fixture(scope="session")
def triton_environment() -> Path:
    """Triton, in an environment without our packages; skipped where it cannot be had."""
    import triton_server

    try:
        return triton_server.triton_environment()
    except triton_server.NoTriton as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no Triton here: {error}")
