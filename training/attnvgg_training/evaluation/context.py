"""What suites work with: the networks, the pictures, and parts that survive an interruption."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnvgg_training import data, files
from attnvgg_training.data import Split
from attnvgg_training.errors import ConfigError
from attnvgg_training.evaluation import masks
from attnvgg_training.evaluation.findings import plain
from attnvgg_training.evaluation.masks import Masked
from attnvgg_training.evaluation.subject import Subject

MAIN = "attention"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """subjects: by name; the one that the report is about is `attention`. source, masks: what
    --data and --masks say. limit: at most so many pictures of the test split, chosen by the seed;
    None for all. out: the report's folder."""

    subjects: dict[str, Subject]
    source: str
    masks: Path | None
    out: Path
    device: torch.device
    seed: int = 0
    limit: int | None = None
    batch_size: int = 64
    others: dict[str, str] = field(default_factory=dict)
    """further pictures by the name of the suite that wants them, --pictures transfer=DIR"""

    @property
    def main(self) -> Subject:
        """The network that the report is about."""
        return self.subjects[MAIN]

    def of_role(self, role: str) -> list[Subject]:
        """`control`, `control#2`, ... in the order given."""
        return [subject for subject in self.subjects.values() if subject.role == role]

    def wanted(self, role: str, suite: str) -> Subject:
        """The first network of a role.

        Raises:
            ConfigError: none was given.
        """
        found = self.of_role(role)
        if not found:
            raise ConfigError(
                f"--suite {suite} compares with a network called {role!r}; give it with "
                f"--beside {role}=CHECKPOINT"
            )
        return found[0]

    @cached_property
    def test(self) -> Split:
        """The test split, as the main network's recipe reads it.

        Raises:
            DataError: it cannot be read or does not fit the labels.
        """
        record = self.main.record
        return data.load(self.source, record.config.data, record.labels).test

    def chosen(self, most: int | None = None) -> Tensor:
        """Indices of test pictures, ascending; the same for the same seed, and those for fewer are
        among those for more."""
        limits = [each for each in (self.limit, most) if each is not None]
        count = min([len(self.test), *limits])
        order = torch.randperm(len(self.test), generator=torch.Generator().manual_seed(self.seed))
        return order[:count].sort().values

    def pixels(self, indices: Tensor) -> Tensor:
        """Test pictures, [B, 3, H, W] from 0 to 1, on the device."""
        found = self.test.pixels(indices.to(self.test.targets.device))
        return as_pixels(found).to(self.device)

    def targets(self, indices: Tensor) -> Tensor:
        """Their classes, int64 [B], on the device."""
        return self.test.targets[indices.to(self.test.targets.device)].to(self.device)

    @cached_property
    def photos(self) -> list[tuple[Path, Masked]]:
        """Photos with masks whose object the network sees at least a part of.

        Raises:
            ConfigError: there is no --masks.
            DataError: one cannot be read.
        """
        if self.masks is None:
            raise ConfigError("this suite looks at photos with object masks; give --masks DIR")
        config, size = self.main.record.config.data, self.main.size
        read = [(path, masks.read(path, mask, config)) for path, mask in masks.find(self.masks)]
        return [each for each in read if each[1].coverage(size, size).any()]

    def part(self, name: str, compute: Callable[[], Any], **depends: Any) -> Any:
        """What `compute` gives as plain data, from disk if it was computed before.

        name: such as `faithfulness/grad-cam conv10`; unique within the report. depends: whatever
        else the result is a function of, beside the networks, the pictures, the seed and the limit.
        """
        path = self.out / "parts" / f"{name.replace(' ', '-').replace('#', '-')}.json"
        key = self._key(name, depends)
        if path.is_file():
            kept = json.loads(path.read_text())
            if kept["key"] == key:
                return kept["found"]
        logger.info(name)
        started = time.monotonic()
        found = plain(compute())
        record = {"key": key, "seconds": round(time.monotonic() - started, 1), "found": found}
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, (json.dumps(record) + "\n").encode())
        return found

    def _key(self, name: str, depends: dict[str, Any]) -> str:
        facts = [
            name,
            {subject.name: subject.sha256 for subject in self.subjects.values()},
            [self.source, str(self.masks), self.seed, self.limit, self.others],
            plain(depends),
        ]
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def as_pixels(images: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> [B, 3, H, W] from 0 to 1."""
    return images.permute(0, 3, 1, 2).float().div(255).contiguous()
