"""The networks that have a name, and the settings that each of them lacks.

TRUNK-attN-AGGREGATION-COMPATIBILITY: N levels, counted from the deepest; one level has nothing to
average, and is concat. VGG-control is the attention networks' trunk and head without attention, and
ResNet-164 that of its own; VGG-GAP and VGG-16-BN stand in baselines.py.
"""

from dataclasses import dataclass
from typing import Literal

from attnvgg_training.attention import Compatibility
from attnvgg_training.network import Aggregation

Kind = Literal["vgg", "vgg-16", "gap", "resnet"]

SCORING = frozenset({"normalisation", "projection", "tap", "initial_scale"})
VGG_TRUNK = frozenset(
    {"widths", "pools", "dropout", "depths", "pool_sizes", "residual", "tap"},
)
HEAD = frozenset({"head_dropout", "head_norm"})


@dataclass(frozen=True)
class Entry:
    """What a name says: the kind of network, its levels, what is done with them."""

    kind: Kind
    levels: int = 0
    aggregation: Aggregation = "concat"
    compatibility: Compatibility = "pc"

    @property
    def lacks(self) -> frozenset[str]:
        """The settings of ModelConfig that this network does not have."""
        lacks = frozenset() if self.levels else SCORING
        if self.kind == "resnet":
            lacks |= VGG_TRUNK if self.levels else VGG_TRUNK | HEAD
        if self.kind == "gap":
            lacks |= HEAD | {"global_feature"}
        if self.levels and self.compatibility == "dp":
            lacks |= {"initial_scale"}
        return lacks


def _attention(trunk: str, kind: Kind, most: int) -> dict[str, Entry]:
    aggregations: tuple[Aggregation, ...] = ("concat", "indep")
    compatibilities: tuple[Compatibility, ...] = ("pc", "dp")
    return {
        f"{trunk}-att{levels}-{aggregation}-{compatibility}": Entry(
            kind, levels, aggregation, compatibility
        )
        for levels in range(most, 0, -1)
        for aggregation in aggregations
        for compatibility in compatibilities
        if levels > 1 or aggregation == "concat"
    }


NETWORKS: dict[str, Entry] = {
    **_attention("VGG", "vgg", 3),
    "VGG-control": Entry("vgg"),
    "VGG-GAP": Entry("gap"),
    "VGG-16-BN": Entry("vgg-16"),
    **_attention("ResNet-164", "resnet", 2),
    "ResNet-164": Entry("resnet"),
}
