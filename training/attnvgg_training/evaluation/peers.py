"""Who is compared with whom: the control, the network whose maps are held even, the baseline, the
network with class activation maps; and which networks are seeds of one another."""

from collections.abc import Collection
from dataclasses import fields
from math import isnan
from typing import Any

from attnvgg_training.errors import ConfigError
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Interval
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.models import ModelConfig

PEERS = ("control", "even", "baseline", "gap")
WANTED = {
    "control": "nothing here says what attention buys",
    "baseline": "nothing here compares it with the VGG that the paper starts from",
}
FREE = {"train.seed", "train.keep", "train.save_minutes", "data.memory"}
SETTINGS = frozenset(each.name for each in fields(ModelConfig))
WORDS = ("errs less often than", "errs more often than", "cannot be told apart from")


def peers(context: Context) -> list[Subject]:
    """What the main network is compared with in words: the first of each of these roles."""
    return [found[0] for role in PEERS if (found := context.of_role(role))]


def called(subject: Subject) -> str:
    """What sentences call the main network."""
    return "the network with attention" if subject.maps else subject.record.config.model.name


def lacking(context: Context) -> list[str]:
    """A sentence for each network without which nothing can be said about attention."""
    missing = [role for role in WANTED if context.main.maps and not context.of_role(role)]
    return [
        f"No {role} was given (--beside {role}=CHECKPOINT): {WANTED[role]}." for role in missing
    ]


def sentence(text: str) -> str:
    """It starts with a capital."""
    return text[0].upper() + text[1:]


def points(difference: Interval) -> str:
    """A difference of shares in points of per cent, with its interval if it has one."""
    value, low, high = (100 * each for each in (difference.value, difference.low, difference.high))
    bounds = "no interval" if isnan(low) else f"{low:+.2f} to {high:+.2f}"
    return f"{value:+.2f} points ({bounds})"


def check_seeds(context: Context) -> None:
    """Networks of one role stand for its seeds, so they must have been trained alike.

    Raises:
        ConfigError: they were not.
    """
    for role in dict.fromkeys(subject.role for subject in context.subjects.values()):
        first, *others = context.of_role(role)
        for other in others:
            if found := differing(first, other, SETTINGS):
                raise ConfigError(
                    f"--beside {other.name}={other.folder} was trained otherwise than "
                    f"{first.name}: {', '.join(found)}; what is called {role} may differ in the "
                    "seed alone, so give it another name"
                )


def differing(first: Subject, second: Subject, settings: Collection[str]) -> list[str]:
    """How the data, the training and the start of two networks differ, and these settings of their
    models; not the seed, nor what changes no result. Such as `train.epochs 30 and 60`."""
    before, after = _facts(first, settings), _facts(second, settings)
    found = [
        f"{key} {before[key]} and {after[key]}"
        for key in before
        if key not in FREE and before[key] != after[key]
    ]
    prints = [each.record.data.get("fingerprint") for each in (first, second)]
    return found if prints[0] == prints[1] else [*found, "the pictures"]


def _facts(subject: Subject, settings: Collection[str]) -> dict[str, Any]:
    config = subject.record.config.to_dict()
    model = {key: value for key, value in config["model"].items() if key in settings}
    found: dict[str, Any] = {"--init": (subject.record.initialised_from or {}).get("sha256")}
    for section, values in {**config, "model": model}.items():
        found |= {f"{section}.{key}": value for key, value in values.items()}
    return found


def seeds(context: Context, role: str) -> list[Subject]:
    """The networks of a role, of those with the same seed the first."""
    found: dict[int, Subject] = {}
    for subject in context.of_role(role):
        found.setdefault(subject.record.config.train.seed, subject)
    return list(found.values())
