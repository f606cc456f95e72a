"""attnvgg-train: trains a network on pictures."""

import argparse
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from attnvgg_training import checkpoint, memory, models, recipes
from attnvgg_training.begin import Request, train
from attnvgg_training.distributed import World
from attnvgg_training.dry_run import dry_run
from attnvgg_training.errors import DivergedError, OtherProcessError, TrainingError

DESCRIPTION = """\
Trains a network of "Learn to Pay Attention" (Jetley et al., ICLR 2018).

  attnvgg-train --config RECIPE.toml --data DIR            class folders: DIR/train/CLASS/*.png and
                                                           DIR/test/CLASS/*.png, or DIR/CLASS/*.png
                                                           of which a part is held out
  attnvgg-train --config RECIPE.toml --data torchvision:CIFAR10
  torchrun --nproc-per-node 2 -m -- attnvgg_training.train --config RECIPE.toml --data DIR

RUN gets metrics.csv, tensorboard/ and a checkpoint an epoch; RUN/last and RUN/best point at two
of them. Ctrl-C or SIGTERM finishes the step and saves; a second one ends at once. Run the same
command with --resume after any interruption: the result is the same as without one.
"""
GRACE_SECONDS = 30.0
GROUPS = {
    "model": "the network",
    "data": "how pictures become its input",
    "train": "the optimizer and its schedule",
}


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done or out of --minutes, 2 a setting or the data is wrong, 3 diverged,
    130 and 143 ended by Ctrl-C and by SIGTERM, saved."""
    started = time.monotonic()
    rank = int(os.environ.get("RANK", "0") or 0)
    level = logging.ERROR if rank else logging.INFO  # one process speaks for all
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    parser = _parser(rank)
    arguments = parser.parse_args(argv)
    if arguments.list_models:
        print("\n".join(models.listing()))
        return 0
    missing = [f"--{name}" for name in ("config", "data") if getattr(arguments, name) is None]
    if missing:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    try:
        return _run(arguments, sys.argv[1:] if argv is None else argv, started)
    except OtherProcessError:
        return 2  # it has said why
    except DivergedError as error:  # all processes find it together
        if rank == 0:
            print(f"attnvgg-train: {error}", file=sys.stderr)
        return 3
    except (TrainingError, OSError) as error:
        print(f"attnvgg-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("attnvgg-train: interrupted before the first step", file=sys.stderr)
        return 128 + signal.SIGINT


class _Parser(argparse.ArgumentParser):
    """Under torchrun every process finds the same mistake; the first one says it."""

    rank = 0

    def error(self, message: str) -> NoReturn:
        """Ends the command with 2."""
        if self.rank:
            self.exit(2)
        super().error(message)


def _parser(rank: int) -> argparse.ArgumentParser:
    parser = _Parser(
        "attnvgg-train",
        usage="attnvgg-train --config FILE --data SOURCE [--run RUN] [--resume] [--SETTING X ...]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.rank = rank
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="the recipe, a TOML file")
    text = "class folders, torchvision:NAME, hub:OWNER/NAME, or parquet files"
    add("--data", metavar="SOURCE", help=text)
    add("--run", type=Path, help="where to write (runs/NAME-OF-RECIPE)")
    add("--resume", action="store_true", help="continue from RUN/last, if it is there")
    text = "start from the weights of this one; other classes get a new classifier"
    add("--init", type=Path, metavar="CHECKPOINT", help=text)
    text = "end after this long: finish the step, save, and exit with 0"
    add("--minutes", type=float, metavar="M", help=text)
    add("--device", help="cpu, cuda, cuda:1 (cuda if there is one)")
    text = "print size, memory and expected time from a few steps; write nothing"
    add("--dry-run", action="store_true", help=text)
    add("--list-models", action="store_true", help="print the networks and exit")
    _add_settings(parser)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    helps = recipes.flags()
    for section, kind in recipes.SECTIONS.items():
        title = f"[{section}]: {GROUPS[section]}; each overrides the recipe"
        group = parser.add_argument_group(title)
        for name in (field.name for field in fields(kind)):
            text, default = (each.replace("%", "%%") for each in helps[name])
            flag, where = "--" + name.replace("_", "-"), f"set_{name}"
            group.add_argument(flag, dest=where, metavar="X", help=f"{text} ({default})")


def _run(arguments: argparse.Namespace, argv: Sequence[str], started: float) -> int:
    world = World.from_environment()
    try:
        request = _request(arguments, world, started)
    except TrainingError:
        # Most of what is wrong here is found by the first process too, which says it; torchrun
        # ends this one before it does.
        time.sleep(GRACE_SECONDS if world.rank else 0)
        raise
    checkpoint.provenance()  # before the working tree changes
    with world.joined(request.device):
        if arguments.dry_run:
            for line in dry_run(request, world):
                print(line)
            return 0
        end = train(request, world)
    if world.first and not end.finished:
        print(f"attnvgg-train: {end.text}; to continue: {_again(argv, world)}", file=sys.stderr)
    return 128 + end.signal if end.signal else 0


def _request(arguments: argparse.Namespace, world: World, started: float) -> Request:
    given = {k.removeprefix("set_"): v for k, v in vars(arguments).items() if k.startswith("set_")}
    return Request(
        recipe=recipes.read(arguments.config, {k: v for k, v in given.items() if v is not None}),
        data=arguments.data,
        run=arguments.run or Path("runs") / arguments.config.stem,
        resume=arguments.resume,
        init=arguments.init,
        minutes=arguments.minutes,
        device=world.device(arguments.device),
        started=started,
    )


def _again(argv: Sequence[str], world: World) -> str:
    command = ["attnvgg-train"]
    if world.size > 1:
        command = f"torchrun --nproc-per-node {world.size} -m -- attnvgg_training.train".split()
    return shlex.join([*command, *argv, *([] if "--resume" in argv else ["--resume"])])


if __name__ == "__main__":  # under torchrun
    memory.keep()
    sys.exit(main())
