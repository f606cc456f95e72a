"""A training run's configuration: frozen dataclasses, checked when they are made.

recipes.py fills them from TOML and flags; the text below a field is its help.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from attnvgg_bundle.preprocess import FILTERS, GEOMETRIES
from attnvgg_training.checks import at_least, between, one_of
from attnvgg_training.errors import ConfigError
from attnvgg_training.models import ModelConfig


@dataclass(frozen=True)
class DataConfig:
    """How pictures become the network's input."""

    image_size: int = 32
    """height and width of the input"""
    geometry: Literal["stretch", "center-crop"] = "stretch"
    """how a picture of other proportions is brought to the input size"""
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bicubic"
    """Pillow's filter for it"""
    holdout: float = 0.1
    """part of the training pictures to test on, where the data set has no test split"""
    subset: int = 0
    """train on so many of the training pictures, of each class its share; 0 takes all"""
    permute_labels: bool = False
    """deal the training pictures' labels out at random: a network that can only learn by heart"""
    memory: Literal["auto", "device", "workers"] = "auto"
    """device holds all pictures there as uint8; workers read files as they are needed; auto takes
    the first where they need 2 GiB or less"""
    skip_unreadable: bool = False
    """leave out pictures that cannot be read, with a warning for each, instead of stopping"""
    crop_to_box: bool = False
    """cut pictures to the box around their object, where the data set has boxes (CUB-200-2011)"""
    image_column: str = ""
    """of a parquet file: the pictures; found by its type where it is not given"""
    label_column: str = ""
    """of a parquet file: the classes; found by its type where it is not given"""
    flip: bool = True
    """mirror every picture in every other epoch"""
    shift: int = 4
    """move a picture by up to this many pixels each way, its border reflected"""
    zoom: float = 1.0
    """shrink or enlarge half of the pictures by up to this factor; 1 turns it off"""
    cutout: int = 0
    """side of a square of mean colour laid over each picture; 0 turns it off"""

    def __post_init__(self) -> None:
        at_least("image-size", self.image_size, 8)
        one_of("geometry", self.geometry, GEOMETRIES)
        one_of("filter", self.filter, tuple(FILTERS))
        between("holdout", self.holdout, 0.01, 0.5)
        at_least("subset", self.subset, 0)
        one_of("memory", self.memory, ("auto", "device", "workers"))
        between("shift", self.shift, 0, self.image_size // 2)
        between("zoom", self.zoom, 1, 4)
        between("cutout", self.cutout, 0, self.image_size)


@dataclass(frozen=True)
class TrainConfig:
    """The optimizer, its schedule, and how a step is computed."""

    epochs: int = 30
    """passes over the training pictures"""
    batch_size: int = 128
    """pictures a step, over all processes; an incomplete last batch is left out"""
    accumulate: int = 1
    """parts in which a step's pictures are computed, one after the other, to save memory"""
    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    """SGD, AdamW, or Muon for the kernels behind the first convolution and SGD for the rest"""
    lr: float = 0.1
    """the highest learning rate"""
    momentum: float = 0.9
    """of SGD"""
    nesterov: bool = True
    """Nesterov's momentum"""
    dampening: float = 0.0
    """of SGD's momentum; the official code's lr 1 has 0.9, which is lr 0.1 without"""
    weight_decay: float = 5e-4
    """on the weights of convolutions and linear layers"""
    muon_lr: float = 0.05
    """the highest learning rate of Muon's kernels; lr is that of the rest"""
    muon_decay: float = 0.1
    """weight decay of Muon's kernels; weight_decay is that of the rest"""
    shift_rate: float = 1.0
    """how many times as fast as the rest the shifts of batch norms learn"""
    decay_all: bool = False
    """weight decay on batch norm, biases and u as well, as the official code has it"""
    schedule: Literal["one-cycle", "cosine", "step"] = "one-cycle"
    """one-cycle rises and falls along a cosine, step changes at the milestones"""
    warmup: float = 0.2
    """part of the run in which the learning rate rises; with cosine and step linearly"""
    milestones: tuple[int, ...] = ()
    """of the step schedule: the epochs after which the learning rate changes"""
    factors: tuple[float, ...] = (0.5,)
    """by what it is multiplied there: one for all milestones, or one for each"""
    label_smoothing: float = 0.0
    """part of the target spread over all classes; the maps learn from targets without it"""
    level_loss: float = 0.0
    """weight of the loss of each level's answer by itself, beside that of all together; 0 turns it
    off"""
    learn_maps: bool = True
    """false holds u at zero, so that every map stays even: the control for what the maps buy"""
    keep_maps: float = 0.0
    """part of the epochs, at least one, after which the maps are held near those of then; 0 lets
    them go"""
    mixup: float = 0.0
    """alpha of mixup; 0 turns it off"""
    cutmix: float = 0.0
    """alpha of cutmix; 0 turns it off; with mixup too, each takes half of the steps"""
    clip: float = 0.0
    """largest norm of the gradients; 0 turns clipping off"""
    ema: float = 0.998
    """decay a step of the averaged weights that are tested and saved; 0 turns averaging off"""
    amp: Literal["off", "bf16", "fp16"] = "off"
    """bf16 and fp16 run convolutions in 16 bits; attention and loss stay in float32"""
    channels_last: bool = True
    """memory layout of the pictures; faster for convolutions"""
    compile: bool = False
    """torch.compile the network: half a minute at first, not always faster; needs a C++ compiler"""
    seed: int = 0
    """everything random is a function of it, the epoch, the step and the picture"""
    keep: int = 2
    """epochs to keep on disk beside the best"""
    save_minutes: float = 10.0
    """save within an epoch too, this often; 0 saves at the end of epochs only"""

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("keep", self.keep, 1)
        at_least("batch_size", self.batch_size, 2)  # batch norm needs two
        at_least("accumulate", self.accumulate, 1)
        between("lr", self.lr, 1e-8, 100)
        between("muon-lr", self.muon_lr, 1e-8, 100)
        between("weight-decay", self.weight_decay, 0, 1)
        between("muon-decay", self.muon_decay, 0, 1)
        between("shift-rate", self.shift_rate, 0.01, 1000)
        for name in ("warmup", "momentum", "dampening", "ema", "keep_maps"):
            between(name, getattr(self, name), 0, 0.99999)
        between("label_smoothing", self.label_smoothing, 0, 0.5)
        for name in ("level_loss", "mixup", "cutmix", "clip", "save_minutes"):
            at_least(name, getattr(self, name), 0)
        one_of("amp", self.amp, ("off", "bf16", "fp16"))
        one_of("optimizer", self.optimizer, ("sgd", "adamw", "muon"))
        one_of("schedule", self.schedule, ("one-cycle", "cosine", "step"))
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.batch_size % self.accumulate or self.batch_size < 2 * self.accumulate:
            raise ConfigError(
                f"--accumulate is {self.accumulate}; --batch-size, {self.batch_size}, must be a "
                "multiple of it and give at least two pictures a part"
            )
        if self.optimizer != "adamw" and self.nesterov and (self.dampening or not self.momentum):
            raise ConfigError(
                f"--nesterov is true with --momentum {self.momentum} and --dampening "
                f"{self.dampening}; it needs a momentum and no dampening"
            )
        self._check_milestones()

    def _check_milestones(self) -> None:
        given, factors = self.milestones, self.factors
        if self.schedule == "step" and not given:
            raise ConfigError("--milestones is empty; the step schedule needs at least one")
        if list(given) != sorted(set(given)) or min(given, default=1) < 1:
            raise ConfigError(f"--milestones is {given}; it must be rising epochs from 1")
        if len(factors) not in (1, len(given)) or min(factors, default=0) <= 0:
            raise ConfigError(
                f"--factors is {factors}; it must be one positive number, or one for each of the "
                f"{len(given)} milestones"
            )


@dataclass(frozen=True)
class Config:
    """The three sections of a recipe."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        self._check_maps()
        if self.data.image_size % self.model.multiple:
            raise ConfigError(
                f"--image-size is {self.data.image_size}; the pools of {self.model.name} need a "
                f"multiple of {self.model.multiple}"
            )

    def _check_maps(self) -> None:
        model, train = self.model, self.train
        if train.level_loss and not model.entry.levels:
            raise ConfigError(
                f"--level-loss is {train.level_loss}, but {model.name} has no levels; it must be 0"
            )
        if train.keep_maps and (not model.entry.levels or model.normalisation != "softmax"):
            raise ConfigError(
                f"--keep-maps is {train.keep_maps}, but {model.name} has no maps of softmax to "
                "hold; it must be 0"
            )
        if train.learn_maps:
            return
        if train.keep_maps:
            raise ConfigError(
                f"--keep-maps is {train.keep_maps}, but with --learn-maps false there is nothing "
                "to hold; it must be 0"
            )
        if not model.entry.levels or model.compatibility != "pc":
            raise ConfigError(
                f"--learn-maps is false, but {model.name} has no u to hold at zero; it must be true"
            )
        if model.initial_scale or model.initialisation == "official":
            raise ConfigError(
                f"--learn-maps is false, but with --initialisation {model.initialisation} and "
                f"--initial-scale {model.initial_scale} u does not start at zero"
            )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values, as JSON holds them."""
        plain: dict[str, dict[str, Any]] = json.loads(json.dumps(asdict(self)))
        return plain
