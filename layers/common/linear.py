"""A linear layer that takes the faster of PyTorch's two products on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Below this many rows the layout work of a convolution outweighs its faster product.
_FEWEST_ROWS = 64


class Linear(nn.Linear):
    """y = W x + b, exactly ``torch.nn.Linear``, x (..., d_in), y (..., d_out).

    In float32 on a CPU PyTorch multiplies matrices with MKL, which uses only half the width of the vector units of
    processors that are not Intel's, but convolves with oneDNN, which uses all of it. A 1 x 1 convolution over
    channels-last data is the same product in the same precision, forward and backward: 2.2 times faster where MKL is
    held back, equal elsewhere. Other types and devices, and few rows, take the ordinary way.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Project the last dimension."""
        rows = x.numel() // self.in_features
        serves = (
            x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and rows >= _FEWEST_ROWS
            and torch.backends.mkldnn.enabled
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )
        if not serves:
            return F.linear(x, self.weight, self.bias)
        image = x.reshape(1, rows, 1, self.in_features).permute(0, 3, 1, 2)
        y = F.conv2d(image, self.weight[:, :, None, None], self.bias)
        return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], self.out_features)
