"""torchvision's data sets and transforms beside a CPU build of torch.

PyPI has torchvision only with CUDA operators. Beside a CPU torch they fail to load, and
`import torchvision` then stops at registering its own `nms` (torchvision/_meta_registrations.py).
Declaring the two operators first, without an implementation, lets the import through; a torch
built for CUDA is left alone.
"""

import torch

if torch.version.cuda is None:
    # The Library object must stay alive: its declarations go with it.
    _LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision import datasets
from torchvision.transforms import v2

__all__ = ["datasets", "v2"]
