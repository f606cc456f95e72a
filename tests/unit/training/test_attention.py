"""One level: the paper's formulas, in both of their forms, and what is done to scores."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from attnvgg_training import attention
from attnvgg_training.attention import NORMALISE, AttentionEstimator, fuse, sparsemax

FORMS = ["exported", "eager", "compiled"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def estimator(
    channels: int | None = 5, compatibility: str = "pc", normalisation: str = "softmax"
) -> AttentionEstimator:
    """For l of five channels; maps are peaky enough to tell positions apart."""
    made = AttentionEstimator(5, channels, 0.0, compatibility, normalisation)  # type: ignore[arg-type]
    if made.u is not None:
        torch.nn.init.normal_(made.u, std=0.3)  # sparsemax keeps more than one position
    return made.eval()


def use(form: str, module: AttentionEstimator, monkeypatch: pytest.MonkeyPatch) -> None:
    module.train(form != "exported")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: form == "compiled")


@pytest.mark.parametrize("form", FORMS)
def test_pc_is_the_formula(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = estimator().double()
    use(form, module, monkeypatch)
    assert module.u is not None
    local, g = torch.randn(2, 5, 3, 4).double(), torch.randn(2, 5).double()
    attended = module(local, g)
    for b in range(2):
        vectors = [local[b, :, i, j] for i in range(3) for j in range(4)]
        scores = torch.stack([module.u @ (vector + g[b]) for vector in vectors])
        a = scores.exp() / scores.exp().sum()
        expected: Tensor = sum(w * v for w, v in zip(a, vectors, strict=True))  # type: ignore[assignment]
        torch.testing.assert_close(attended.map[b].flatten(), a)
        torch.testing.assert_close(attended.feature[b], expected)


@pytest.mark.parametrize("form", FORMS)
def test_dp_is_the_formula(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = estimator(5, "dp").double()
    use(form, module, monkeypatch)
    local, g = torch.randn(2, 5, 3, 4).double(), torch.randn(2, 5).double()
    scores = torch.stack([(local[b] * g[b, :, None, None]).sum(0).flatten() for b in range(2)])
    attended = module(local, g)
    torch.testing.assert_close(attended.map.flatten(1), scores.softmax(-1))
    feature = (attended.map.unsqueeze(1) * local).sum((2, 3))
    torch.testing.assert_close(attended.feature, feature)


@pytest.mark.parametrize("normalisation", NORMALISE)
@pytest.mark.parametrize(
    ("compatibility", "channels"), [("pc", None), ("pc", 5), ("pc", 7), ("dp", 5), ("dp", 7)]
)
def test_what_trains_is_what_is_exported(
    compatibility: str,
    channels: int | None,
    normalisation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features, maps and all gradients, in float64."""
    module = estimator(channels, compatibility, normalisation).double()
    for norm in module.project.modules():  # the same in both modes
        if isinstance(norm, torch.nn.BatchNorm1d):
            norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
    local = torch.randn(3, 5, 4, 6).double().requires_grad_()
    g = None if channels is None else torch.randn(3, channels).double().requires_grad_()
    inputs = [x for x in (local, g, *module.parameters()) if x is not None]
    target, weights = torch.randn(3, 5).double(), torch.randn(3, 4, 6).double()
    found: dict[str, list[Tensor]] = {}
    for form in FORMS:
        use(form, module, monkeypatch)
        feature, map_ = module(local, g)
        loss = (feature * target).sum() + (map_ * weights).sum()
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
        found[form] = [feature, map_, *(x for x in gradients if x is not None)]
    for form in FORMS[1:]:
        torch.testing.assert_close(found[form], found["exported"], rtol=1e-12, atol=1e-12)


def test_the_training_form_is_used_in_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def spy(name: str) -> Callable[..., Any]:
        real = getattr(attention, name)
        return lambda *values: (seen.append(name), real(*values))[1]

    for name in ("attend_by_channel", "attend_by_position"):
        monkeypatch.setattr(attention, name, spy(name))
    module, local = estimator(None), torch.randn(2, 5, 3, 4)
    module.train()(local, None)
    module.eval()(local, None)
    assert seen == ["attend_by_position", "attend_by_channel"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("compatibility", "channels"), [("pc", None), ("dp", 5), ("pc", 7)])
def test_attention_runs_in_float32_under_autocast(
    compatibility: str, channels: int | None, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = estimator(channels, compatibility)
    local = torch.randn(2, 5, 3, 4).bfloat16()
    g = None if channels is None else torch.randn(2, channels)
    expected = module(local.float(), g)
    use(form, module, monkeypatch)
    module.project.eval()
    with torch.autocast("cpu", torch.bfloat16):
        found = module(local, g)
    assert found.map.dtype == found.feature.dtype == torch.float32
    # The projection of g is a linear layer, and pc ignores it.
    assert torch.allclose(found.map, expected.map, atol=1e-6)
    assert torch.allclose(found.feature, expected.feature, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_sigmoid_averages_and_the_others_sum(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    local = torch.randn(2, 5, 3, 4)
    for normalisation in NORMALISE:
        module = estimator(None, "pc", normalisation)
        use(form, module, monkeypatch)
        assert module.u is not None
        attended = module(local, None)
        total = (attended.map.unsqueeze(1) * local).sum((2, 3))
        expected = total / 12 if normalisation == "sigmoid" else total
        assert torch.allclose(attended.feature, expected, atol=1e-5)
        sums = attended.map.sum((1, 2))
        assert torch.allclose(sums, torch.ones(2), atol=1e-5) == (normalisation != "sigmoid")
        attended.feature.square().sum().backward()
        assert module.u.grad is not None
        assert module.u.grad.abs().max() > 0


def test_u_starts_at_zero_so_that_maps_start_uniform() -> None:
    attended = AttentionEstimator(5, None, 0.0)(torch.randn(2, 5, 3, 4), None)
    assert torch.allclose(attended.map, torch.full((2, 3, 4), 1 / 12))
    scaled = AttentionEstimator(4000, None, 0.0, initial_scale=0.5)
    assert scaled.u is not None
    assert scaled.u.std().item() == pytest.approx(0.5, rel=0.1)


def test_g_comes_to_the_channels_of_l_or_l_to_those_of_g() -> None:
    local, g = torch.randn(2, 5, 3, 4), torch.randn(2, 7)
    to_l = AttentionEstimator(5, 7, 0.0, "dp").eval()
    to_g = AttentionEstimator(5, 7, 0.0, "dp", lifted=7).eval()
    assert [name for name, _ in to_g.named_parameters()] == ["lift.weight"]  # no bias
    assert "lift.weight" not in dict(to_l.named_parameters())
    lifted = torch.einsum("dc,bchw->bdhw", to_g.lift.weight[:, :, 0, 0], local)  # type: ignore[index, arg-type]
    scores = torch.einsum("bd,bdhw->bhw", g, lifted).flatten(1)
    found = to_g(local, g)
    assert torch.allclose(found.map.flatten(1), scores.softmax(-1), atol=1e-6)
    assert torch.allclose(
        found.feature, (found.map.unsqueeze(1) * lifted).sum((2, 3)), atol=1e-5
    )  # what is attended to is the projected l
    assert to_l(local, g).feature.shape == (2, 5)
    assert found.feature.shape == (2, 7)


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
