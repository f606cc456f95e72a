"""The learning rate of every step, a function of the step alone: resume has nothing to restore.

- one-cycle: along a cosine from lr / 25 up to lr, then down to lr / 250,000. Smith and Topin,
  "Super-Convergence" (2018), as torch's OneCycleLR has it, to the bit, with the momentum held.
- cosine: linearly up to lr, then down to nothing along half a cosine; Loshchilov and Hutter,
  "SGDR" (ICLR 2017), without restarts.
- step: linearly up to lr, then times a factor after each milestone; the paper halves every 25
  epochs.

Steps that fp16 skips count: a run of so many epochs ends at the end of its schedule.
"""

from math import cos, pi, prod

from attnvgg_training.config import TrainConfig

START, END = 25.0, 1e4  # OneCycleLR's own: lr / START at first, that / END at last


def rate_at(train: TrainConfig, steps: int, step: int) -> float:
    """The learning rate.

    Args:
        train: the settings.
        steps: of an epoch.
        step: of the run, from 0.
    """
    total = steps * train.epochs
    if train.schedule == "one-cycle":
        return _one_cycle(train, total, step)
    risen = train.warmup * total
    warm = min(1.0, (step + 1) / risen) if risen else 1.0
    if train.schedule == "step":
        return train.lr * warm * _factor(train, done=step // steps)
    if warm < 1:
        return train.lr * warm
    top = max(risen, 1)  # the steps up to the first that has all of lr
    part = (step + 1 - top) / max(total - top, 1)
    return train.lr * (1 + cos(pi * part)) / 2


def _one_cycle(train: TrainConfig, total: int, step: int) -> float:
    total = max(2, total)
    top, low = train.lr, train.lr / START
    peak = float(train.warmup * total) - 1
    if step <= peak:
        # A rise of one step has nowhere to rise from; OneCycleLR divides by zero.
        return _between(low, top, step / peak) if peak else top
    start = peak
    return _between(top, low / END, (step - start) / (total - 1 - start))


def _between(start: float, end: float, part: float) -> float:
    """From start to end along half a cosine, in the order of torch's operations."""
    return end + (start - end) / 2.0 * (cos(pi * part) + 1)


def _factor(train: TrainConfig, done: int) -> float:
    """Of the step schedule, `done` epochs being over."""
    factors = train.factors * (len(train.milestones) if len(train.factors) == 1 else 1)
    passed = (f for m, f in zip(train.milestones, factors, strict=True) if m <= done)
    return prod(passed)
