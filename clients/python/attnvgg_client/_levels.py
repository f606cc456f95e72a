"""Which of a prediction's attention maps are meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from attnvgg_client._errors import InvalidArgumentError

if TYPE_CHECKING:
    from attnvgg_client._tensors import Map

FUSED = "fused"


def default(attention: Mapping[str, Map]) -> str:
    """The one level to show: the fused map, or the last level's where there is none."""
    return FUSED if FUSED in attention else list(attention)[-1]


def one(attention: Mapping[str, Map] | None, level: str | None, model: str) -> Map:
    """The map of a level, [h, w]; that of the default one for None.

    Raises:
        InvalidArgumentError: there is no such map; says why.
    """
    maps = _some(attention, model)
    return maps[_checked(maps, default(maps) if level is None else level)]


def several(
    attention: Mapping[str, Map] | None, levels: str | Iterable[str] | None, model: str
) -> dict[str, Map]:
    """The maps of these levels in their order; all for None.

    Raises:
        InvalidArgumentError: there is no such map, or none is asked for; says why.
    """
    maps = _some(attention, model)
    if levels is None:
        return dict(maps)
    if not isinstance(levels, Iterable):
        raise InvalidArgumentError(f"levels is {levels!r}; it must be a list of {_names(maps)}")
    names = [levels] if isinstance(levels, str) else list(levels)
    if not names:
        raise InvalidArgumentError(f"levels is empty; this prediction has {_names(maps)}")
    return {_checked(maps, name): maps[name] for name in names}


def _some(attention: Mapping[str, Map] | None, model: str) -> Mapping[str, Map]:
    if attention is None:
        raise InvalidArgumentError(
            "this prediction has no attention maps: ask with return_attention=True"
        )
    if not attention:
        raise InvalidArgumentError(f"the model {model!r} has no attention levels")
    return attention


def _checked(maps: Mapping[str, Map], level: object) -> str:
    if isinstance(level, str) and level in maps:
        return level
    # No positions: level 0 or -1 would mean another layer in every network.
    shown = repr(level) if isinstance(level, str | int) else f"a {type(level).__name__}"
    raise InvalidArgumentError(
        f"level is {shown}; this prediction has {_names(maps)} (a picture is given as image=...)"
    )


def _names(maps: Mapping[str, Map]) -> str:
    return ", ".join(maps)
