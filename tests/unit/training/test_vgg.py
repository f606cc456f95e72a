"""The VGG follows its plan: where it pools, drops out, taps, and adds what it skipped."""

from typing import Any, cast

import pytest
import torch
from torch import nn

from attnvgg_training.errors import ConfigError
from attnvgg_training.models import ModelConfig, parameters
from attnvgg_training.trunk import Trunk
from attnvgg_training.vgg import AttentionVGG
from tiny_networks import WIDTHS, small

SHALLOW: dict[str, Any] = {"depths": (1, 1, 3, 3, 3, 2), "pools": (2, 5, 8, 11)}


def tiny(name: str = "VGG-att3-concat-pc", **values: Any) -> AttentionVGG:
    return cast(AttentionVGG, small(name, **values))


def grids(model: AttentionVGG, size: int = 32) -> dict[str, int]:
    """Sides of the maps, which are square and agree with the declared strides."""
    with torch.inference_mode():
        maps = model.explain(torch.randn(1, 3, size, size)).maps
    assert {name: size // stride for name, stride in model.strides.items()} == {
        name: each.shape[1] for name, each in maps.items()
    }
    assert all(each.shape[1] == each.shape[2] for each in maps.values())
    return {name: each.shape[1] for name, each in maps.items()}


def test_the_papers_trunk_taps_and_drops_out_where_the_official_code_does() -> None:
    trunk = Trunk()
    assert [trunk.taps(count) for count in (3, 2, 1, 0)] == [(7, 10, 13), (10, 13), (13,), ()]
    assert trunk.pooled == dict.fromkeys((7, 10, 13, 14, 15), 2)
    rates = {1: 0.3, **dict.fromkeys((3, 5, 6, 8, 9, 11, 12, 14, 15), 0.4)}
    assert trunk.dropout_after == pytest.approx(rates)
    channels = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 8
    assert [trunk.channels(conv) for conv in range(1, 16)] == channels


def test_dropout_stands_behind_the_batch_norm_and_never_in_a_tap() -> None:
    """Seen from outside: which convolutions' outputs the next layer sees with zeroes put in."""
    model = tiny(dropout=0.5).train()
    for norm in model.units.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.constant_(norm.bias, 9)  # ReLU itself makes no zero
    seen: dict[int, float] = {}

    def watch(conv: int) -> Any:
        return lambda _, inputs: seen.__setitem__(conv, (inputs[0] == 0).float().mean().item())

    for conv, unit in enumerate(model.units, start=1):
        unit.register_forward_pre_hook(watch(conv - 1))
    levels = model.tapped(torch.randn(4, 3, 32, 32) + 9)[0]
    zeroed = {conv: part for conv, part in seen.items() if part > 0.01}
    assert list(zeroed) == [1, 3, 5, 6, 8, 9, 11, 12, 14][: len(zeroed)]
    assert zeroed.pop(14) > 0  # pooled: fewer zeroes
    assert zeroed.pop(1) == pytest.approx(0.375, abs=0.05)
    assert all(part == pytest.approx(0.5, abs=0.1) for part in zeroed.values())
    assert len(zeroed) == 7
    assert all((each != 0).all() for each in levels.values())


def test_the_papers_maps_have_the_papers_grids() -> None:
    with torch.inference_mode():
        explanation = small().explain(torch.randn(2, 3, 32, 32))
    shapes = {name: tuple(m.shape) for name, m in explanation.maps.items()}
    assert shapes == {"conv7": (2, 32, 32), "conv10": (2, 16, 16), "conv13": (2, 8, 8)}
    assert explanation.logits.shape == (2, 10)
    assert explanation.descriptor.shape == (2, 24 + 32 + 32)


@pytest.mark.parametrize(
    ("values", "expected", "multiple"),
    [
        ({"pools": (2, 7, 10, 13)}, {"conv7": 16, "conv10": 8, "conv13": 4}, 16),
        (SHALLOW, {"conv5": 16, "conv8": 8, "conv11": 4}, 16),
        ({"depths": (1, 1, 3, 3, 3, 2)}, {"conv5": 32, "conv8": 16, "conv11": 8}, 32),
        ({"pools": (2, 7, 10, 13), "tap": "after"}, {"conv7": 8, "conv10": 4, "conv13": 2}, 16),
        ({"depths": (2, 2, 3, 3, 3, 0)}, {"conv7": 32, "conv10": 16, "conv13": 8}, 8),
        ({**SHALLOW, "global_feature": False}, {"conv5": 16, "conv8": 8, "conv11": 4}, 8),
        (
            {**SHALLOW, "global_feature": False, "tap": "after"},
            {"conv5": 8, "conv8": 4, "conv11": 2},
            16,
        ),
    ],
)
def test_maps_follow_the_plan(
    values: dict[str, Any], expected: dict[str, int], multiple: int
) -> None:
    model = tiny(**values)
    assert grids(model) == expected
    assert model.multiple == multiple
    assert ModelConfig(widths=WIDTHS, **values).multiple == multiple


def test_cub_pools_by_five_after_convolution_7() -> None:
    """notes of the official code: att2 at 80x80, maps of 16x16 and 8x8."""
    model = tiny("VGG-att2-concat-pc", pool_sizes=(5, 2, 2, 2, 2))
    assert grids(model, 80) == {"conv10": 16, "conv13": 8}
    assert model.multiple == 80


def test_what_is_left_of_the_picture_is_averaged() -> None:
    model, images = tiny("VGG-control"), torch.randn(2, 3, 64, 64)
    assert model.global_branch is not None
    with torch.inference_mode():
        _, x = model.convolved(images)
        assert x.shape[2:] == (2, 2)
        expected = model.global_branch(x.flatten(2).mean(-1))
        found = model.tapped(images)[1]
        assert found is not None
        assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("global_feature", "sides"), [(True, [16, 8, 4, 2, 1]), (False, [16, 8])])
def test_every_pool_of_the_plan_is_taken_as_far_as_something_needs_it(
    global_feature: bool, sides: list[int]
) -> None:
    model, seen = tiny(global_feature=global_feature), []
    for pool in model.pools.values():
        pool.register_forward_hook(lambda _, __, output: seen.append(output.shape[-1]))
    with torch.inference_mode():
        model(torch.randn(1, 3, 32, 32))
    assert seen == sides


def test_residual_adds_the_input_of_the_last_two_to_their_output_and_taps_the_sum() -> None:
    """In groups of three or more; watched at the inputs and outputs of the convolutions."""
    plan: dict[str, Any] = {"pools": (7, 10), "depths": (2, 2, 3, 3, 4, 3)}
    model, into, out = tiny(residual=True, **plan), {}, {}
    for conv, unit in enumerate(model.units, start=1):
        unit.register_forward_pre_hook(lambda _, x, conv=conv: into.__setitem__(conv, x[0]))
        unit.register_forward_hook(lambda _, __, y, conv=conv: out.__setitem__(conv, y))
    with torch.inference_mode():
        levels = model.tapped(torch.randn(2, 3, 32, 32))[0]
    assert list(levels) == ["conv7", "conv10", "conv14"]
    for conv in (7, 10, 14):
        assert torch.equal(levels[f"conv{conv}"], out[conv] + into[conv - 1])
    assert torch.equal(into[8], nn.functional.max_pool2d(levels["conv7"], 2))
    for conv in (2, 3, 4, 5, 6, 9, 12, 13, 16, 17):  # nothing else is added, in the sixth neither
        assert torch.equal(into[conv], out[conv - 1])
    assert parameters(model) == parameters(tiny(**plan))


def test_without_the_global_feature_it_is_the_same_function() -> None:
    for plan in ({"pools": (2, 7, 10, 13)}, {"tap": "after"}, SHALLOW | {"residual": True}):
        whole, images = tiny(**plan), torch.randn(4, 3, 32, 32)
        cut = tiny(**plan, global_feature=False)
        cut.load_state_dict({k: whole.state_dict()[k] for k in cut.state_dict()})
        for other in (cut, whole.cut()):
            with torch.inference_mode():
                assert torch.allclose(whole(images), other(images), atol=1e-5)
            assert parameters(other) < parameters(whole)
            assert other.global_branch is None
        assert cut.cut() is cut


def test_what_only_g_needs_is_not_built_without_g() -> None:
    """Every parameter gets a gradient: DistributedDataParallel stops at one that gets none."""
    for projection in ("g-to-l", "l-to-g"):
        model = tiny(global_feature=False, projection=projection)
        model(torch.randn(4, 3, 32, 32)).square().sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        assert len(model.units) == 13


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": (8, 8)}, r"--widths is \(8, 8\); it must be five"),
        ({"depths": (2, 2, 3, 3, 3)}, r"--depths is \(2, 2, 3, 3, 3\); it must be six"),
        ({"depths": (2, 2, 3, 0, 3, 2)}, "--depths"),
        ({"pools": (7, 2)}, r"--pools is \(7, 2\); it must be rising numbers from 1 to 15"),
        ({"pools": (2, 16)}, "--pools"),
        ({"pools": (2, 14), "depths": (1, 1, 3, 3, 3, 2)}, r"1 to 13, .* \(--depths \(1, 1, 3,"),
        ({"pool_sizes": (5, 2)}, r"--pool-sizes is \(5, 2\); .* each of the 5 pools"),
        ({"pool_sizes": (1,)}, r"--pool-sizes is \(1,\)"),
        ({"pool_sizes": ()}, r"--pool-sizes is \(\)"),
        (
            {"residual": True, "pools": (6, 10)},
            "--residual is true, but a pool follows convolution 6",
        ),
        ({"tap": "after", "pools": (7, 10)}, "--tap is 'after', but no pool follows level conv13"),
        ({"tap": "beside"}, "--tap is 'beside'; it must be one of before, after"),
    ],
)
def test_a_plan_that_does_not_work_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**values)
