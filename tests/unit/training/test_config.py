"""A recipe is TOML plus flags; what is wrong is named with its flag and its value."""

from pathlib import Path

import pytest

from attnvgg_training import recipes
from attnvgg_training.config import TrainConfig
from attnvgg_training.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text('[model]\nname = "VGG-att2-concat-pc"\n[train]\nepochs = 7\nlr = 1\n')
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid_and_survives_a_checkpoint(path: Path) -> None:
    read = recipes.read(path)
    assert recipes.from_dict(read.to_dict()) == read


def test_flags_override_the_file_which_overrides_the_defaults(recipe: Path) -> None:
    read = recipes.read(recipe, {"epochs": "3", "pools": "2,7", "compile": "true", "amp": "bf16"})
    assert (read.model.name, read.train.epochs, read.train.lr) == ("VGG-att2-concat-pc", 3, 1.0)
    assert (read.model.pools, read.train.compile, read.train.amp) == ((2, 7), True, "bf16")
    assert read.train.momentum == TrainConfig().momentum


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("epochs", "many", "--epochs is 'many'; it must be a whole number"),
        ("epochs", "2.5", "--epochs is 2.5"),
        ("epochs", "0", "--epochs is 0; it must be 1 or more"),
        ("batch_size", "1", "--batch-size is 1; it must be 2 or more"),
        ("lr", "0", "--lr is 0"),
        ("lr", "fast", "--lr is 'fast'; it must be a number"),
        ("factors", "0.5,x", "--factors is '.*'; it must be a list of numbers"),
        ("compile", "maybe", "--compile is 'maybe'; it must be true or false"),
        ("amp", "fp8", "--amp is 'fp8'; it must be one of off, bf16"),
        ("geometry", "squash", "--geometry is 'squash'"),
        ("muon_lr", "0", "--muon-lr is 0"),
        ("muon_decay", "2", "--muon-decay is 2"),
        ("shift_rate", "0", "--shift-rate is 0"),
        ("level_loss", "-1", "--level-loss is -1"),
        ("keep_maps", "1", "--keep-maps is 1"),
        ("pools", "2,x", "--pools is '.*'; it must be a list of whole numbers"),
        (
            "image_size",
            "36",
            "--image-size is 36; the pools of VGG-att2-concat-pc need a multiple of 32",
        ),
    ],
)
def test_a_wrong_flag_is_named(recipe: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipes.read(recipe, {name: text})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "VGG-control"}, "VGG-control has no u to hold at zero"),
        ({"name": "VGG-att2-concat-dp"}, "VGG-att2-concat-dp has no u to hold at zero"),
        ({"initial_scale": "0.5"}, "--initial-scale 0.5 u does not start at zero"),
        ({"initialisation": "official"}, "--initialisation official .* does not start at zero"),
    ],
)
def test_even_maps_need_a_u_that_starts_at_zero(
    recipe: Path, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"--learn-maps is false, but .*{message}"):
        recipes.read(recipe, {"learn_maps": "false", **settings})


def test_a_loss_of_levels_needs_levels(recipe: Path) -> None:
    control = {"name": "VGG-control", "level_loss": "0.5"}
    with pytest.raises(ConfigError, match=r"--level-loss is 0.5, but VGG-control has no levels"):
        recipes.read(recipe, control)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "VGG-control"}, "VGG-control has no maps of softmax to hold"),
        ({"normalisation": "sigmoid"}, "VGG-att2-concat-pc has no maps of softmax to hold"),
        ({"learn_maps": "false"}, "with --learn-maps false there is nothing to hold"),
    ],
)
def test_only_maps_that_are_there_can_be_kept(
    recipe: Path, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"--keep-maps is 0.5, but .*{message}"):
        recipes.read(recipe, {"keep_maps": "0.5", **settings})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nepoch = 3", r"unknown setting epoch in \[train\]; there are epochs,"),
        ("[trian]\n", r"unknown section \[trian\]"),
        ("train = 3", r"\[train\] is 3"),
        ("[train", "not valid TOML"),
        ('[train]\nepochs = "3"', "--epochs is '3'; it must be a whole number"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        recipes.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        recipes.read(tmp_path / "none.toml")


def test_every_setting_has_a_help_text() -> None:
    flags = recipes.flags()
    assert len(flags) > 20
    assert all(text for text, _ in flags.values())
