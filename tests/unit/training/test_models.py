"""Every registered network has the published size and cost; settings that do not fit are named."""

from typing import Any

import pytest
import torch
from torch import nn

from attnvgg_training.attention import AttentionEstimator
from attnvgg_training.errors import ConfigError
from attnvgg_training.initialisation import whiten
from attnvgg_training.models import ModelConfig, build, gmacs, gmacs_of, listing, parameters
from attnvgg_training.network import Network
from attnvgg_training.registry import NETWORKS
from attnvgg_training.vgg import AttentionVGG
from tiny_networks import small


def sketch(name: str, classes: int = 10, **values: Any) -> Network:
    with torch.device("meta"):
        return build(ModelConfig(name, **values), classes)


def millions(model: Network) -> float:
    """With the biases that the official code has and ours has not: one a channel of each
    convolution of the trunk, one for u of each level (pc)."""
    channels = sum(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d))
    estimators = [m for m in model.modules() if isinstance(m, AttentionEstimator)]
    return (parameters(model) + channels + len(estimators)) / 1e6


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("VGG-att3-concat-pc", 10, 19.86),
        ("VGG-att3-concat-pc", 100, 19.97),
        ("VGG-att2-concat-pc", 10, 19.72),
        ("VGG-att2-concat-pc", 100, 19.81),
        ("VGG-att1-concat-pc", 10, 19.71),
        ("VGG-att1-concat-pc", 100, 19.76),
        ("VGG-16-BN", 10, 14.99),  # given as 15.0
    ],
)
def test_the_papers_networks_have_the_official_codes_size(
    name: str, classes: int, expected: float
) -> None:
    """notes of the official code."""
    assert millions(sketch(name, classes)) == pytest.approx(expected, abs=0.0051)


@pytest.mark.parametrize(("classes", "expected"), [(10, 19.86), (100, 19.99)])
def test_the_popular_ports_network_has_its_size(classes: int, expected: float) -> None:
    """SaoYan's: l goes to g without a bias, no batch norm in the head, no bias in u; its
    convolutions have biases, and so has the one that makes g, as our linear layer has."""
    model = sketch("VGG-att3-concat-pc", classes, projection="l-to-g", head_norm=False)
    units = [m for m in model.get_submodule("units").modules() if isinstance(m, nn.Conv2d)]
    count = parameters(model) + sum(m.out_channels for m in units)
    assert count / 1e6 == pytest.approx(expected, abs=0.0051)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("VGG-att3-concat-pc", 3.79),
        ("VGG-att2-concat-pc", 3.79),
        ("VGG-control", 3.79),
        ("VGG-16-BN", 0.31),
    ],
)
def test_the_papers_networks_have_the_papers_cost(name: str, expected: float) -> None:
    """notes of the official code: GMAC at 32x32."""
    assert gmacs(ModelConfig(name), 32) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("name", ["VGG-att3-indep-dp", "VGG-GAP"])
def test_the_cost_of_a_configuration_is_that_of_its_network(name: str) -> None:
    model = small(name)
    assert gmacs(ModelConfig(name, (8, 12, 24, 32, 32)), 32) == gmacs_of(model, 32) > 0


def test_the_names() -> None:
    of_vgg = [
        f"VGG-att{n}-{how}-{c}" for n in (3, 2) for how in ("concat", "indep") for c in ("pc", "dp")
    ]
    of_resnet = [f"ResNet-164-att2-{how}-{c}" for how in ("concat", "indep") for c in ("pc", "dp")]
    ones = [f"{trunk}-att1-concat-{c}" for trunk in ("VGG", "ResNet-164") for c in ("pc", "dp")]
    others = ["VGG-control", "VGG-GAP", "VGG-16-BN", "ResNet-164"]
    assert set(NETWORKS) == {*of_vgg, *of_resnet, *ones, *others}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_name_says_what_is_built(name: str) -> None:
    model, entry = sketch(name), NETWORKS[name]
    levels = {3: ["conv7", "conv10", "conv13"], 2: ["conv10", "conv13"], 1: ["conv13"], 0: []}
    stages = {2: ["stage2", "stage3"], 1: ["stage3"], 0: []}
    count = int(name.partition("-att")[2][:1] or 0)
    assert model.level_names == (stages if "ResNet" in name else levels)[count]
    assert model.compatibility == ("dp" if name.endswith("-dp") else "pc") == entry.compatibility
    heads = [key for key, _ in model.head.named_parameters() if key.endswith("classify.weight")]
    assert len(heads) == (count if "-indep-" in name else 1)
    config = ModelConfig(name)
    assert config.multiple == model.multiple
    if count and entry.compatibility == "pc":
        without = sketch(name, global_feature=False)
        assert ModelConfig(name, global_feature=False).multiple == without.multiple
        assert parameters(without) < parameters(model)


def test_the_list_has_a_heading_and_a_line_for_each() -> None:
    heading, *lines = listing()
    assert "10 classes, 32x32" in heading
    assert [line.split()[0] for line in lines] == list(NETWORKS)
    assert lines[0].split() == [
        *("VGG-att3-concat-pc", "19.85", "M", "3.79"),
        *("conv7", "32x32,", "conv10", "16x16,", "conv13", "8x8"),
    ]
    assert lines[-1].split() == ["ResNet-164", "1.70", "M", "0.24", "-"]
    assert len({line.index(" M ") for line in lines}) == 1  # aligned


def test_the_official_initialisation() -> None:
    """Convolutions N(0, sqrt(2 / (9 outputs))), u N(0, sqrt 2), linear layers U(+-1/sqrt(inputs)),
    batch norms U(0, 1) and 0."""
    torch.manual_seed(0)
    widths = (64, 64, 64, 256, 256)
    model = build(ModelConfig(widths=widths, initialisation="official"), 10)
    convolution = model.get_parameter("units.14.0.weight")
    assert convolution.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    u = torch.cat([p for key, p in model.named_parameters() if key.endswith(".u")])
    assert len(u) == 64 + 256 + 256
    assert u.std().item() == pytest.approx(2**0.5, rel=0.1)
    for key in ("global_branch.1.weight", "global_branch.1.bias"):
        linear = model.get_parameter(key)
        assert linear.abs().max().item() == pytest.approx(1 / 16, rel=0.05)
        assert linear.std().item() == pytest.approx(1 / 16 / 3**0.5, rel=0.1)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    scales = torch.cat([norm.weight for norm in norms])
    assert scales.min() >= 0
    assert scales.max() <= 1
    assert scales.mean().item() == pytest.approx(0.5, abs=0.05)
    assert all((norm.bias == 0).all() for norm in norms)


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_our_initialisation_starts_with_uniform_maps_or_nearly(scale: float) -> None:
    torch.manual_seed(0)
    model = build(ModelConfig(initial_scale=scale), 10)
    u = torch.cat([p for key, p in model.named_parameters() if key.endswith(".u")])
    assert u.std().item() == pytest.approx(scale, rel=0.1)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert all((norm.weight == 1).all() for norm in norms)
    convolution = model.get_parameter("units.14.0.weight")
    assert convolution.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


def test_the_whitened_initialisation_hands_on_what_comes_in() -> None:
    torch.manual_seed(0)
    widths = (8, 16, 16, 24, 24)
    model = build(ModelConfig(widths=widths, initialisation="whitened"), 10).eval()
    x = torch.rand(2, 24, 6, 6)
    for unit, inputs in ((1, 8), (3, 16), (8, 24)):
        given = x[:, :inputs]
        found = model.get_submodule(f"units.{unit}.0")(given)
        torch.testing.assert_close(found[:, :inputs], given)
    rest = model.get_parameter("units.2.0.weight")[8:]
    assert rest.std().item() == pytest.approx((2 / (9 * 16)) ** 0.5, rel=0.1)


def test_whitening_makes_patches_white() -> None:
    """What the first kernels give is uncorrelated and of variance 1; they come in pairs."""
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.randn(64, 3, 10, 10), scale_factor=3.0)
    model = build(ModelConfig(widths=(16, 16, 16, 16, 16)), 10)
    whiten(model, smooth)
    kernels = model.get_parameter("units.0.0.weight")
    assert torch.equal(kernels[:8], -kernels[8:])
    seen = torch.nn.functional.conv2d(smooth, kernels[:8]).movedim(1, 0).flatten(1)
    torch.testing.assert_close(seen @ seen.T / seen.shape[1], torch.eye(8), rtol=0, atol=0.02)
    wide = build(ModelConfig(widths=(64, 16, 16, 16, 16)), 10)
    before = wide.get_parameter("units.0.0.weight")[54:].clone()
    whiten(wide, smooth)  # a patch has 27 directions: 54 kernels, the rest as they were
    assert torch.equal(wide.get_parameter("units.0.0.weight")[54:], before)


def test_every_setting_reaches_the_network() -> None:
    values: dict[str, Any] = {
        "dropout": 0.2,
        "head_dropout": 0.1,
        "normalisation": "sigmoid",
        "projection": "l-to-g",
        "residual": True,
        "tap": "after",
        "pool_sizes": (2, 2, 4),
        "pools": (7, 10, 13),
    }
    model = sketch("VGG-att3-indep-pc", **values, head_norm=False, initial_scale=0.1)
    assert isinstance(model, AttentionVGG)
    trunk, options = model.trunk, model.options
    assert (trunk.dropout, trunk.residual, trunk.tap) == (0.2, True, "after")
    assert trunk.pooled == {7: 2, 10: 2, 13: 4}
    assert (options.dropout, options.normalisation, options.projection) == (
        0.1,
        "sigmoid",
        "l-to-g",
    )
    assert (options.aggregation, options.head_norm, options.initial_scale) == ("indep", False, 0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "VGG-att9"}, "--name is 'VGG-att9'; it must be one of VGG-att3-concat-pc"),
        ({"dropout": 1.0}, "--dropout is 1.0"),
        ({"head_dropout": -0.1}, "--head-dropout is -0.1"),
        ({"name": "VGG-control", "global_feature": False}, "VGG-control classifies from g"),
        ({"name": "VGG-att2-concat-dp", "global_feature": False}, "dp scores against g"),
        (
            {"name": "VGG-att2-indep-dp", "initial_scale": 1.0},
            "VGG-att2-indep-dp has no such setting",
        ),
        ({"normalisation": "max"}, "--normalisation is 'max'; it must be one of softmax"),
        ({"projection": "both"}, "--projection is 'both'; it must be one of g-to-l, l-to-g"),
        ({"initialisation": "zero"}, "--initialisation is 'zero'"),
        ({"initial_scale": -1.0}, "--initial-scale is -1.0; it must be from 0 to 10"),
        ({"initial_scale": 1.0, "initialisation": "official"}, "official starts u at sqrt 2"),
        (
            {"name": "ResNet-164-att2-concat-pc", "initialisation": "whitened"},
            "--initialisation is whitened, but ResNet-164-att2-concat-pc has shortcuts",
        ),
        (
            {"name": "ResNet-164-att2-concat-pc", "widths": (8, 8, 8, 8, 8)},
            r"--widths is \(8, 8, 8, 8, 8\), but ResNet-164-att2-concat-pc has no such setting",
        ),
        ({"name": "ResNet-164", "head_dropout": 0.1}, "--head-dropout is 0.1, but ResNet-164 has"),
        ({"name": "ResNet-164", "normalisation": "sigmoid"}, "--normalisation is 'sigmoid', but"),
        ({"name": "VGG-control", "tap": "after"}, "--tap is 'after', but VGG-control has no"),
        ({"name": "VGG-GAP", "global_feature": False}, "--global-feature is False, but VGG-GAP"),
        ({"name": "VGG-GAP", "depths": (2, 2, 3, 3, 3, 4)}, "VGG-GAP has no sixth group"),
        ({"name": "VGG-GAP", "head_norm": False}, "--head-norm is False, but VGG-GAP"),
    ],
)
def test_wrong_settings_name_the_flag(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**values)
