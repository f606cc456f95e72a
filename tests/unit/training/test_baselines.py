"""The networks that attention is compared with: VGG-GAP with its maps, and VGG-16-BN."""

from typing import cast

import pytest
import torch
from torch import nn

from attnvgg_training.baselines import GapVGG, five_groups
from attnvgg_training.models import ModelConfig
from attnvgg_training.network import Head
from attnvgg_training.trunk import Trunk
from tiny_networks import WIDTHS, small


def gap() -> GapVGG:
    return cast(GapVGG, small("VGG-GAP").double())


def test_class_activation_maps_average_to_the_logits() -> None:
    model, images = gap(), torch.randn(2, 3, 32, 32).double()
    maps = model.class_activation_maps(images)
    assert maps.shape == (2, 10, 8, 8)
    bias = cast(Head, model.head).classify.bias
    torch.testing.assert_close(maps.mean((2, 3)) + bias, model(images))


def test_a_class_activation_map_is_the_class_weights_on_the_last_features() -> None:
    model, images, features = gap(), torch.randn(2, 3, 48, 32).double(), []
    model.units[12].register_forward_hook(lambda _, __, output: features.append(output))
    maps = model.class_activation_maps(images)
    weight = cast(Head, model.head).classify.weight
    expected = torch.einsum("kc,bchw->bkhw", weight, features[0])
    torch.testing.assert_close(maps, expected)
    assert maps.shape == (2, 10, 12, 8)


def test_gap_is_the_trunk_to_convolution_13_and_one_linear_layer() -> None:
    model = gap()
    assert len(model.units) == 13
    assert list(model.taken) == [7, 10]  # what convolution 13 gives keeps its resolution
    rest = [name for name, _ in model.named_parameters() if not name.startswith("units")]
    assert rest == ["head.classify.weight", "head.classify.bias"]
    found = model.explain(torch.randn(2, 3, 32, 32).double())
    assert found.maps == {}
    assert found.descriptor.shape == (2, WIDTHS[-1])
    assert torch.equal(cast(Head, model.head).classify(found.descriptor), found.logits)
    assert model.cut() is model
    assert (model.multiple, model.strides) == (4, {})


def test_vgg_16_pools_behind_each_group_and_classifies_like_the_control() -> None:
    model = small("VGG-16-BN", dropout=0.4, head_dropout=0.5)
    assert model.multiple == 32
    assert five_groups(Trunk()).pooled == dict.fromkeys((2, 4, 7, 10, 13), 2)
    rates = {1: 0.3, **dict.fromkeys((3, 5, 6, 8, 9, 11, 12), 0.4)}
    assert five_groups(Trunk()).dropout_after == pytest.approx(rates)
    sizes: list[int] = []
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.Linear, nn.BatchNorm1d, nn.Dropout)
    order: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, kinds) and not name.startswith("dropouts"):
            module.register_forward_hook(lambda m, _, __: order.append(type(m).__name__))
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_hook(lambda _, __, output: sizes.append(output.shape[-1]))
    model(torch.randn(2, 3, 32, 32))
    assert sizes == [16, 8, 4, 2, 1]
    assert order.count("Conv2d") == 13
    # The head's dropout is no module's; the control's test sees it.
    assert order[order.index("Dropout") :] == ["Dropout", "Linear", "BatchNorm1d", "Linear"]
    other = ModelConfig("VGG-16-BN", pools=(2, 7))
    assert other.trunk.pooled == {2: 2, 7: 2}
