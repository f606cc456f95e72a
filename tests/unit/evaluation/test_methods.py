"""Every way to say where a network looked, against its formula."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from attnvgg_training.evaluation.methods import Method, methods
from attnvgg_training.evaluation.methods.afterwards import _guided, _occlusion
from attnvgg_training.evaluation.subject import Subject

Make = Callable[..., Subject]


def named(subject: Subject, name: str) -> Method:
    (found,) = [method for method in methods(subject) if method.name == name]
    return found


def locals_of(
    subject: Subject, layer: str, pixels: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """l [B, C, h, w] and the gradient of the class's logit by it, without captum."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        # a copy that asks for its gradient stands in the place of what the layer gave
        kept.append(output.detach().clone().requires_grad_())
        return kept[0]

    handle = subject.network.layers[layer].register_forward_hook(keep)
    logits = subject.model(pixels)
    handle.remove()
    chosen = logits.gather(1, target.unsqueeze(1)).sum()
    (gradient,) = torch.autograd.grad(chosen, kept[0])
    return kept[0].detach(), gradient


@pytest.mark.parametrize(
    "name",
    ["VGG-att3-concat-pc", "VGG-att2-indep-dp", "VGG-control", "VGG-GAP", "VGG-16-BN"],
)
def test_every_map_of_every_network_is_one(
    name: str, make: Make, pixels: Tensor, targets: Tensor
) -> None:
    subject = make(name)
    found = methods(subject)
    assert len({method.name for method in found}) == len(found)
    for method in found:
        maps = method(pixels, targets)
        assert maps.ndim == 3, method.name
        assert len(maps) == 4, method.name
        assert maps.dtype == torch.float32
        assert not maps.requires_grad
        assert torch.isfinite(maps).all(), method.name
        assert (maps >= 0).all(), method.name
        alone = method(pixels[2:3], targets[2:3])
        torch.testing.assert_close(alone, maps[2:3], rtol=0.05, atol=1e-4 * float(maps.max()))


def test_which_maps_know_the_class(subject: Subject, pixels: Tensor, targets: Tensor) -> None:
    for method in methods(subject):
        first, second = method(pixels, targets), method(pixels, (targets + 1) % 10)
        assert method.by_class != torch.equal(first, second), method.name


def test_learned_maps_are_the_networks_own(
    subject: Subject, pixels: Tensor, targets: Tensor
) -> None:
    maps = subject.model.explain(pixels).maps
    assert list(maps) == ["conv7", "conv10", "conv13", "fused"]
    for name, expected in maps.items():
        torch.testing.assert_close(named(subject, f"attention {name}")(pixels, targets), expected)


def test_a_network_without_levels_has_no_learned_maps(make: Make) -> None:
    kinds = [method.kind for method in methods(make("VGG-control"))]
    assert "learned" not in kinds
    assert "afterwards" in kinds


def test_saliency_is_the_largest_gradient_of_the_three_colours(
    subject: Subject, pixels: Tensor, targets: Tensor
) -> None:
    asked = pixels.clone().requires_grad_()
    chosen = subject.model(asked).gather(1, targets.unsqueeze(1)).sum()
    (gradient,) = torch.autograd.grad(chosen, asked)
    torch.testing.assert_close(
        named(subject, "saliency")(pixels, targets), gradient.abs().amax(1), rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("layer", ["conv7", "conv10", "conv13"])
def test_grad_cam_weighs_channels_by_their_mean_gradient(
    layer: str, subject: Subject, pixels: Tensor, targets: Tensor
) -> None:
    l, gradient = locals_of(subject, layer, pixels, targets)  # noqa: E741, the paper's name
    expected = (gradient.mean((2, 3), keepdim=True) * l).sum(1).relu()
    found = named(subject, f"grad-cam {layer}")(pixels, targets)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6 * float(expected.max()))


def test_activation_maps_are_sums_of_squares(
    subject: Subject, pixels: Tensor, targets: Tensor
) -> None:
    l, _ = locals_of(subject, "conv10", pixels, targets)  # noqa: E741
    found = named(subject, "activation conv10")(pixels, targets)
    torch.testing.assert_close(found, l.square().sum(1))


def test_class_activation_maps_average_to_the_logit(
    make: Make, pixels: Tensor, targets: Tensor
) -> None:
    subject = make("VGG-GAP")
    found = named(subject, "CAM")(pixels, targets)
    whole = subject.network.class_activation_maps(subject.model.normalised(pixels))  # type: ignore[operator]
    torch.testing.assert_close(found, whole[torch.arange(4), targets].clamp_min(0))
    bias = subject.network.head.classify.bias  # type: ignore[union-attr]
    logits = subject.model(pixels)
    torch.testing.assert_close(whole.mean((2, 3)) + bias, logits, rtol=1e-4, atol=1e-4)


def test_occlusion_finds_what_the_logit_hangs_on(subject: Subject, targets: Tensor) -> None:
    """A classifier that sums the upper left corner; the rest is nothing to it."""

    class Corner(nn.Module):
        mean = torch.zeros(3, 1, 1)

        def forward(self, pixels: Tensor) -> Tensor:
            return pixels[:, :, :8, :8].sum((1, 2, 3)).unsqueeze(1).expand(-1, 10)

    compute = _occlusion(Corner())  # type: ignore[arg-type]
    maps = compute(torch.ones(2, 3, 32, 32), targets[:2])
    assert (maps[:, :8, :8] > 0).all()
    assert (maps[:, 16:, 16:] == 0).all()
    assert maps.flatten(1).argmax(1).tolist() == [0, 0]


def test_guided_backprop_lets_only_what_speaks_for_the_class_pass() -> None:
    """Two units, one for and one against: only the first reaches the pixels."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, pixels: Tensor) -> Tensor:
            left, right = pixels[..., :2].sum((1, 2, 3)), pixels[..., 2:].sum((1, 2, 3))
            units = self.relu(torch.stack([left, right], dim=1))
            return (units[:, :1] - units[:, 1:]).expand(-1, 10)

    compute = _guided(Two())  # type: ignore[arg-type]
    maps = compute(torch.ones(1, 3, 4, 4), torch.tensor([0]))
    assert (maps[..., :2] == 1).all()
    assert (maps[..., 2:] == 0).all()


def test_controls_look_at_nothing(subject: Subject, pixels: Tensor, targets: Tensor) -> None:
    assert (named(subject, "uniform")(pixels, targets) == 1).all()
    centre = named(subject, "centre")(pixels, targets)[0]
    torch.testing.assert_close(centre, centre.flip(0))
    assert centre.argmax() in (15 * 32 + 15, 15 * 32 + 16, 16 * 32 + 15, 16 * 32 + 16)
    noise = named(subject, "random")(pixels, targets)
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(noise[1:2], named(subject, "random")(pixels[1:2], targets[:1]))
