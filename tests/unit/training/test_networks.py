"""What all networks share: the head, the aggregation, and that g is dead under pc with softmax."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from attnvgg_training.models import parameters
from attnvgg_training.network import AttentionOptions, Explanation, Head, Network
from attnvgg_training.resnet import AttentionResNet
from tiny_networks import WIDTHS, small

PICTURES = (4, 3, 32, 32)
ATTENTION = [
    f"VGG-att{levels}-{how}" for levels, how in ((3, "concat"), (3, "indep"), (2, "indep"))
]


def network(name: str, **values: Any) -> Network:
    """Of a tiny width in float64; "ResNet" stands for one with a block a stage."""
    if name == "ResNet":
        torch.manual_seed(0)
        options = AttentionOptions(**values, dropout=0.0, initial_scale=0.5)
        resnet = AttentionResNet(("stage2", "stage3"), 10, True, options, 1, (4, 8, 12, 16))
        return resnet.double().eval()
    return small(name, **values).double()


def explained(model: Network, images: Tensor, g: Tensor | None = None) -> Explanation:
    """With another g where one is given."""
    if g is None:
        return model.explain(images)
    real = model.tapped
    model.tapped = lambda x: (real(x)[0], g)  # type: ignore[method-assign]
    try:
        return model.explain(images)
    finally:
        del model.tapped


@pytest.mark.parametrize("name", [*(f"{name}-pc" for name in ATTENTION), "ResNet"])
@pytest.mark.parametrize("normalisation", ["softmax", "sparsemax", "one-hot"])
@pytest.mark.parametrize("training", [False, True])
def test_g_is_dead_under_pc(name: str, normalisation: str, training: bool) -> None:
    """<u, l + g> is <u, l> and a constant, which these normalisations ignore: another g changes no
    map, no feature and no logit, and nothing that makes g gets a gradient."""
    model = network(name, normalisation=normalisation).train(training)
    images = torch.randn(PICTURES).double()
    shape = model.tapped(images)[1]
    assert shape is not None
    before = explained(model, images)
    after = explained(model, images, 30 * torch.randn_like(shape))
    close: dict[str, float] = {"rtol": 1e-9, "atol": 1e-11}
    torch.testing.assert_close(tuple(after), tuple(before), **close)  # type: ignore[call-overload]
    assert not model.g_matters
    model.zero_grad()
    before.logits.square().sum().backward()
    gradients = {k: p.grad.abs().max() for k, p in model.named_parameters() if p.grad is not None}
    dead = [k for k in gradients if k.startswith("global_branch") or ".project." in k]
    largest = max(gradients.values())
    assert len(dead) > 1
    assert max(gradients[k] for k in dead) < 1e-9 * largest
    assert min(v for k, v in gradients.items() if k.endswith((".u", "classify.weight"))) > 0


@pytest.mark.parametrize(
    ("name", "normalisation"),
    [
        *((f"{name}-dp", "softmax") for name in ATTENTION),
        ("VGG-att2-concat-dp", "sigmoid"),
        ("VGG-att3-concat-pc", "sigmoid"),
    ],
)
def test_g_matters_under_dp_and_sigmoid(name: str, normalisation: str) -> None:
    model = network(name, normalisation=normalisation)
    images = torch.randn(PICTURES).double()
    before = explained(model, images)
    after = explained(model, images, torch.randn(4, WIDTHS[-1]).double())
    assert model.g_matters
    assert model.cut() is model
    assert not torch.allclose(before.logits, after.logits, atol=1e-3)
    for level, each in before.maps.items():
        assert not torch.allclose(each, after.maps[level], rtol=1e-3)
    before.logits.square().sum().backward()
    dead = model.get_parameter("global_branch.1.weight").grad
    assert dead is not None
    assert dead.abs().max() > 1e-6


def test_maps_are_non_negative_sum_to_one_and_differ() -> None:
    with torch.inference_mode():
        maps = small().explain(torch.randn(PICTURES)).maps
    for each in maps.values():
        assert (each >= 0).all()
        assert torch.allclose(each.sum((1, 2)), torch.ones(4), atol=1e-5)
        assert not torch.allclose(each[0], each[1])


def test_concat_is_one_linear_layer_over_all_features() -> None:
    model = network("VGG-att3-concat-pc")
    found = model.explain(torch.randn(PICTURES).double())
    head = model.head
    assert isinstance(head, Head)
    assert head.norms is not None
    parts = found.descriptor.split([24, 32, 32], dim=1)
    normed = [norm(x).relu() for norm, x in zip(head.norms, parts, strict=True)]
    expected = torch.cat(normed, 1) @ head.classify.weight.T + head.classify.bias
    torch.testing.assert_close(found.logits, expected)
    assert head.classify.weight.shape == (10, 24 + 32 + 32)


def test_indep_is_the_mean_of_the_levels_probabilities() -> None:
    """Not the product of the official att2 code, nor the sum of logits of its att3."""
    model = network("VGG-att3-indep-pc")
    found = model.explain(torch.randn(PICTURES).double())
    parts = found.descriptor.split([24, 32, 32], dim=1)
    heads = list(model.head.children())
    assert len(heads) == 3
    each = [head([x]).softmax(-1) for head, x in zip(heads, parts, strict=True)]
    mean = torch.stack(each).mean(0)
    torch.testing.assert_close(found.logits.softmax(-1), mean)
    torch.testing.assert_close(
        found.logits, mean.log()
    )  # so that cross-entropy is that of the mean


@pytest.mark.parametrize("name", ["VGG-att3-concat-pc", "VGG-att3-indep-pc", "VGG-att2-concat-dp"])
@pytest.mark.parametrize("head_norm", [True, False])
def test_a_levels_own_answer_depends_on_its_own_feature_alone(name: str, head_norm: bool) -> None:
    model = network(name, head_norm=head_norm)
    images = torch.randn(PICTURES).double()
    logits, each, _, held = model.answers(images)
    assert held is None
    torch.testing.assert_close(logits, model(images))
    assert each.shape == (len(model.level_names), 4, 10)
    whole = each.mean(0) if "concat" in name else each.softmax(-1).mean(0).log()
    torch.testing.assert_close(whole, logits)
    locals_, g = model.tapped(images)
    features = [model.attention[n](locals_[n], g).feature for n in model.level_names]
    moved = model.head.by_input([features[0] + 1, *features[1:]])
    assert (moved[0] - each[0]).abs().min() > 0
    torch.testing.assert_close(moved[1:], each[1:])


@pytest.mark.parametrize("name", ["VGG-att3-concat-pc", "VGG-att3-indep-pc"])
@pytest.mark.parametrize("normalisation", ["softmax", "sigmoid"])
def test_a_held_answer_is_the_same_and_moves_no_map(name: str, normalisation: str) -> None:
    model = network(name, normalisation=normalisation).train()
    images = torch.randn(PICTURES).double()
    found = model.answers(images, held=True)
    torch.testing.assert_close(found.held, found.logits)
    torch.testing.assert_close(found.logits, copy.deepcopy(model).answers(images).logits)
    scores = [each.u for each in model.attention.values()]
    taps = next(each for each in model.parameters() if each.ndim == 4)  # the first kernels
    for logits, moves in ((found.logits, True), (found.held, False)):
        assert logits is not None
        loss = logits.square().sum()
        *ours, features = torch.autograd.grad(
            loss, [*scores, taps], retain_graph=True, allow_unused=True
        )
        assert all((each is not None and bool(each.abs().max() > 0)) == moves for each in ours)
        assert features.abs().max() > 0


def test_without_the_heads_norm_the_linear_layer_sees_the_features_as_they_are() -> None:
    model = network("VGG-att3-concat-pc", head_norm=False, projection="l-to-g")
    found = model.explain(torch.randn(PICTURES).double())
    assert isinstance(model.head, Head)
    torch.testing.assert_close(found.logits, model.head.classify(found.descriptor))
    assert found.descriptor.shape == (4, 3 * WIDTHS[-1])  # all in the channels of g
    assert not [k for k, _ in model.named_parameters() if "norms" in k or "project" in k]
    assert [k for k, _ in model.named_parameters() if "lift" in k] == [
        "attention.conv7.lift.weight"
    ]


def test_the_heads_dropout_is_as_set() -> None:
    for name, rates in (("VGG-att2-concat-pc", [0.3]), ("VGG-att2-indep-pc", [0.3, 0.3])):
        model = small(name, head_dropout=0.3)
        found = [m.p for m in model.head.modules() if isinstance(m, torch.nn.Dropout)]
        assert found == rates


def test_the_controls_head_drops_out_and_sees_each_batch_once() -> None:
    model = small("VGG-control", head_dropout=0.5).train()
    explanation = model.explain(torch.randn(2, 3, 32, 32))
    assert isinstance(model.head, Head)
    assert model.head.norms is not None
    assert model.get_buffer("head.norms.0.num_batches_tracked") == 1
    kept = model.head.classify(explanation.descriptor)
    assert not torch.allclose(kept, explanation.logits)


def test_the_control_has_the_trunk_and_no_maps() -> None:
    model = small("VGG-control")
    with torch.inference_mode():
        explanation = model.explain(torch.randn(2, 3, 32, 32))
        assert isinstance(model.head, Head)
        logits = model.head.classify(explanation.descriptor)
    assert explanation.maps == {}
    assert model.strides == {}
    assert explanation.descriptor.shape == (2, WIDTHS[-1])
    assert torch.equal(logits, explanation.logits)
    assert model.g_matters
    assert model.cut() is model
    trunk = {k for k in model.state_dict() if k.startswith(("units", "global_branch"))}
    assert trunk == {k for k in small().state_dict() if k.startswith(("units", "global_branch"))}
    assert parameters(model) > 0
