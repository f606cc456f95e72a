"""attnvgg-train: trains a network on a folder of pictures."""

import argparse
import csv
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from attnvgg_training import checkpoint, data, models, recipes
from attnvgg_training.errors import CheckpointError, ConfigError, DivergedError, TrainingError
from attnvgg_training.loop import Trainer

log = logging.getLogger(__name__)
DESCRIPTION = """\
Trains a network of "Learn to Pay Attention" (Jetley et al., ICLR 2018) on DIR: class folders
(DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, or DIR/CLASS/*.png of which a part is held out),
or the root of torchvision's CIFAR-100. Pictures are held in memory.

RUN gets metrics.csv and a checkpoint an epoch; RUN/last and RUN/best point at two of them.
Run the same command with --resume after an interruption: the result is the same as without one.
"""


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 a setting or the data is wrong, 3 diverged, 130 interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = _parser().parse_args(argv)
    try:
        _train(arguments)
    except DivergedError as error:
        print(f"attnvgg-train: {error}", file=sys.stderr)
        return 3
    except (TrainingError, OSError) as error:
        print(f"attnvgg-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("attnvgg-train: interrupted; add --resume to continue", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "attnvgg-train",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, required=True, help="the recipe, a TOML file")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the pictures")
    parser.add_argument("--run", type=Path, help="where to write (runs/NAME-OF-RECIPE)")
    parser.add_argument("--resume", action="store_true", help="continue from RUN/last")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1 (cuda if there is one)")
    settings = parser.add_argument_group("settings of the recipe", "Each overrides the file.")
    for name, (text, default) in recipes.flags().items():
        flag = "--" + name.replace("_", "-")
        settings.add_argument(flag, dest=f"set_{name}", metavar="X", help=f"{text} ({default})")
    return parser


def _train(arguments: argparse.Namespace) -> None:
    given = {k.removeprefix("set_"): v for k, v in vars(arguments).items() if k.startswith("set_")}
    recipe = recipes.read(arguments.config, {k: v for k, v in given.items() if v is not None})
    checkpoint.provenance()
    run = arguments.run or Path("runs") / arguments.config.stem
    started = _started(run, arguments.resume)
    device = _device(arguments.device)
    dataset = data.load(arguments.data, recipe.data)
    trainer = Trainer(recipe, dataset, device)
    size, cost = (
        models.parameters(trainer.model),
        models.gmacs(recipe.model, recipe.data.image_size),
    )
    log.info("%s: %d parameters, %.3f GMAC a picture; on %s", recipe.model.name, size, cost, device)
    log.info(
        "%s: %d training and %d test pictures, %d classes",
        arguments.data,
        len(dataset.train),
        len(dataset.test),
        len(dataset.labels),
    )
    facts = {
        "name": dataset.name,
        "train": len(dataset.train),
        "test": len(dataset.test),
        "fingerprint": dataset.fingerprint(),
    }
    rows = _resume(trainer, started, facts) if started else []
    for epoch in range(len(rows) + 1, recipe.train.epochs + 1):
        rows.append(_epoch(trainer, epoch))
        _save(run, trainer, rows, facts)


def _started(run: Path, resume: bool) -> Path | None:
    """The checkpoint to continue from, or None for a fresh run."""
    last = run / "last"
    if resume and not last.exists():
        log.info("%s does not exist yet: starting from the beginning", last)
    elif last.exists() and not resume:
        raise ConfigError(f"--run {run} holds a run already; add --resume, or name another folder")
    return last.resolve() if resume and last.exists() else None


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name} cannot be used: {error}") from error
    return device


def _epoch(trainer: Trainer, epoch: int) -> dict[str, Any]:
    start = time.monotonic()
    trained = trainer.train_epoch(epoch)
    seconds = time.monotonic() - start
    tested = trainer.test()
    row = {
        "epoch": epoch,
        "step": epoch * trainer.steps,
        "lr": f"{trainer.schedule.get_last_lr()[0]:.6g}",
        "train_loss": f"{trained.loss:.5f}",
        "train_accuracy": f"{trained.accuracy:.5f}",
        "test_loss": f"{tested.loss:.5f}",
        "test_accuracy": f"{tested.accuracy:.5f}",
        "images_per_second": f"{trainer.steps * trainer.config.train.batch_size / seconds:.1f}",
        "seconds": f"{time.monotonic() - start:.1f}",
    }
    log.info(
        "epoch %d/%d: train %.2f %%, test %.2f %%, loss %.4f, %s pictures/s, %s s",
        epoch,
        trainer.config.train.epochs,
        100 * trained.accuracy,
        100 * tested.accuracy,
        trained.loss,
        row["images_per_second"],
        row["seconds"],
    )
    return row


def _save(run: Path, trainer: Trainer, rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    metrics = {k: float(v) for k, v in rows[-1].items() if k.startswith(("train", "test"))}
    record = checkpoint.Record(
        config=trainer.config,
        labels=trainer.data.labels,
        mean=trainer.mean,
        std=trainer.std,
        metrics={"epoch": rows[-1]["epoch"], **metrics, "seconds": _seconds(rows)},
        data=facts,
    )
    state = {"trainer": trainer.state(), "rows": rows}
    folder = checkpoint.save(run, rows[-1]["epoch"], trainer.weights(), record, state)
    if max(rows, key=lambda row: float(row["test_accuracy"])) is rows[-1]:
        checkpoint.point(run / "best", folder)
    checkpoint.prune(run, trainer.config.train.keep)
    _write_metrics(run, rows)


def _resume(trainer: Trainer, folder: Path, facts: dict[str, Any]) -> list[dict[str, Any]]:
    record = checkpoint.read(folder)
    before, now = record.config.to_dict(), trainer.config.to_dict()
    for section, values in now.items():
        for key, value in values.items():
            if before[section].get(key) != value:
                raise CheckpointError(
                    f"{folder} was trained with {key} = {before[section].get(key)!r}, now it is "
                    f"{value!r}; resume continues the same recipe"
                )
    if record.data["fingerprint"] != facts["fingerprint"]:
        raise CheckpointError(f"{folder} was trained on other pictures than --data holds now")
    state = checkpoint.load_state(folder)
    trainer.load_state(state["trainer"])
    log.info("continuing after epoch %d", record.metrics["epoch"])
    rows: list[dict[str, Any]] = state["rows"]
    return rows


def _write_metrics(run: Path, rows: list[dict[str, Any]]) -> None:
    fresh = run / f".metrics.csv.tmp-{os.getpid()}"
    with fresh.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    fresh.replace(run / "metrics.csv")


def _seconds(rows: list[dict[str, Any]]) -> float:
    return round(sum(float(row["seconds"]) for row in rows), 1)


if __name__ == "__main__":
    sys.exit(main())
