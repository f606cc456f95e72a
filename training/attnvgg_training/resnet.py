"""The pre-activation ResNet-164 of "Learn to Pay Attention" (Jetley et al., ICLR 2018).

A 3x3 convolution, then three stages of 18 bottleneck blocks ("Identity Mappings in Deep Residual
Networks", He et al., ECCV 2016) with 64, 128 and 256 channels; the second and third stage begin
with stride 2. A level taps the residual stream after a stage as it is: the official code has taken
the batch norm and ReLU before the tap out. What the last stage gives goes through a pool, one more
convolution, a pool and a linear layer, and becomes g. Without levels it is the plain ResNet-164:
batch norm, ReLU, average over positions, one linear layer.

Against the official code (github.com/saumya-jetley/cd_ICLR18_LearnToPayAttention, RESNET/models,
`Resnet-att2`):
- the 4x4 pool before the last linear layer is the maximum over all positions, which at 32x32 are
  4x4, so that the network takes other sizes;
- the extra convolution has no bias, which the batch norm behind it takes away again, and that
  batch norm adds 1e-5 to the variance instead of 1e-3;
- u has no bias and starts at zero (attention.py); scales of batch norms start at 1, not random.
"""

from dataclasses import replace

from torch import Tensor, nn

from attnvgg_training.network import AttentionOptions, Head, Network

STAGES = ("stage1", "stage2", "stage3")
STRIDES = dict(zip(STAGES, (1, 2, 4), strict=True))


def convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Conv2d:
    """Without bias, padded to keep the size, initialised by its outputs (MSR, fan-out)."""
    made = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out")
    return made


def activation(channels: int) -> list[nn.Module]:
    """Batch norm and ReLU."""
    return [nn.BatchNorm2d(channels), nn.ReLU()]


class Bottleneck(nn.Module):
    """x + three convolutions of the activated x; [B, in, H, W] -> [B, out, H/stride, W/stride].

    Where the shape changes, a 1x1 convolution of the activated x stands for x. The stride is the
    first convolution's, as in the official code, not the 3x3's.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = outputs // 4
        self.activation = nn.Sequential(*activation(inputs))
        self.residual = nn.Sequential(
            convolution(inputs, middle, 1, stride),
            *activation(middle),
            convolution(middle, middle, 3),
            *activation(middle),
            convolution(middle, outputs, 1),
        )
        reshaped = inputs != outputs or stride != 1
        self.shortcut = convolution(inputs, outputs, 1, stride) if reshaped else None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        active = self.activation(x)
        kept = x if self.shortcut is None else self.shortcut(active)
        added: Tensor = kept + self.residual(active)
        return added


class Largest(nn.Module):
    """The maximum over all positions, [B, C, h, w] -> [B, C]."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x.amax((2, 3))


class AttentionResNet(Network):
    """RN-attN, or with no level the plain pre-activation ResNet.

    Args:
        levels: of STAGES, in order of depth; the official code has ("stage2", "stage3").
        classes: K.
        global_feature: False leaves out what only g needs, which changes nothing under pc and
            softmax (attention.py).
        options: `dropout` is that of the projections and before the last layer of g; the head has
            three fifths of it and the convolution of g four fifths, as the official code has
            .5, .3 and .4. The plain network has none, and its head has no batch norm of its own.
        blocks: in a stage; 18 make 164 layers.
        widths: channels of the first convolution and of the stages, multiples of 4.
    """

    def __init__(
        self,
        levels: tuple[str, ...],
        classes: int,
        global_feature: bool = True,
        options: AttentionOptions = AttentionOptions(),  # noqa: B008, it is frozen
        blocks: int = 18,
        widths: tuple[int, ...] = (16, 64, 128, 256),
    ) -> None:
        if not levels:
            options = replace(options, dropout=0.0, head_norm=False)
        channels = {name: widths[1 + STAGES.index(name)] for name in levels}
        super().__init__(channels, widths[-1], classes, options, global_feature)
        self.levels, self.blocks, self.widths = levels, blocks, widths
        for module in self.head.modules():
            if isinstance(module, Head):
                module.dropout.p = 0.6 * options.dropout
        self.stem = convolution(3, widths[0], 3)
        depth = 3 if global_feature else 1 + STAGES.index(levels[-1])
        self.stages = nn.ModuleDict(
            {
                name: _stage(widths[i], widths[i + 1], blocks, 1 if i == 0 else 2)
                for i, name in enumerate(STAGES[:depth])
            }
        )
        self.global_branch = self._branch(widths[-1], options.dropout) if global_feature else None

    @property
    def layers(self) -> dict[str, nn.Module]:
        """See Network; the stages."""
        return dict(self.stages)

    @property
    def strides(self) -> dict[str, int]:
        """Level name -> input pixels that a position of its map covers, each way."""
        return {name: STRIDES[name] for name in self.levels}

    @property
    def multiple(self) -> int:
        """What a side of the input must be a multiple of, for what is pooled to divide evenly."""
        pooled = 2 if self.levels and self.global_branch is not None else 1
        return pooled * STRIDES[STAGES[len(self.stages) - 1]]

    def tapped(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Normalised images [B, 3, H, W] -> (level name -> l [B, C, h, w], g [B, D] or None)."""
        x, locals_ = self.stem(images), {}
        for name, stage in self.stages.items():
            x = stage(x)
            if name in self.levels:
                locals_[name] = x
        return locals_, None if self.global_branch is None else self.global_branch(x)

    def cut(self) -> "AttentionResNet":
        """Without the global branch, where no output depends on it, and without the stages that
        only it needs."""
        if self.g_matters or self.global_branch is None:
            return self
        cut = AttentionResNet(
            self.levels, self.classes, False, self.options, self.blocks, self.widths
        )
        kept = cut.state_dict().keys()
        cut.load_state_dict({k: v for k, v in self.state_dict().items() if k in kept})
        return cut.eval()

    def _branch(self, channels: int, dropout: float) -> nn.Sequential:
        """From the last stage to g, [B, D, h, w] -> [B, D]."""
        if not self.levels:
            return nn.Sequential(*activation(channels), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(
            *activation(channels),
            nn.MaxPool2d(2),
            convolution(channels, channels, 3),
            *activation(channels),
            nn.Dropout(0.8 * dropout),
            Largest(),
            nn.Dropout(dropout),
            nn.Linear(channels, channels),
        )


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [Bottleneck(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(inputs, outputs, stride), *rest)
