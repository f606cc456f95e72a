"""What the client must know of a model to make predictions of Triton's tensors.

`attnvgg-export triton` writes it into the configuration of NAME-encoded, as the parameter
`attnvgg`; the names of the maps and the largest batch are those of the configuration itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attnvgg_client._errors import ProtocolError
from attnvgg_client._fields import Fields, parse
from attnvgg_client._geometry import CENTER_CROP, STRETCH
from attnvgg_client._responses import ModelInfo

ENCODED = "-encoded"
PARAMETER, MAP = "attnvgg", "attention_"


@dataclass(frozen=True)
class Description:
    """One model. sha256: of the graph of each version. maps: level -> output, in their order."""

    name: str
    labels: tuple[str, ...]
    height: int
    width: int
    geometry: str
    provider: str
    sha256: Mapping[str, str]
    maps: Mapping[str, str]
    max_batch: int

    def info(self, version: str, default: bool) -> ModelInfo:
        """One version of it, as `models` lists it."""
        return ModelInfo(
            name=self.name,
            version=version,
            sha256=self.sha256.get(version, ""),
            provider=self.provider,
            default=default,
            labels=self.labels,
            levels=tuple(self.maps),
        )


def describe(name: str, config: Fields) -> Description:
    """The model `name`, by the configuration of its NAME-encoded.

    Raises:
        ProtocolError: the repository is older than this parameter, or not ours.
    """
    written = _written(name, config)
    outputs = [each.text("name") for each in config.objects("output")]
    hashes = written.object("sha256")
    found = Description(
        name=name,
        labels=tuple(written.texts("labels")),
        height=written.integer("height"),
        width=written.integer("width"),
        geometry=written.text("geometry"),
        provider=written.text("provider"),
        sha256={version: hashes.text(version) for version in hashes.values},
        maps={each.removeprefix(MAP): each for each in outputs if each.startswith(MAP)},
        max_batch=max(1, config.integer("max_batch_size")),
    )
    if found.geometry not in (STRETCH, CENTER_CROP) or min(found.height, found.width) < 1:
        size = f"{found.height} x {found.width}"
        raise ProtocolError(
            f"the model {name} takes {size} by {found.geometry!r}; this client knows "
            f"{STRETCH} and {CENTER_CROP}: a newer one is needed"
        )
    return found


def _written(name: str, config: Fields) -> Fields:
    if "parameters" in config and PARAMETER in (parameters := config.object("parameters")):
        return parse(parameters.object(PARAMETER).text("string_value").encode())
    raise ProtocolError(
        f"the model {name} does not say what its outputs mean: its repository was written by an "
        "older `attnvgg-export triton`; run that again"
    )
