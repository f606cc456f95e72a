"""What suites work with: the networks, the pictures, and parts that survive an interruption."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnvgg_training import data, files
from attnvgg_training.data import Dataset, Split
from attnvgg_training.errors import ConfigError, DataError
from attnvgg_training.evaluation import masks
from attnvgg_training.evaluation.findings import plain
from attnvgg_training.evaluation.masks import Masked
from attnvgg_training.evaluation.subject import Subject

MAIN = "attention"
WITH_PHOTOS = ("localisation", "segmentation", "detail")
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

    @property
    def rightly_taught(self) -> dict[str, Subject]:
        """All but networks that learned permuted labels: there is no sense in asking whether those
        are right."""
        return {
            name: subject
            for name, subject in self.subjects.items()
            if not subject.record.config.data.permute_labels
        }

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
            DataError: one cannot be read, or none shows an object.
        """
        if self.masks is None:
            raise ConfigError("this suite looks at photos with object masks; give --masks DIR")
        config, size = self.main.record.config.data, self.main.size
        read = [(path, masks.read(path, mask, config)) for path, mask in masks.find(self.masks)]
        found = [each for each in read if each[1].coverage(size, size).any()]
        if not found:
            raise DataError(
                f"--masks {self.masks} holds {len(read)} photos, but the network sees no object in "
                f"any: {config.geometry} cuts all of them away"
            )
        return found

    @cached_property
    def elsewhere(self) -> Dataset:
        """--pictures transfer=SPEC, as the main network sees pictures.

        Raises:
            DataError: it cannot be read.
        """
        config = self.main.record.config.data
        config = replace(config, subset=0, permute_labels=False, crop_to_box=False)
        return data.load(self.others["transfer"], config)

    @cached_property
    def distractors(self) -> list[Path]:
        """The files of --pictures localisation=FOLDER, masks left out, sorted.

        Raises:
            DataError: there are fewer than three.
        """
        folder = Path(self.others["localisation"])
        found = [path for path in folder.rglob("*") if path.suffix.lower() in data.SUFFIXES]
        found = sorted(path for path in found if not path.name.endswith(masks.MASK))
        if len(found) < 3:
            raise DataError(
                f"--pictures localisation={folder} holds {len(found)} pictures; it needs 3"
            )
        return found

    def part(
        self,
        name: str,
        compute: Callable[[], Any],
        uses: Sequence[Subject] | None = None,
        **depends: Any,
    ) -> Any:
        """What `compute` gives as plain data, from disk if it was computed before: by the same
        code, from the same networks, pictures, seed and limit.

        name: SUITE/REST, such as `faithfulness/grad-cam conv10`; unique within the report. uses:
        the networks that the result is a function of; the main one, where it is not said. depends:
        whatever else it is a function of.
        """
        path = self.out / "parts" / f"{name.replace(' ', '-').replace('#', '-')}.json"
        key = self._key(name, [self.main] if uses is None else uses, depends)
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

    def _key(self, name: str, uses: Sequence[Subject], depends: dict[str, Any]) -> str:
        suite = name.partition("/")[0]
        facts = [
            name,
            _code(suite),
            {subject.name: subject.sha256 for subject in uses},
            self._pictures(suite),
            [self.seed, self.limit],
            plain(depends),
        ]
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _pictures(self, suite: str) -> list[str]:
        """Hashes of all pictures that a suite may look at."""
        found = [self._of_test]
        if suite in WITH_PHOTOS and self.masks is not None:
            found.append(self._of_photos)
        if suite == "transfer" and suite in self.others:
            found.append(self.elsewhere.fingerprint())
        if suite == "localisation" and suite in self.others:
            found.append(self._of_distractors)
        return found

    @cached_property
    def _of_test(self) -> str:
        digest = sha256(self.test.targets.cpu().numpy().tobytes())
        for indices in torch.arange(len(self.test)).split(1024):
            digest.update(self.test.pixels(indices).cpu().contiguous().numpy().data)
        return digest.hexdigest()

    @cached_property
    def _of_photos(self) -> str:
        digest = sha256()
        for path, masked in self.photos:
            digest.update(path.read_bytes() + masked.mask.tobytes())
        return digest.hexdigest()

    @cached_property
    def _of_distractors(self) -> str:
        digest = sha256()
        for path in self.distractors:
            digest.update(path.read_bytes())
        return digest.hexdigest()


@cache
def _code(suite: str) -> str:
    """Hash of the sources that a suite's figures come from."""
    folder = Path(__file__).parent
    shared = [
        folder / f"{name}.py" for name in ("applied", "masks", "mosaics", "redraw", "subject")
    ]
    mine = folder / "suites" / f"{suite.replace('-', '_')}.py"
    paths = [*shared, *sorted((folder / "methods").glob("*.py")), mine]
    return sha256(b"".join(path.read_bytes() for path in paths if path.is_file())).hexdigest()


def as_pixels(images: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> [B, 3, H, W] from 0 to 1."""
    return images.permute(0, 3, 1, 2).float().div(255).contiguous()
