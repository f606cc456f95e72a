"""Files of the popular port (SaoYan/LearnToPayAttention), and what it computes with them.

Written from what is known of it (names, shapes, formulas), independently of our converter.
"""

from collections import OrderedDict

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]
PUBLISHED = (64, 128, 256, 512, 512)
TINY = (4, 6, 8, 12, 12)
CONVOLUTIONS = {
    "conv_block1": ["0", "3"],
    "conv_block2": ["0", "3"],
    "conv_block3": ["0", "3", "6"],
    "conv_block4": ["0", "3", "6"],
    "conv_block5": ["0", "3", "6"],
    "conv_block6": ["0", "4"],
}


def random_weights(
    widths: tuple[int, ...] = TINY,
    classes: int = 100,
    attention: bool = True,
    kernel: int = 1,
    fill: bool = True,
) -> Weights:
    """A state_dict as the port saves it, with biases and statistics that are not trivial; or
    zeros, which take no time to make."""
    random = torch.Generator().manual_seed(3)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        if not fill:
            return torch.zeros(()).expand(shape)
        return scale * torch.randn(shape, generator=random)

    weights: Weights = OrderedDict()
    inputs = 3
    for block, outputs in zip(CONVOLUTIONS, [*widths, widths[-1]], strict=True):
        for place in CONVOLUTIONS[block]:
            name, norm = f"{block}.op.{place}", f"{block}.op.{int(place) + 1}"
            weights[f"{name}.weight"] = normal(outputs, inputs, 3, 3, scale=(2 / 9 / inputs) ** 0.5)
            weights[f"{name}.bias"] = normal(outputs, scale=0.5)
            weights[f"{norm}.weight"] = 1 + normal(outputs, scale=0.2)
            weights[f"{norm}.bias"] = normal(outputs, scale=0.3)
            weights[f"{norm}.running_mean"] = normal(outputs, scale=0.5)
            weights[f"{norm}.running_var"] = 0.5 + normal(outputs).abs()
            weights[f"{norm}.num_batches_tracked"] = torch.tensor(391)
            inputs = outputs
    last = widths[-1]
    weights["dense.weight"] = normal(last, last, kernel, kernel, scale=(1 / last) ** 0.5 / kernel)
    weights["dense.bias"] = normal(last)
    if attention:
        weights["projector.op.weight"] = normal(last, widths[2], 1, 1, scale=widths[2] ** -0.5)
        for name in ("attn1", "attn2", "attn3"):
            weights[f"{name}.op.weight"] = normal(1, last, 1, 1, scale=last**-0.5)
    features = 3 * last if attention else last
    weights["classify.weight"] = normal(classes, features, scale=features**-0.5)
    weights["classify.bias"] = normal(classes)
    return weights


def forward(weights: Weights, x: Tensor, after: bool, softmax: bool) -> list[Tensor]:
    """Normalised pictures [B, 3, H, W] -> logits [B, K], then, with attention on, the scores of
    the three levels as they are, [B, h, w]."""

    def block(x: Tensor, name: str, pool: bool = False) -> Tensor:
        for place in CONVOLUTIONS[name]:
            conv, norm = f"{name}.op.{place}", f"{name}.op.{int(place) + 1}"
            x = F.conv2d(x, weights[f"{conv}.weight"], weights[f"{conv}.bias"], padding=1)
            names = ("running_mean", "running_var", "weight", "bias")
            x = F.relu(F.batch_norm(x, *(weights[f"{norm}.{each}"] for each in names)))
            x = F.max_pool2d(x, 2) if pool else x
        return x

    taps, x = [], block(block(x, "conv_block1"), "conv_block2")
    for name in ("conv_block3", "conv_block4", "conv_block5"):
        before = block(x, name)
        x = F.max_pool2d(before, 2)
        taps.append(x if after else before)
    x = block(x, "conv_block6", pool=True)
    g = F.conv2d(x, weights["dense.weight"], weights["dense.bias"])
    scores, attended = [], [g.flatten(1)]
    if "projector.op.weight" in weights:
        taps[0] = F.conv2d(taps[0], weights["projector.op.weight"])
        attended = []
        for tap, name in zip(taps, ("attn1", "attn2", "attn3"), strict=True):
            score = F.conv2d(tap + g, weights[f"{name}.op.weight"])[:, 0]
            a = score.flatten(1).softmax(1).view_as(score) if softmax else score.sigmoid()
            weighted = (a[:, None] * tap).flatten(2)
            attended.append(weighted.sum(2) if softmax else weighted.mean(2))
            scores.append(score)
    together = torch.cat(attended, 1)
    return [F.linear(together, weights["classify.weight"], weights["classify.bias"]), *scores]
