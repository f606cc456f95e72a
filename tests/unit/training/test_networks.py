"""The networks have the paper's shapes, and g is dead under pc with softmax."""

import pytest
import torch
from torch import Tensor

from attnvgg_training.attention import NORMALISE, AttentionEstimator, fuse, sparsemax
from attnvgg_training.errors import ConfigError
from attnvgg_training.models import LEVELS, ModelConfig, build, gmacs, parameters
from attnvgg_training.vgg import AttentionVGG

WIDTHS = (8, 12, 24, 32, 32)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def small(name: str = "VGG-att3-concat-pc", **values: object) -> AttentionVGG:
    torch.manual_seed(0)
    settings = {"widths": WIDTHS, "dropout": 0.0, "head_dropout": 0.0, **values}
    model = build(ModelConfig(name, **settings), 10)  # type: ignore[arg-type]
    for attention in model.attention.values():
        if attention.u is not None:
            torch.nn.init.normal_(attention.u)
    return model.eval()


@pytest.mark.parametrize(("name", "millions"), [("att3", 19.86), ("att2", 19.72)])
def test_the_papers_networks_have_the_papers_size(name: str, millions: float) -> None:
    """notes of the official code: 19.86 M and 19.72 M at 10 classes, convolution biases included.

    We leave out the convolutions' biases (batch norm follows) and u's.
    """
    model = build(ModelConfig(f"VGG-{name}-concat-pc"), 10)
    biases = sum(model.trunk.channels(conv) for conv in range(1, 16))
    levels = len(LEVELS[f"VGG-{name}-concat-pc"])
    assert (parameters(model) + biases + levels) / 1e6 == pytest.approx(millions, abs=0.006)


def test_the_papers_network_has_the_papers_cost() -> None:
    """notes of the official code: 3.79 GMAC at 32x32."""
    assert gmacs(ModelConfig(), 32) == pytest.approx(3.79, abs=0.01)


def test_the_papers_maps_have_the_papers_grids() -> None:
    with torch.inference_mode():
        explanation = small().explain(torch.randn(2, 3, 32, 32))
    grids = {name: tuple(m.shape) for name, m in explanation.maps.items()}
    assert grids == {"conv7": (2, 32, 32), "conv10": (2, 16, 16), "conv13": (2, 8, 8)}
    assert explanation.logits.shape == (2, 10)
    assert explanation.descriptor.shape == (2, 24 + 32 + 32)


def test_earlier_pools_give_smaller_maps_and_the_trunk_knows_the_stride() -> None:
    model = small(pools=(2, 7, 10, 13))
    with torch.inference_mode():
        maps = model.explain(torch.randn(1, 3, 32, 32)).maps
    assert {name: m.shape[-1] for name, m in maps.items()} == {
        "conv7": 16,
        "conv10": 8,
        "conv13": 4,
    }
    assert [model.trunk.stride(conv) for conv in (7, 10, 13)] == [2, 4, 8]


@pytest.mark.parametrize(("global_feature", "sides"), [(True, [16, 8, 4, 2, 1]), (False, [16, 8])])
def test_every_pool_of_the_plan_is_taken_as_far_as_something_needs_it(
    global_feature: bool, sides: list[int]
) -> None:
    model, seen = small(global_feature=global_feature), []
    model.pool.register_forward_hook(lambda _, __, output: seen.append(output.shape[-1]))
    with torch.inference_mode():
        model(torch.randn(1, 3, 32, 32))
    assert seen == sides


def test_maps_are_non_negative_sum_to_one_and_differ() -> None:
    with torch.inference_mode():
        maps = small().explain(torch.randn(4, 3, 32, 32)).maps
    for each in maps.values():
        assert (each >= 0).all()
        assert torch.allclose(each.sum((1, 2)), torch.ones(4), atol=1e-5)
        assert not torch.allclose(each[0], each[1])


def test_u_starts_at_zero_so_that_maps_start_uniform() -> None:
    attention = AttentionEstimator(5, None, 0.0)
    map_ = attention(torch.randn(2, 5, 3, 4), None).map
    assert torch.allclose(map_, torch.full((2, 3, 4), 1 / 12))


def test_attention_is_the_formula() -> None:
    attention = AttentionEstimator(5, 5, 0.0)
    assert attention.u is not None
    torch.nn.init.normal_(attention.u)
    local, g = torch.randn(2, 5, 3, 4), torch.randn(2, 5)
    attended = attention(local, g)
    for b in range(2):
        vectors = [local[b, :, i, j] for i in range(3) for j in range(4)]
        scores = torch.stack([attention.u @ (vector + g[b]) for vector in vectors])
        a = scores.exp() / scores.exp().sum()
        expected: Tensor = sum(w * v for w, v in zip(a, vectors, strict=True))  # type: ignore[assignment]
        assert torch.allclose(attended.map[b].flatten(), a, atol=1e-6)
        assert torch.allclose(attended.feature[b], expected, atol=1e-6)


def test_dp_is_the_formula() -> None:
    attention = AttentionEstimator(5, 5, 0.0, "dp")
    local, g = torch.randn(2, 5, 3, 4), torch.randn(2, 5)
    scores = torch.stack([(local[b] * g[b, :, None, None]).sum(0).flatten() for b in range(2)])
    assert torch.allclose(attention(local, g).map.flatten(1), scores.softmax(-1), atol=1e-6)


@pytest.mark.parametrize(("compatibility", "channels"), [("pc", None), ("dp", 5), ("pc", 7)])
def test_attention_runs_in_float32_under_autocast(compatibility: str, channels: int | None) -> None:
    attention = AttentionEstimator(5, channels, 0.0, compatibility).eval()  # type: ignore[arg-type]
    if attention.u is not None:
        torch.nn.init.normal_(attention.u)
    local = torch.randn(2, 5, 3, 4)
    g = None if channels is None else torch.randn(2, channels)
    expected = attention(local, g)
    with torch.autocast("cpu", torch.bfloat16):
        found = attention(local, g)
    assert found.map.dtype == found.feature.dtype == torch.float32
    # The projection of g is a linear layer, and pc ignores it.
    assert torch.allclose(found.map, expected.map, atol=1e-6)
    assert torch.allclose(found.feature, expected.feature, atol=1e-5)


def test_sigmoid_averages_and_the_others_sum() -> None:
    local = torch.randn(2, 5, 3, 4)
    for normalisation in NORMALISE:
        attention = AttentionEstimator(5, None, 0.0, "pc", normalisation)  # type: ignore[arg-type]
        assert attention.u is not None
        torch.nn.init.normal_(attention.u, std=0.1)  # sparsemax keeps more than one position
        attended = attention(local, None)
        total = (attended.map.unsqueeze(1) * local).sum((2, 3))
        expected = total / 12 if normalisation == "sigmoid" else total
        assert torch.allclose(attended.feature, expected, atol=1e-5)
        sums = attended.map.sum((1, 2))
        assert torch.allclose(sums, torch.ones(2), atol=1e-5) == (normalisation != "sigmoid")
        attended.feature.square().sum().backward()
        assert attention.u.grad is not None
        assert attention.u.grad.abs().max() > 0


def test_sparsemax_is_the_nearest_point_of_the_simplex() -> None:
    found = sparsemax(torch.tensor([[0.5, 0.4, -3.0], [5.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    expected = torch.tensor([[0.55, 0.45, 0.0], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert torch.allclose(found, expected, atol=1e-6)


def test_one_hot_is_exact_whether_gradients_are_kept_or_not() -> None:
    scores = torch.randn(6, 9)
    with torch.no_grad():
        hard = NORMALISE["one-hot"](scores)
    assert torch.equal(hard, NORMALISE["one-hot"](scores))
    assert torch.equal(hard.argmax(-1), scores.argmax(-1))
    assert set(hard.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("name", "normalisation", "matters"),
    [
        ("VGG-att3-concat-pc", "softmax", False),
        ("VGG-att3-concat-pc", "sparsemax", False),
        ("VGG-att3-concat-pc", "one-hot", False),
        ("VGG-att3-concat-pc", "sigmoid", True),
        ("VGG-att3-concat-dp", "softmax", True),
        ("VGG-att2-concat-dp", "sigmoid", True),
    ],
)
def test_g_matters_under_dp_and_sigmoid_and_nowhere_else(
    name: str, normalisation: str, matters: bool
) -> None:
    model = small(name, normalisation=normalisation)
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        before = model.explain(images)
        assert model.global_branch is not None
        model.global_branch[1].bias += torch.randn(WIDTHS[-1])
        after = model.explain(images)
    assert model.g_matters == matters
    assert torch.allclose(before.logits, after.logits, atol=1e-5) != matters
    for level, each in before.maps.items():
        area = each[0].numel()
        # sparsemax passes the rounding of the scores on as it is; softmax only its ratio.
        same = torch.allclose(area * each, area * after.maps[level], atol=2e-2)
        assert same != matters


def test_the_global_branch_gets_no_gradient_worth_the_name() -> None:
    model = small()
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    live = model.units[0][0].weight.grad
    dead = model.units[14][0].weight.grad
    assert live is not None
    assert dead is not None
    assert dead.abs().max() < 1e-4 * live.abs().max()


def test_without_the_global_feature_it_is_the_same_function() -> None:
    whole = small(pools=(2, 7, 10, 13))
    cut = small(pools=(2, 7, 10, 13), global_feature=False)
    cut.load_state_dict({k: whole.state_dict()[k] for k in cut.state_dict()})
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(whole(images), cut(images), atol=1e-5)
    assert parameters(cut) < parameters(whole)


def test_the_control_has_the_trunk_and_no_maps() -> None:
    model = small("VGG-control")
    with torch.inference_mode():
        explanation = model.explain(torch.randn(2, 3, 32, 32))
        logits = model.head(explanation.descriptor)
    assert explanation.maps == {}
    assert explanation.descriptor.shape == (2, WIDTHS[-1])
    assert torch.equal(logits, explanation.logits)


def test_the_fused_map_is_the_renormalised_product() -> None:
    fine, coarse = torch.rand(2, 4, 4), torch.rand(2, 2, 2)
    resized = torch.nn.functional.interpolate(coarse[:, None], (4, 4), mode="bilinear")[:, 0]
    product = fine * resized
    expected = product / product.sum((1, 2), keepdim=True)
    assert torch.allclose(fuse([fine, coarse]), expected, atol=1e-6)


def test_the_fused_map_survives_maps_that_do_not_overlap() -> None:
    left, right = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    left[..., 0], right[..., 1] = 0.5, 0.5
    fused = fuse([left, right, left])
    assert torch.isfinite(fused).all()
    assert fused.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "VGG-att9"}, "--name is 'VGG-att9'; it must be one of VGG-att3-concat-pc"),
        ({"widths": (8, 8)}, r"--widths is \(8, 8\); it must be five"),
        ({"pools": (7, 2)}, "--pools"),
        ({"pools": (2, 16)}, "--pools"),
        ({"dropout": 1.0}, "--dropout is 1.0"),
        ({"name": "VGG-control", "global_feature": False}, "VGG-control classifies from g"),
        ({"name": "VGG-att2-concat-dp", "global_feature": False}, "dp scores against g"),
        ({"normalisation": "max"}, "--normalisation is 'max'; it must be one of softmax"),
    ],
)
def test_wrong_settings_name_the_flag(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**values)  # type: ignore[arg-type]
