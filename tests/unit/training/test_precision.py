"""16 bits, skipped steps, the average, and a compiler that is not there."""

from functools import partial

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from attnvgg_training.ema import Average
from attnvgg_training.errors import ConfigError
from tiny_training import equal, trainer


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_16_bits_train_nearly_the_same_weights_in_float32(amp: str) -> None:
    full, half = trainer(ema=0.0), trainer(ema=0.0, amp=amp)
    scores = [each.train_epoch(1) for each in (full, half)]
    assert scores[0].loss == pytest.approx(scores[1].loss, rel=0.1)  # type: ignore[union-attr]
    assert not equal(full.weights(), half.weights())
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}


def test_a_step_that_overflows_in_fp16_changes_nothing_but_the_scale() -> None:
    ours = trainer(amp="fp16")
    ours.train_epoch(1, 0, lambda: True)
    assert ours.average is not None
    ours.precision.scaler.update(torch.tensor(1e38))  # any gradient overflows
    before = {name: value.clone() for name, value in ours.weights().items()}
    scale, count = ours.precision.scaler.get_scale(), ours.average.count
    ours.train_epoch(1, 1, lambda: True)
    assert equal(before, ours.weights())
    assert ours.average.count == count
    assert ours.precision.scaler.get_scale() == scale / 2
    # The schedule is a function of the step: the run still ends where it should.
    assert ours.rate == trainer()._set_rate(1, 2)


def test_the_scale_is_part_of_the_state() -> None:
    ours, other = trainer(amp="fp16"), trainer(amp="fp16")
    ours.train_epoch(1, 0, lambda: True)
    ours.precision.scaler.update(torch.tensor(128.0))
    other.load_state(ours.state())
    assert other.precision.scaler.get_scale() == 128


def test_the_average_is_torchs_with_a_growing_memory() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    ours = Average(model, 0.9)

    def update(averaged, current, count):  # type: ignore[no-untyped-def]
        get_ema_multi_avg_fn(min(0.9, (1 + int(count)) / (10 + int(count))))(
            averaged, current, count
        )

    theirs = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    for _ in range(120):
        with torch.no_grad():
            model(torch.randn(4, 3))
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        ours.update()
        theirs.update_parameters(model)
    expected = theirs.module.state_dict()
    for name, value in ours.module.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, expected[name]), name
    # Of a counter there is no average; torch's is one all the same, cut to a whole number.
    assert ours.module[1].num_batches_tracked == 120  # type: ignore[union-attr]
    assert not any(p.requires_grad for p in ours.module.parameters())


def test_a_compiler_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """test_training_compile.py does it with the real one."""

    def fails(*_: object) -> None:
        raise RuntimeError("no compiler\nand a lot more")

    compiled = partial(torch.compile, backend=fails)
    monkeypatch.setattr(torch, "compile", compiled)
    with pytest.raises(ConfigError, match=r"^--compile true failed: .*no compiler.*") as caught:
        trainer(compile=True).train_epoch(1)
    message = str(caught.value)
    assert message.endswith("it needs a C++ compiler such as g++, and --compile false does without")
    assert "\n" not in message
