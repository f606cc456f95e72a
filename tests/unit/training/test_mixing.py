"""Mixed pictures and targets, drawn from the seeded global generator."""

import math

import pytest
import torch

from attnvgg_training.config import TrainConfig
from attnvgg_training.mixing import mixing
from tiny_training import equal, trainer

IMAGES = torch.arange(6.0)[:, None, None, None].expand(6, 3, 8, 8).contiguous()
TARGETS = torch.arange(6) % 3


def mixed(seed: int = 0, **settings: float) -> tuple[torch.Tensor, torch.Tensor]:
    mix = mixing(TrainConfig(**settings), 3)  # type: ignore[arg-type]
    assert mix is not None
    torch.manual_seed(seed)
    return mix(IMAGES, TARGETS)


def is_cut(images: torch.Tensor) -> bool:
    """Cutmix leaves each pixel whole, mixup does not."""
    return bool((images == images.round()).all())


def test_off_by_default() -> None:
    assert mixing(TrainConfig(), 3) is None


def test_mixup_blends_each_picture_and_target_with_the_one_before() -> None:
    images, targets = mixed(mixup=1.0)
    share = targets[1, 1].item()
    assert 0 < share < 1
    assert targets[1].tolist() == pytest.approx([1 - share, share, 0])
    assert images[1].unique().item() == pytest.approx(share * 1 + (1 - share) * 0)


def test_cutmix_pastes_a_rectangle_and_counts_its_pixels() -> None:
    images, targets = next(
        pair for seed in range(20) if not is_whole(pair := mixed(seed, cutmix=1.0))
    )
    own = (images[1, 0] == 1).double().mean().item()
    assert set(images[1].unique().tolist()) == {0.0, 1.0}
    assert targets[1].tolist() == pytest.approx([1 - own, own, 0])


def is_whole(pair: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return pair[1][1, 1].item() in (0.0, 1.0)


def test_with_both_each_takes_about_half_of_the_steps() -> None:
    cut = sum(is_cut(mixed(seed, mixup=1.0, cutmix=1.0)[0]) for seed in range(200))
    assert 70 < cut < 130


def test_a_seed_gives_the_same_mix_and_another_seed_another() -> None:
    first, again, other = (mixed(seed, mixup=1.0)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_run_with_mixing_learns_from_the_mix_and_claims_no_training_accuracy() -> None:
    plain, ours, again = (trainer(mixup=m, cutmix=m) for m in (0.0, 1.0, 1.0))
    scores = [each.train_epoch(1) for each in (plain, ours, again)]
    assert math.isfinite(scores[0].accuracy)  # type: ignore[union-attr]
    assert math.isnan(scores[1].accuracy)  # type: ignore[union-attr]
    assert math.isfinite(scores[1].loss)  # type: ignore[union-attr]
    assert not equal(plain.weights(), ours.weights())
    assert equal(ours.weights(), again.weights())
