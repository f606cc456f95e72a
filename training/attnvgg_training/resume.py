"""What a run may be resumed with: the recipe, the pictures and the start that it had."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnvgg_training.checkpoint import Record
from attnvgg_training.config import Config
from attnvgg_training.errors import CheckpointError

FREE = ("keep", "save_minutes")  # settings that do not change the result


@dataclass(frozen=True)
class Origin:
    """What does not change in a run: facts of the data, and what it was initialised from."""

    data: dict[str, Any]
    initialised_from: dict[str, Any] | None = None


def check_same(folder: Path, record: Record, config: Config, origin: Origin) -> None:
    """Compares the record of the checkpoint in `folder` with what is to continue it.

    Raises:
        CheckpointError: a setting, the pictures, or the checkpoint of --init differ.
    """
    before = record.config.to_dict()
    for section, values in config.to_dict().items():
        for key, value in values.items():
            if key not in FREE and before[section].get(key) != value:
                raise CheckpointError(
                    f"{folder} was trained with {key} = {json.dumps(before[section].get(key))}, "
                    f"now it is {json.dumps(value)}; resume continues the same recipe"
                )
    if record.data["fingerprint"] != origin.data["fingerprint"]:
        raise CheckpointError(f"{folder} was trained on other pictures than --data holds now")
    given, used = origin.initialised_from, record.initialised_from
    if given is not None and (used or {}).get("sha256") != given["sha256"]:
        how = (
            "initialised from another checkpoint than"
            if used
            else ("not initialised from a checkpoint, as")
        )
        raise CheckpointError(f"{folder} was {how} --init says now; resume continues the same run")
