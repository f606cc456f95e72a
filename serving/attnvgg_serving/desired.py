"""What every worker of one server is to serve."""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

Versions = dict[str, str]  # version -> something about it


@dataclass
class State:
    """One decision; a later one has a higher generation. All are keyed by the model's name.

    serving: version -> identity (the sha256 of the manifest) of what answers.
    refused: version -> why it does not answer, though it lies in the models folder.
    stamps: version -> what a refused bundle looked like; it is tried again when that changes.
    unloaded: the versions that a name had when an operator unloaded it.
    """

    generation: int = 0
    default: str = ""
    serving: dict[str, Versions] = field(default_factory=dict)
    refused: dict[str, Versions] = field(default_factory=dict)
    stamps: dict[str, Versions] = field(default_factory=dict)
    unloaded: dict[str, list[str]] = field(default_factory=dict)

    def copy(self) -> Self:
        return copy.deepcopy(self)

    def names(self) -> set[str]:
        """Every name that somebody may ask for or load."""
        return set(self.serving) | set(self.refused) | set(self.unloaded)

    def versions(self, name: str) -> set[str]:
        """All that are served or refused."""
        return set(self.serving.get(name, {})) | set(self.refused.get(name, {}))

    def serve(self, name: str, version: str, identity: str) -> None:
        self.forget(name, version)
        self.unloaded.pop(name, None)
        self.serving.setdefault(name, {})[version] = identity

    def refuse(self, name: str, version: str, stamp: str, reason: str) -> None:
        """What is served under that version already serves on."""
        self.refused.setdefault(name, {})[version] = reason
        self.stamps.setdefault(name, {})[version] = stamp

    def forget(self, name: str, version: str) -> None:
        """Neither served nor refused any more."""
        for table in (self.serving, self.refused, self.stamps):
            table.get(name, {}).pop(version, None)
            if not table.get(name, True):
                del table[name]

    def unload(self, name: str) -> None:
        """A look at the models folder passes it over until it is loaded again."""
        self.unloaded.setdefault(name, list(self.serving.pop(name, {})))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


def flat(table: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], str]:
    """By (name, version)."""
    return {(name, v): what for name, versions in table.items() for v, what in versions.items()}
