"""attnvgg-evaluate: how often a checkpoint is right, where its maps look, and what they mean."""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from attnvgg_training import files
from attnvgg_training.distributed import World
from attnvgg_training.errors import ConfigError, TrainingError
from attnvgg_training.evaluation.accuracy import Answers, answers
from attnvgg_training.evaluation.classes import per_class, table
from attnvgg_training.evaluation.findings import Interval
from attnvgg_training.evaluation.objects import Objects, objects
from attnvgg_training.scoring import CHUNK


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 the checkpoint or the data cannot be used."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.suite is None:
        if arguments.data is None and arguments.masks is None:
            parser.error("give --data, --masks or both")
        if arguments.data is None and (arguments.flip or arguments.per_class):
            parser.error("--flip and --per-class need --data")
    elif arguments.data is None or arguments.out is None:
        parser.error("--suite needs --data and --out")
    try:
        if arguments.suite is not None:
            logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
            logging.getLogger("attnvgg_training").setLevel(logging.INFO)
            print(_evidence_module().run(arguments, sys.argv[1:] if argv is None else argv))
            return 0
        found = _evaluate(arguments)
        if arguments.json is not None:
            text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
            files.write(arguments.json, text.encode())
    except (TrainingError, OSError) as error:
        print(f"attnvgg-evaluate: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("attnvgg-evaluate", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("checkpoint", type=Path, help="a checkpoint, such as RUN/last")
    add("--data", metavar="SPEC", help="the pictures, as attnvgg-train takes them: the test split")
    add("--per-class", action="store_true", help="a line for each class too")
    add("--flip", action="store_true", help="answer by a picture and its mirror image together")
    add(
        "--masks",
        type=Path,
        metavar="DIR",
        help="photos with object masks, DIR/*/NAME.jpg and NAME.mask.png: where the maps look",
    )
    add("--device", help="cpu, cuda, cuda:1 (cuda if there is one)")
    add("--batch-size", type=int, default=CHUNK, metavar="N", help=f"({CHUNK})")
    add("--json", type=Path, metavar="FILE", help="write everything found there too")
    _evidence(parser)
    return parser


def _evidence_module() -> ModuleType:
    try:
        from attnvgg_training.evaluation import evidence
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--suite needs {error.name}, which is not installed; pip install 'attnvgg[evidence]'"
        ) from error
    return evidence


def _evidence(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("evidence about the maps (extra `evidence`)")
    add = group.add_argument
    add("--suite", metavar="NAME[,NAME]", help="experiments, or all; see docs/evidence.md")
    add("--out", type=Path, metavar="REPORT", help="folder for results.json and report.html")
    add(
        "--beside",
        action="append",
        default=[],
        metavar="NAME=CHECKPOINT",
        help="a network to compare with: control, baseline, gap, permuted; another seed of one is "
        "control#2, of the network itself attention#2",
    )
    add(
        "--pictures",
        action="append",
        default=[],
        metavar="SUITE=SPEC",
        help="further pictures for one suite",
    )
    add("--limit", type=int, metavar="N", help="at most so many test pictures (all)")
    add("--seed", type=int, default=0, metavar="N", help="of everything drawn (0)")


def _evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.batch_size < 1:
        raise ConfigError(f"--batch-size is {arguments.batch_size}; it must be 1 or more")
    device = World().device(arguments.device)
    torch.backends.cudnn.allow_tf32 = False  # what is called float32 shall be that on a GPU too
    found: dict[str, Any] = {"checkpoint": str(arguments.checkpoint), "device": str(device)}
    if arguments.data is not None:
        given = answers(
            arguments.checkpoint, arguments.data, device, arguments.batch_size, arguments.flip
        )
        found |= {"data": arguments.data, **_accuracy(given, arguments)}
    if arguments.masks is not None:
        looked = objects(arguments.checkpoint, arguments.masks, device, arguments.batch_size)
        found["objects"] = {"masks": str(arguments.masks), **asdict(looked)}
        print(_objects(looked, arguments.masks))
    return found


def _accuracy(given: Answers, arguments: argparse.Namespace) -> dict[str, Any]:
    total, classes = given.accuracy(), per_class(given)
    how = ", mean of each picture and its mirror image" if arguments.flip else ""
    print(
        f"accuracy {100 * total.rate:.2f} % ({total.correct} of {total.total}; "
        f"95 % interval {100 * total.low:.2f} to {100 * total.high:.2f}{how})"
    )
    if arguments.per_class:
        print(table(classes))
    return {
        "flip": arguments.flip,
        "accuracy": {"rate": total.rate, **asdict(total)},
        "classes": [asdict(each) for each in classes],
    }


def _objects(found: Objects, masks: Path) -> str:
    lost = f"; {found.left_out} left out, their object is cut off" if found.left_out else ""
    width = max(len(look.name) for look in found.looks)
    lines = [
        f"{found.pictures} pictures with masks in {masks}, seen at {found.grid}x{found.grid}{lost}"
    ]
    lines.append(f"{'map':{width}}  attention in object / area  maximum in object")
    for look in found.looks:
        ratio = "-" if look.ratio is None else _figure(look.ratio, 1, 2)
        pointing = _figure(look.pointing, 100, 0, " %")
        lines.append(f"{look.name:{width}}  {ratio:26}  {pointing}")
    return "\n".join([*lines, "medians over the pictures; in brackets 95 % bootstrap intervals"])


def _figure(figure: Interval, scale: int, digits: int, unit: str = "") -> str:
    value, low, high = (f"{scale * x:.{digits}f}" for x in (figure.value, figure.low, figure.high))
    return f"{value}{unit} ({low} to {high})"


if __name__ == "__main__":
    sys.exit(main())
