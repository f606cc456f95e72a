"""What is measured; shared by the command, the contenders and the document. No torch here."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "training" / "configs" / "cifar10-wide.toml"
NETWORKS = ("wide", "full", "tiny")
PLAIN, PLAIN_ALONE = "plain loop", "plain loop, no workers"
ENGINE = "engine"
NO_BF16, NO_CHANNELS_LAST = "engine, float32", "engine, contiguous memory"
COMPILED, FILES = "engine, compiled", "engine, PNG files read by workers"

# What a contender's arithmetic is, whose peak it is held against.
DATATYPE = {
    PLAIN: "fp32",
    PLAIN_ALONE: "fp32",
    ENGINE: "bf16",
    NO_BF16: "fp32",
    NO_CHANNELS_LAST: "bf16",
    COMPILED: "bf16",
    FILES: "bf16",
}


@dataclass(frozen=True)
class Case:
    """How one network is measured. batch: pictures a step. steps: timed in each round."""

    network: str
    batch: int
    steps: int
    rounds: int
    contenders: tuple[str, ...]

    @property
    def pictures(self) -> int:
        """Timed a round, the same for every contender."""
        return self.batch * self.steps


def case(network: str, device: str, quick: bool) -> Case:
    """A full-size step of 128 pictures would take half a minute on two cores: there it has 16."""
    if quick:
        # Compiling takes longer than everything else of a quick run.
        chosen = tuple(each for each in DATATYPE if each != COMPILED)
        return Case(network, batch=8, steps=2, rounds=2, contenders=chosen)
    if device == "cuda":
        return Case(network, batch=128, steps=64, rounds=5, contenders=tuple(DATATYPE))
    if network == "full":
        return Case(network, batch=16, steps=6, rounds=3, contenders=tuple(DATATYPE))
    return Case(network, batch=128, steps=10, rounds=5, contenders=tuple(DATATYPE))
