"""The ResNet has the paper's size and shapes, and attends as the VGG does."""

import pytest
import torch
from torch import nn

from attnvgg_training.attention import NORMALISE
from attnvgg_training.network import AttentionOptions, Head
from attnvgg_training.resnet import AttentionResNet, Bottleneck

WIDTHS = (4, 8, 12, 16)
LEVELS = ("stage2", "stage3")


def small(
    levels: tuple[str, ...] = LEVELS,
    options: AttentionOptions = AttentionOptions(),  # noqa: B008, it is frozen
    global_feature: bool = True,
) -> AttentionResNet:
    """In evaluation mode, with statistics and maps of its own."""
    torch.manual_seed(0)
    model = AttentionResNet(levels, 5, global_feature, options, blocks=2, widths=WIDTHS)
    for attention in model.attention.values():
        if attention.u is not None:
            nn.init.normal_(attention.u, std=0.3)
    for _ in range(3):
        model(torch.randn(8, 3, 32, 32))
    return model.eval()


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def by_hand(inputs: int, outputs: int, blocks: int) -> int:
    """Weights of a stage: 1x1, 3x3 and 1x1 convolutions, a batch norm before each, and the 1x1
    convolution beside the first block."""
    middle = outputs // 4

    def block(entering: int) -> int:
        convolutions = entering * middle + 9 * middle * middle + middle * outputs
        return convolutions + 2 * (entering + middle + middle)

    return block(inputs) + inputs * outputs + (blocks - 1) * block(outputs)


STEM, STAGES = 27 * 16, by_hand(16, 64, 18) + by_hand(64, 128, 18) + by_hand(128, 256, 18)


def test_the_plain_network_has_the_size_of_resnet_164() -> None:
    assert (STEM, STAGES) == (432, 81_952 + 326_272 + 1_291_520)
    assert parameters(AttentionResNet((), 10)) == STEM + STAGES + 512 + 2_570 == 1_703_258


def test_the_networks_with_attention_have_the_size_of_their_plan() -> None:
    branch = 512 + 9 * 256 * 256 + 512 + 256 * 256 + 256
    projection = 512 + 256 * 128 + 128
    scores, head = 128 + 256, 2 * 384 + 384 * 100 + 100
    expected = STEM + STAGES + branch + projection + scores + head
    model = AttentionResNet(LEVELS, 100)
    assert parameters(model) == expected == 2_429_876
    assert parameters(model.cut()) == expected - branch - projection
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    # Three a block, one beside the first of each stage, the stem, and the one of g.
    assert len(convolutions) == 3 * 3 * 18 + 3 + 1 + 1
    assert all(c.bias is None for c in convolutions)


def test_convolutions_start_by_fan_out() -> None:
    torch.manual_seed(0)
    model = AttentionResNet((), 10)
    wide = model.get_submodule("stages.stage3.0.shortcut")  # 128 -> 256: fan-in would give 0.125
    assert wide.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.02)


def test_the_maps_have_the_papers_grids() -> None:
    with torch.inference_mode():
        found = small(("stage1", *LEVELS)).explain(torch.randn(2, 3, 32, 32))
    grids = {name: tuple(m.shape[1:]) for name, m in found.maps.items()}
    assert grids == {"stage1": (32, 32), "stage2": (16, 16), "stage3": (8, 8)}
    assert found.logits.shape == (2, 5)
    assert found.descriptor.shape == (2, 8 + 12 + 16)
    assert small(("stage1", *LEVELS)).strides == {"stage1": 1, "stage2": 2, "stage3": 4}


def test_a_level_taps_the_raw_residual_stream() -> None:
    model, seen = small(), []
    model.stages["stage2"].register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.inference_mode():
        locals_, _ = model.tapped(torch.randn(2, 3, 32, 32))
    assert torch.equal(locals_["stage2"], seen[0])
    assert locals_["stage2"].min() < 0  # no ReLU between


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(8, 8, 1), (4, 8, 1), (8, 8, 2)])
def test_a_block_is_the_definition(inputs: int, outputs: int, stride: int) -> None:
    torch.manual_seed(0)
    block = Bottleneck(inputs, outputs, stride)
    for _ in range(3):
        block(torch.randn(4, inputs, 6, 6))
    block.eval()
    x = torch.randn(2, inputs, 6, 6)
    with torch.inference_mode():
        active = block.activation[0](x).relu()
        y = block.residual[1](block.residual[0](active)).relu()
        y = block.residual[6](block.residual[4](block.residual[3](y)).relu())
        same = inputs == outputs and stride == 1
        assert (block.shortcut is None) == same
        expected = y + (x if block.shortcut is None else block.shortcut(active))
        assert torch.allclose(block(x), expected, atol=1e-6)
    assert block(x).shape == (2, outputs, 6 // stride, 6 // stride)
    assert block.residual[0].stride == (stride, stride)


@pytest.mark.parametrize("normalisation", sorted(NORMALISE))
@pytest.mark.parametrize("compatibility", ["pc", "dp"])
def test_what_no_output_depends_on_is_cut(normalisation: str, compatibility: str) -> None:
    model = small(options=AttentionOptions(compatibility, normalisation))  # type: ignore[arg-type]
    cut = model.cut()
    assert (cut is model) == model.g_matters == (cut.global_branch is not None)
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        whole, light = model.explain(images), cut.explain(images)
    assert torch.allclose(whole.logits, light.logits, atol=1e-3)
    for name, map_ in whole.maps.items():
        area = map_[0].numel()
        assert torch.allclose(area * map_, area * light.maps[name], atol=2e-2)


def test_a_stage_behind_the_last_level_is_cut_with_g() -> None:
    cut = small(("stage2",)).cut()
    assert list(cut.stages) == ["stage1", "stage2"]
    assert cut.multiple == 2
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(cut(images), small(("stage2",))(images), atol=1e-5)


def test_g_matters_under_dp() -> None:
    model = small(options=AttentionOptions("dp"))
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        before = model(images)
        assert model.global_branch is not None
        model.global_branch[-1].bias += 1
        assert not torch.allclose(before, model(images), atol=1e-3)


def test_g_is_pooled_as_the_official_code_pools_it() -> None:
    """At 32x32 the maximum over what is left is the 4x4 pool."""
    model, seen = small(), []
    branch = model.global_branch
    assert branch is not None
    branch[7].register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    with torch.inference_mode():
        model(torch.randn(2, 3, 32, 32))
    entering, leaving = seen[0]
    assert entering.shape[-2:] == (4, 4)
    assert torch.equal(nn.functional.max_pool2d(entering, 4).flatten(1), leaving)


def test_dropout_is_where_the_official_code_has_it() -> None:
    model = AttentionResNet(LEVELS, 5, blocks=1, widths=WIDTHS)
    assert isinstance(model.head, Head)
    assert model.head.dropout.p == pytest.approx(0.3)
    assert model.global_branch is not None
    found = [m.p for m in model.global_branch if isinstance(m, nn.Dropout)]
    assert found == pytest.approx([0.4, 0.5])
    project = model.get_submodule("attention.stage2.project")
    assert [m.p for m in project.modules() if isinstance(m, nn.Dropout)] == [0.5]
    indep = AttentionOptions(aggregation="indep")
    heads = AttentionResNet(LEVELS, 5, options=indep, blocks=1, widths=WIDTHS).head
    assert [h.dropout.p for h in heads if isinstance(h, Head)] == pytest.approx([0.3, 0.3])
    plain = AttentionResNet((), 5, blocks=1, widths=WIDTHS)
    assert {m.p for m in plain.modules() if isinstance(m, nn.Dropout)} == {0.0}


def test_the_plain_network_classifies_the_mean_of_what_its_last_stage_gives() -> None:
    model, seen = small(()), []
    model.stages["stage3"].register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.inference_mode():
        found = model.explain(torch.randn(2, 3, 32, 32))
        assert model.global_branch is not None
        features = model.global_branch[0](seen[0]).relu().mean((2, 3))
        assert isinstance(model.head, Head)
        assert torch.allclose(found.logits, model.head.classify(features), atol=1e-5)
    assert found.maps == {}
    assert torch.allclose(found.descriptor, features, atol=1e-6)
    assert model.cut() is model


@pytest.mark.parametrize("levels", [(), ("stage2",), LEVELS])
def test_other_sizes_do_not_break_the_pools(levels: tuple[str, ...]) -> None:
    for model in (small(levels), small(levels).cut()):
        for height, width in ((model.multiple, model.multiple), (8, 24), (64, 40)):
            with torch.inference_mode():
                found = model.explain(torch.randn(1, 3, height, width))
            assert torch.isfinite(found.logits).all()
            for name, stride in model.strides.items():
                assert found.maps[name].shape[1:] == (height // stride, width // stride)
