"""The plan of a VGG trunk: how many convolutions of what width, and what follows each.

Convolutions are counted from 1 through six groups of one width each; the sixth has the width of
the fifth and serves the global feature alone. Everything else follows from that: levels tap the
last convolutions of the third to fifth group, and dropout stands wherever the official code has it
(after 1, 3, 5, 6, 8, 9, 11, 12, 14 and 15 of the paper's fifteen): behind each convolution that
another of its group follows, and behind each of the sixth group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Literal

from attnvgg_training.errors import ConfigError

Tap = Literal["before", "after"]


@dataclass(frozen=True)
class Trunk:
    """The plan; the paper's by default.

    widths: channels of the first five groups. pools: the convolutions that a max pool follows;
    none for the paper's, the last of groups 3, 4 and 5 and each of group 6. pool_sizes: sides of
    the pools, one for all or one for each. dropout: three quarters of it after the first
    convolution that has any, as the official code has .3 and then .4. depths: convolutions of the
    six groups.

    residual: in the first five groups, where they have three convolutions or more, the input of
    the last two is added to their output, after its ReLU and before the tap. That is ours, not the
    paper's. tap: before the pool that follows a level, as in the paper, or after it.

    Raises:
        ConfigError: a setting is out of range, or two of them do not go together.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    pools: tuple[int, ...] = ()
    dropout: float = 0.4
    depths: tuple[int, ...] = (2, 2, 3, 3, 3, 2)
    pool_sizes: tuple[int, ...] = (2,)
    residual: bool = False
    tap: Tap = "before"

    def __post_init__(self) -> None:
        if len(self.widths) != 5 or min(self.widths) < 1:
            raise ConfigError(f"--widths is {self.widths}; it must be five numbers of 1 or more")
        if len(self.depths) != 6 or min(self.depths[:5]) < 1 or self.depths[5] < 0:
            raise ConfigError(
                f"--depths is {self.depths}; it must be six numbers from 1; the sixth may be 0"
            )
        self._check_pools()
        clash = sorted(self.shortcuts & self.pooled.keys())
        if clash:
            raise ConfigError(
                f"--residual is true, but a pool follows convolution {clash[0]} (--pools "
                f"{self.pools}), between the two whose input is added to their output"
            )

    def _check_pools(self) -> None:
        last = sum(self.depths)
        if sorted(set(self.pools)) != list(self.pools) or not set(self.pools) <= set(
            range(1, last + 1)
        ):
            raise ConfigError(
                f"--pools is {self.pools}; it must be rising numbers from 1 to {last}, the number "
                f"of convolutions (--depths {self.depths})"
            )
        count = len(self._followed)
        if len(self.pool_sizes) not in (1, count) or min(self.pool_sizes) < 2:
            raise ConfigError(
                f"--pool-sizes is {self.pool_sizes}; it must be one number of 2 or more, or one "
                f"for each of the {count} pools"
            )

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The last convolution of each group, (2, 4, 7, 10, 13, 15) in the paper's."""
        return tuple(accumulate(self.depths))

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """The group, from 0 to 5, of each convolution."""
        return tuple(group for group, depth in enumerate(self.depths) for _ in range(depth))

    @cached_property
    def pooled(self) -> dict[int, int]:
        """Convolution -> side of the max pool that follows it."""
        count = len(self._followed)
        sizes = self.pool_sizes * count if len(self.pool_sizes) == 1 else self.pool_sizes
        return dict(zip(self._followed, sizes, strict=True))

    @cached_property
    def dropout_after(self) -> dict[int, float]:
        """Convolution -> rate of the dropout that follows it."""
        convs = [
            conv
            for conv, group in enumerate(self.groups, start=1)
            if group == 5 or conv != self.ends[group]
        ]
        return {conv: self.dropout * (0.75 if conv == convs[0] else 1) for conv in convs}

    @cached_property
    def shortcuts(self) -> frozenset[int]:
        """The convolutions whose input is added to the output of the one behind."""
        pairs = zip(self.ends[:5], self.depths, strict=False)
        return frozenset(end - 1 for end, depth in pairs if self.residual and depth >= 3)

    def taps(self, levels: int) -> tuple[int, ...]:
        """The tapped convolutions of a network with that many levels: the last of group 5, of
        groups 4 and 5, or of groups 3, 4 and 5."""
        return self.ends[5 - levels : 5]

    def taken(self, whole: bool) -> dict[int, int]:
        """The pools of a trunk that is built as a whole or, without the sixth group, up to the last
        level: behind that there is nothing to pool for, unless the pool is tapped."""
        end = self.ends[5] if whole else self.ends[4] - (self.tap == "before")
        return {conv: side for conv, side in self.pooled.items() if conv <= end}

    def channels(self, conv: int) -> int:
        """Channels that convolution `conv` gives."""
        return self.widths[min(self.groups[conv - 1], 4)]

    def stride(self, conv: int) -> int:
        """Input pixels a position covers after convolution `conv`, before the pool behind it."""
        return prod(size for pool, size in self.pooled.items() if pool < conv)

    def tap_stride(self, conv: int) -> int:
        """The same where convolution `conv` is tapped."""
        behind = self.pooled[conv] if self.tap == "after" else 1
        return self.stride(conv) * behind

    def check_taps(self, levels: Sequence[int]) -> None:
        """With tap after, a pool follows every level.

        Raises:
            ConfigError: one has none. To tap before it instead would hide a wrong plan.
        """
        for conv in levels:
            if self.tap == "after" and conv not in self.pooled:
                raise ConfigError(
                    f"--tap is 'after', but no pool follows level conv{conv} (--pools "
                    f"{self._followed}); add it there, or tap before"
                )

    @cached_property
    def _followed(self) -> tuple[int, ...]:
        return self.pools or (*self.ends[2:5], *range(self.ends[4] + 1, self.ends[5] + 1))
