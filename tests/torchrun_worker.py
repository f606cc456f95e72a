"""What test_torchrun.py has two processes do: `torchrun torchrun_worker.py TASK FOLDER`.

Run without torchrun, a process does the same alone.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from attnvgg_training import data, recipes
from attnvgg_training.distributed import World
from attnvgg_training.errors import DataError, TrainingError
from attnvgg_training.loop import Progress, Trainer

ROOT = Path(__file__).absolute().parents[1]
CPU = torch.device("cpu")


def trainer(world: World, **settings: str) -> Trainer:
    recipe = recipes.read(ROOT / "training" / "configs" / "tiny.toml", settings)
    return Trainer(recipe, data.load(ROOT / "tests" / "data" / "shapes", recipe.data), CPU, world)


def gradients(world: World, folder: Path, level_loss: str = "0") -> dict[str, Any]:
    """Of one step, batch norm in evaluation mode, in two parts."""
    ours = trainer(world, ema="0", accumulate="2", level_loss=level_loss)
    ours.model.eval()
    batch = next(iter(ours.loader.epoch(1)))
    images = data.normalise(batch.images, ours.mean, ours.std)
    ours._gradients(images, batch.targets)
    return {name: p.grad for name, p in ours.model.named_parameters()}


def gradients_of_levels(world: World, folder: Path) -> dict[str, Any]:
    """With a loss of every level's own answer."""
    return gradients(world, folder, level_loss="0.5")


def learn(world: World, folder: Path) -> dict[str, Any]:
    """A whole short run, resumed in the middle of its second epoch by another trainer."""
    whole = trainer(world, epochs="10")
    scores = [(whole.train_epoch(epoch), whole.test()) for epoch in range(1, 11)]
    first = trainer(world, epochs="10")
    first.train_epoch(1)
    # Only the last process wants to stop, after step 4; all do.
    asked = iter(range(1, 100))
    stopped = first.train_epoch(2, 0, lambda: next(asked) == 4 and world.rank == world.size - 1)
    assert isinstance(stopped, Progress)
    second = trainer(world, epochs="10")
    if world.first:
        torch.save(first.state(), folder / "state.pt")
    world.any(False)  # nobody reads before it is there
    second.load_state(torch.load(folder / "state.pt", weights_only=True))
    resumed = [(second.train_epoch(2, stopped.step), second.test())]
    resumed += [(second.train_epoch(epoch), second.test()) for epoch in range(3, 11)]
    equal = all(torch.equal(a, second.weights()[name]) for name, a in whole.weights().items())
    return {
        "stopped": [stopped.epoch, stopped.step],
        "scores": [[score.loss, score.accuracy] for pair in scores for score in pair],  # type: ignore[union-attr]
        "resumed": scores[1:] == resumed,
        "equal": equal,
        "weights": whole.weights(),
    }


def fail(world: World, folder: Path) -> dict[str, Any]:
    """The second process cannot go on; the first waits for it in the next step."""

    def stop() -> bool:
        if world.rank == 1:
            raise DataError("picture 7 cannot be read")
        return False

    trainer(world).train_epoch(1, 0, stop)
    return {}


def die(world: World, folder: Path) -> dict[str, Any]:
    """The second process is killed."""

    def stop() -> bool:
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    trainer(world).train_epoch(1, 0, stop)
    return {}


def diverge(world: World, folder: Path) -> dict[str, Any]:
    """The loss of the second process alone is no number."""
    ours = trainer(world)
    step, count = ours._step, iter(range(1, 100))

    def spoilt(*batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss, hits = step(*batch)
        bad = next(count) == 3 and world.rank == 1
        return (loss * float("nan") if bad else loss), hits

    ours._step = spoilt  # type: ignore[method-assign]
    ours.train_epoch(1)
    return {}


def main() -> int:
    task, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    world = World.from_environment()
    try:
        with world.joined(world.device("cpu")):
            result = globals()[task](world, folder)
    except TrainingError as error:
        sys.stderr.write(f"process {world.rank}: {error}\n")
        return 2
    torch.save(result, folder / f"{task}-{world.rank}-of-{world.size}.pt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
