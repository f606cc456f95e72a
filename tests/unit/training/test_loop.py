"""The loop against its formulas written out, stopped and resumed, and in its variations."""

import copy
from dataclasses import replace
from math import cos, pi

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attnvgg_training.data import normalise
from attnvgg_training.distributed import World
from attnvgg_training.errors import CheckpointError, ConfigError, DataError, DivergedError
from attnvgg_training.loop import Progress, Score, Trainer
from attnvgg_training.models import build
from tiny_training import CPU, MODEL, config, equal, pictures, trainer


def by_hand(ours: Trainer) -> tuple[dict[str, Tensor], list[float]]:
    """Weights and losses of today's recipe in formulas: SGD with Nesterov's momentum and decay of
    matrices on a one-cycle, label smoothing, the growing average."""
    train, steps = ours.config.train, ours.steps
    torch.manual_seed(train.seed)
    model = build(ours.config.model, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = dict(model.named_parameters())
    momentum: dict[str, Tensor] = {}
    average = {name: value.clone() for name, value in model.state_dict().items()}
    total, losses = steps * train.epochs, []
    batches = (batch for epoch in (1, 2) for batch in ours.loader.epoch(epoch))
    for step, batch in enumerate(batches):
        top, peak = train.lr, train.warmup * total - 1
        low, high, part = top / 25, top, step / peak
        if step > peak:
            low, high, part = top, top / 25 / 1e4, (step - peak) / (total - 1 - peak)
        rate = high + (low - high) / 2 * (cos(pi * part) + 1)
        logits = model.train()(normalise(batch.images, ours.mean, ours.std))
        loss = F.cross_entropy(logits, batch.targets, label_smoothing=train.label_smoothing)
        losses.append(loss.item())
        found = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
        with torch.no_grad():
            for name, weight in weights.items():
                gradient = found[name]
                if weight.ndim > 1:
                    gradient = gradient.add(weight, alpha=train.weight_decay)
                if name in momentum:
                    momentum[name].mul_(train.momentum).add_(gradient)
                else:
                    momentum[name] = gradient.clone()
                weight.add_(gradient.add(momentum[name], alpha=train.momentum), alpha=-rate)
            decay = min(train.ema, (1 + step) / (10 + step)) if step else 0
            for name, value in model.state_dict().items():
                if value.is_floating_point() and step:
                    average[name].lerp_(value, 1 - decay)
                else:
                    average[name].copy_(value)
    return average, losses


def test_the_weights_are_those_of_the_formulas_bit_for_bit() -> None:
    ours = trainer()
    expected, losses = by_hand(trainer())
    scores = [ours.train_epoch(1), ours.train_epoch(2)]
    assert equal(ours.weights(), expected)
    assert isinstance(scores[1], Score)
    assert scores[1].loss == sum(losses[ours.steps :]) / ours.steps


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mixup": 1.0, "cutmix": 1.0, "optimizer": "adamw", "schedule": "cosine", "lr": 0.01},
        {"amp": "bf16", "accumulate": 2, "clip": 0.5, "ema": 0.0},
        {"amp": "fp16", "decay_all": True},
        {"optimizer": "muon", "level_loss": 0.5, "shift_rate": 4.0, "amp": "fp16"},
        {"keep_maps": 0.5, "accumulate": 2},
    ],
    ids=["today", "adamw", "bf16", "fp16", "muon", "kept"],
)
def test_stopped_anywhere_and_resumed_it_gives_the_same_weights(
    settings: dict[str, object],
) -> None:
    model = replace(MODEL, dropout=0.3, head_dropout=0.3)
    whole, first, second = (trainer(model, **settings) for _ in range(3))
    expected = [whole.train_epoch(1), whole.train_epoch(2)]
    asked = iter((False, False, True))
    first.train_epoch(1)
    assert first.train_epoch(2, 0, lambda: next(asked)) == Progress(2, 3)
    torch.manual_seed(99)  # whatever the interruption left behind
    second.load_state(first.state())
    found = second.train_epoch(2, 3)
    assert repr(found) == repr(expected[1])  # nan is not equal to itself
    assert equal(second.weights(), whole.weights())
    assert equal(second.model.state_dict(), whole.model.state_dict())


def test_a_whitened_start_is_made_of_the_training_pictures_unless_weights_are_given() -> None:
    model = replace(MODEL, initialisation="whitened", widths=(8, 4, 6, 8, 8))
    ours = trainer(model)
    images = normalise(ours.data.train.pixels(torch.arange(24)), ours.mean, ours.std)
    # Noise has no direction of its own: each response has a variance of about 1.
    seen = F.conv2d(images, ours.model.units[0][0].weight).var((0, 2, 3))  # type: ignore[index]
    assert 0.5 < seen.min() <= seen.max() < 2
    assert equal(dict(ours.average.module.state_dict()), dict(ours.model.state_dict()))  # type: ignore[union-attr]
    given = {name: value + 1 for name, value in ours.weights().items()}
    again = Trainer(config(model), pictures(), CPU, initial=given)
    assert equal(again.weights(), given)


def test_a_stop_in_the_last_step_comes_after_the_epoch() -> None:
    ours = trainer()
    count = iter(range(1, 100))
    assert isinstance(ours.train_epoch(1, 0, lambda: next(count) == ours.steps), Score)
    # Stopped in the test: all steps are done, the score is still to be given.
    again = trainer()
    again.load_state(ours.state())
    assert again.train_epoch(1, ours.steps) == ours._score()


def test_dropout_differs_from_step_to_step_and_from_seed_to_seed() -> None:
    model = replace(MODEL, dropout=0.3)
    first, again, other = (trainer(model, seed=seed) for seed in (0, 0, 1))
    for each in (first, again, other):
        each.train_epoch(1)
    assert equal(first.weights(), again.weights())
    assert not equal(first.weights(), other.weights())
    drawn = [torch.rand(1).item() for seed in (1, 2) if torch.manual_seed(first._seed(1, seed))]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("parts", [2, 4])
def test_the_parts_of_a_step_have_the_gradient_of_the_whole(parts: int) -> None:
    whole, ours = trainer(batch_size=8), trainer(batch_size=8, accumulate=parts)
    batch = next(iter(ours.loader.epoch(1)))
    images = normalise(batch.images, ours.mean, ours.std)
    found = []
    for each in (whole, ours):
        each.model.eval()
        loss, logits = each._gradients(images, batch.targets)
        found.append((loss, logits, *(p.grad for p in each.model.parameters())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["VGG-att2-concat-pc", "VGG-att2-indep-pc"])
def test_the_loss_of_levels_counts_beside_that_of_all(name: str) -> None:
    model = replace(MODEL, name=name)
    ours, plain = trainer(model, level_loss=0.5), trainer(model)
    batch = next(iter(ours.loader.epoch(1)))
    images = normalise(batch.images, ours.mean, ours.std)
    loss, logits = ours._gradients(images, batch.targets)
    assert torch.equal(logits, ours.model.answers(images).logits)
    alone, _ = plain._gradients(images, batch.targets)
    levels = [F.cross_entropy(each, batch.targets) for each in ours.model.answers(images).levels]
    expected = (alone + 0.5 * torch.stack(levels).mean()) / 1.5
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level_loss", [0.0, 0.5])
def test_smoothed_labels_teach_the_features_and_not_the_maps(level_loss: float) -> None:
    """Against the gradients of the whole loss with all labels smoothed, and with none."""
    model = replace(MODEL, name="VGG-att2-concat-pc", initial_scale=0.3)
    found = {}
    for smoothing in (0.0, 0.1, 0.2):
        ours = trainer(model, label_smoothing=smoothing, level_loss=level_loss)
        batch = next(iter(ours.loader.epoch(1)))
        images = normalise(batch.images, ours.mean, ours.std)
        loss, logits = ours._gradients(images, batch.targets)
        u = torch.cat([each.u.grad for each in ours.model.attention.values()])
        found[smoothing] = (loss, u, ours.model.head.classify.weight.grad)
        if smoothing == 0:
            all_smoothed = F.cross_entropy(logits, batch.targets, label_smoothing=0.1)
            plain = F.cross_entropy(logits, batch.targets)
    # The loss is linear in the labels, so features see 0.1 on average.
    more = found[0.1][0] - found[0.0][0]
    torch.testing.assert_close((1 + level_loss) * more, all_smoothed - plain, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[0.1][2] - found[0.0][2], found[0.2][2] - found[0.1][2])
    assert (found[0.1][2] - found[0.0][2]).abs().max() > 1e-4
    # Maps learn from the plain half of it, the same whatever the smoothing.
    torch.testing.assert_close(found[0.1][1], found[0.2][1])
    assert found[0.1][1].abs().max() > 0


def test_smoothing_a_network_without_maps_is_the_usual_one() -> None:
    model = replace(MODEL, name="VGG-control", global_feature=True)
    ours = trainer(model, label_smoothing=0.1)
    batch = next(iter(ours.loader.epoch(1)))
    images = normalise(batch.images, ours.mean, ours.std)
    loss, logits = ours._gradients(images, batch.targets)
    expected = F.cross_entropy(logits, batch.targets, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_kept_maps_stay_near_those_of_the_averaged_network_of_then(smoothing: float) -> None:
    model = replace(MODEL, initial_scale=0.3)
    kept, free = (trainer(model, label_smoothing=smoothing, keep_maps=k) for k in (0.5, 0.0))
    kept.train_epoch(1)
    free.model.load_state_dict(kept.model.state_dict())
    then = copy.deepcopy(kept.average.module)  # type: ignore[union-attr]
    batch = next(iter(kept.loader.epoch(2)))
    images = normalise(batch.images, kept.mean, kept.std)
    kept.teacher.begin(2, then)  # type: ignore[union-attr]
    loss, logits = kept._gradients(images, batch.targets)
    alone, same = free._gradients(images, batch.targets)
    torch.testing.assert_close(logits, same)
    theirs, ours = then.explain(images).maps, kept.model.answers(images).maps
    moved = [
        (a * (a / b).log()).sum((1, 2)).mean() for a, b in zip(theirs.values(), ours, strict=True)
    ]
    torch.testing.assert_close(loss, alone + sum(moved) / 2, rtol=1e-5, atol=1e-6)
    assert kept.model.get_parameter("attention.conv10.u").grad.abs().max() > 0  # type: ignore[union-attr]
    assert all(p.grad is None for p in kept.teacher.module.parameters())  # type: ignore[union-attr]


def test_the_teacher_is_taken_once_and_never_untrained() -> None:
    ours = trainer(keep_maps=0.1)
    ours.train_epoch(1)
    assert ours.teacher.module is None  # type: ignore[union-attr]
    then = copy.deepcopy(ours.weights())
    ours.train_epoch(2)
    assert equal(ours.teacher.module.state_dict(), then)  # type: ignore[union-attr]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_maps_that_are_not_learned_stay_even_while_the_rest_learns(optimizer: str) -> None:
    ours = trainer(learn_maps=False, optimizer=optimizer, lr=0.01, decay_all=True)
    before = ours.model.get_parameter("head.classify.weight").detach().clone()
    ours.train_epoch(1)
    assert (ours.model.get_parameter("head.classify.weight") - before).abs().max() > 0
    maps = ours.model.eval().explain(torch.randn(2, 3, 8, 8)).maps
    for each in maps.values():
        torch.testing.assert_close(each, torch.full_like(each, 1 / each[0].numel()))
    given = {n: torch.ones_like(w) for n, w in ours.weights().items() if n.endswith(".u")}
    assert given
    again = Trainer(config(learn_maps=False), pictures(), CPU, initial=given)
    assert all((again.weights()[name] == 0).all() for name in given)


def test_clipping_bounds_the_step() -> None:
    free, bound = (
        trainer(ema=0.0, momentum=0.0, nesterov=False, weight_decay=0.0),
        trainer(ema=0.0, momentum=0.0, nesterov=False, weight_decay=0.0, clip=1e-3),
    )
    moved = []
    for each in (free, bound):
        before = [p.clone() for p in each.model.parameters()]
        each.train_epoch(1, 0, lambda: True)
        pairs = zip(before, each.model.parameters(), strict=True)
        moved.append(torch.stack([(a - b).norm() for a, b in pairs]).norm().item())
    assert moved[1] == pytest.approx(1e-3 * bound.rate, rel=1e-2)
    assert moved[0] > 10 * moved[1]


def test_a_weight_spoilt_by_the_last_step_is_not_given_out() -> None:
    ours = trainer()
    step = ours._step

    def spoil(*batch: Tensor) -> tuple[Tensor, Tensor]:
        done = step(*batch)
        if ours.tally.steps == ours.steps:
            with torch.no_grad():
                ours.model.head.classify.bias[0] = torch.inf
        return done

    ours._step = spoil  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match="a weight is no longer a number in epoch 1, step 1 of"):
        ours.train_epoch(1, 0, lambda: True)


def test_initial_weights_are_where_it_starts_and_the_rest_is_random() -> None:
    start = {"head.classify.bias": torch.tensor([1.0, 2.0, 3.0])}
    ours = Trainer(config(), pictures(), CPU, initial=start)
    assert torch.equal(ours.model.head.classify.bias, start["head.classify.bias"])
    assert torch.equal(ours.weights()["head.classify.bias"], start["head.classify.bias"])
    assert torch.equal(ours.model.units[0][0].weight, trainer().model.units[0][0].weight)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"head.bias": torch.zeros(3)}, "the network has no weights named head.bias"),
        ({"head.classify.bias": torch.zeros(4)}, "the initial weights do not fit: size mismatch"),
    ],
)
def test_initial_weights_that_do_not_fit_are_refused(
    start: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        Trainer(config(), pictures(), CPU, initial=start)


def test_a_batch_must_fit_the_pictures_and_be_shared_equally() -> None:
    with pytest.raises(DataError, match="--batch-size is 30, but there are only 24"):
        trainer(batch_size=30)
    with pytest.raises(ConfigError, match=r"with 3 processes and --accumulate 1 .* multiple of 3"):
        Trainer(config(batch_size=8), pictures(), CPU, World(0, 3, 0))
    with pytest.raises(ConfigError, match="multiple of 4 and at least 8"):
        Trainer(config(batch_size=4, accumulate=2), pictures(), CPU, World(0, 2, 0))


@pytest.mark.parametrize("last", [True, False])
def test_pictures_have_the_memory_format_that_is_asked_for(last: bool) -> None:
    ours, seen = trainer(channels_last=last), []
    ours.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ours.train_epoch(1, 0, lambda: True)
    assert seen[0].is_contiguous(memory_format=torch.channels_last) is last
    assert seen[0].is_contiguous() is not last
