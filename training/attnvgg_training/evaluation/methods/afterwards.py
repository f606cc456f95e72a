"""Methods that are applied to a trained network afterwards; captum's where it has them.

All ask about one class a picture, by its logit. What has a sign keeps what speaks for the class, or
for gradients of pixels the size, the largest of the three colours.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from captum.attr import (
    GuidedBackprop,
    GuidedGradCam,
    LayerActivation,
    LayerGradCam,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn

from attnvgg_training.baselines import GapVGG
from attnvgg_training.evaluation.methods.method import Compute, Method
from attnvgg_training.evaluation.subject import Seeing, Subject

WINDOW, STRIDE = 1 / 4, 1 / 8  # of the side: 8 and 4 pixels at 32x32


def afterwards(subject: Subject) -> list[Method]:
    """Those that fit the network; Grad-CAM and the like once for each layer that has a level."""
    model = subject.model
    found = [
        Method("saliency", "afterwards", True, "Simonyan et al., 2013", _saliency(model)),
        Method("occlusion", "afterwards", True, "Zeiler and Fergus, 2013", _occlusion(model)),
        Method("guided backprop", "afterwards", True, "Springenberg et al., 2014", _guided(model)),
    ]
    if isinstance(subject.network, GapVGG):
        found.append(Method("CAM", "afterwards", True, "Zhou et al., CVPR 2016", _cam(model)))
    for name, layer in subject.network.layers.items():
        found += _of_layer(model, name, layer)
    return found


def _of_layer(model: Seeing, name: str, layer: nn.Module) -> Iterator[Method]:
    selvaraju = "Selvaraju et al., ICCV 2017"
    zagoruyko = "Zagoruyko and Komodakis, ICLR 2017: the sum of squares over the channels"
    yield Method(f"grad-cam {name}", "afterwards", True, selvaraju, _grad_cam(model, layer))
    yield Method(
        f"guided grad-cam {name}", "afterwards", True, selvaraju, _guided_grad_cam(model, layer)
    )
    yield Method(f"activation {name}", "afterwards", False, zagoruyko, _activation(model, layer))


def _saliency(model: Seeing) -> Compute:
    def compute(pixels: Tensor, targets: Tensor) -> Tensor:
        found = Saliency(model).attribute(pixels.clone().requires_grad_(), targets)
        return cast(Tensor, found).amax(1)

    return compute


def _occlusion(model: Seeing) -> Compute:
    """A square of the mean colour over every place; what the logit loses, averaged over all squares
    that cover a pixel."""

    @torch.no_grad()
    def compute(pixels: Tensor, targets: Tensor) -> Tensor:
        side = pixels.shape[-1]
        window, stride = max(1, int(side * WINDOW)), max(1, int(side * STRIDE))
        baseline = cast(Tensor, model.mean).expand_as(pixels[:1])
        found = Occlusion(model).attribute(
            pixels,
            sliding_window_shapes=(3, window, window),
            strides=(3, stride, stride),
            baselines=baseline,
            target=targets,
        )
        return cast(Tensor, found).mean(1)

    return compute


def _guided(model: Seeing) -> Compute:
    def compute(pixels: Tensor, targets: Tensor) -> Tensor:
        with _hooks_are_wanted():
            found = GuidedBackprop(model).attribute(pixels.clone().requires_grad_(), targets)
        return cast(Tensor, found).abs().amax(1)

    return compute


def _grad_cam(model: Seeing, layer: nn.Module) -> Compute:
    def compute(pixels: Tensor, targets: Tensor) -> Tensor:
        method = LayerGradCam(model, layer)
        found = method.attribute(pixels.clone().requires_grad_(), targets, relu_attributions=True)
        return cast(Tensor, found).squeeze(1)

    return compute


def _guided_grad_cam(model: Seeing, layer: nn.Module) -> Compute:
    def compute(pixels: Tensor, targets: Tensor) -> Tensor:
        with _hooks_are_wanted():
            found = GuidedGradCam(model, layer).attribute(
                pixels.clone().requires_grad_(), targets, interpolate_mode="bilinear"
            )
        return cast(Tensor, found).abs().amax(1)

    return compute


def _activation(model: Seeing, layer: nn.Module) -> Compute:
    @torch.no_grad()
    def compute(pixels: Tensor, targets: Tensor) -> Tensor:
        found = LayerActivation(model, layer).attribute(pixels)
        return cast(Tensor, found).square().sum(1)

    return compute


def _cam(model: Seeing) -> Compute:
    network = cast(GapVGG, model.network)

    @torch.no_grad()
    def compute(pixels: Tensor, targets: Tensor) -> Tensor:
        maps = network.class_activation_maps(model.normalised(pixels))
        return maps[torch.arange(len(maps)), targets]

    return compute


@contextmanager
def _hooks_are_wanted() -> Iterator[None]:
    """captum warns whenever it sets the hooks that guided backprop consists of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting (backward )?hooks", UserWarning)
        yield
