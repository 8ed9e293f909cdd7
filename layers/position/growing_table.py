"""A table over positions that grows when a longer sequence comes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MakeTable = Callable[[int, Tensor], tuple[Tensor, ...]]


class GrowingTable:
    """Columns that are functions of the position alone, kept between calls.

    Not buffers of a module: a cast of the model to half precision must leave angles alone.

    Args:
        make: ``make(n, like)`` gives the columns, each (n, ...), on the device of ``like``, float64 where ``like`` is,
            else float32.
    """

    def __init__(self, make: MakeTable) -> None:
        self.make = make
        self.columns: tuple[Tensor, ...] = ()

    def rows(self, start: int, end: int, like: Tensor) -> tuple[Tensor, ...]:
        """Rows ``start`` to ``end`` of every column."""
        columns = self.columns
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        fits = columns and columns[0].size(0) >= end and columns[0].device == like.device and columns[0].dtype == dtype
        if not fits:
            # Tensors born in inference mode could not be saved for a later backward pass.
            with torch.inference_mode(False):
                columns = self.make(max(64, 1 << (end - 1).bit_length()), like)
            self.columns = columns
        return tuple(column[start:end] for column in columns)
