"""Words of the command line that several commands read alike."""

from __future__ import annotations

import torch

from ..errors import ArgumentError, require


def read_lengths(text: str) -> list[int]:
    """``256,512,1024`` as numbers, also in brackets.

    Raises:
        ArgumentError: a word is no whole number.
    """
    try:
        return [int(word) for word in text.strip("[] ").split(",")]
    except ValueError:
        raise ArgumentError("lengths", "whole numbers with commas between them, such as 256,512,1024", text) from None


def check_device(name: str) -> str:
    """The name of a device, if torch can compute there.

    Raises:
        ArgumentError: it is not cpu, cuda or cuda:N, or this machine has no such GPU.
    """
    kind, colon, index = name.partition(":")
    known = name == "cpu" or (kind == "cuda" and (not colon or (index.isascii() and index.isdigit())))
    require(known, "device", "cpu, cuda or cuda:N", name)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda":
        require(gpus > 0, "device", "cpu: this machine has no GPU that torch can use", name)
        require(int(index or 0) < gpus, "device", f"cuda:N with N below {gpus}, the GPUs of this machine", name)
    return name
