"""What a DataLoader iterates over: indices for training and for evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from torch.utils.data import Sampler

from .order import SampleOrder


class OrderedBatchSampler(Sampler[list[tuple[int, int]]]):
    """Batches of a :class:`SampleOrder`, as (epoch, sample) pairs.

    Iteration i is the batches i L to (i + 1) L - 1 of the order, L = ``length``: one pass over the text, or the whole
    of training, however many passes that is.

    Args:
        order: the order of samples.
        position: called when an iteration begins; (i, batch in the iteration) to begin at. A resumed run begins in the
            middle, and the iteration ends where it always does.
        length: L; the batches of one epoch by default.
    """

    def __init__(self, order: SampleOrder, position: Callable[[], tuple[int, int]], length: int | None = None) -> None:
        self.order = order
        self.position = position
        self.length = order.steps_per_epoch if length is None else length

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        iteration, batch = self.position()
        for step in range(iteration * self.length + batch, (iteration + 1) * self.length):
            epoch = step // self.order.steps_per_epoch
            yield [(epoch, int(sample)) for sample in self.order.batch(step)]

    def __len__(self) -> int:
        """Batches of a whole iteration, wherever it began."""
        return self.length


class EvaluationBatchSampler(Sampler[list[int]]):
    """Every window once, parted among ranks, in order.

    Rank r takes windows r, r + W, r + 2W, ... Every rank gets the same number of batches and windows, since strategies
    that communicate in the forward pass would wait for ever for a missing one; the windows that this adds have an index
    past the last, and nothing in them is scored.

    Args:
        windows: number of windows.
        batch_size: windows a batch and rank.
        world_size: W.
        rank: r.
    """

    def __init__(self, windows: int, batch_size: int, world_size: int = 1, rank: int = 0) -> None:
        self.windows_per_rank = math.ceil(windows / world_size)
        self.batch_size = batch_size
        self.world_size = world_size
        self.rank = rank

    def __iter__(self) -> Iterator[list[int]]:
        mine = range(self.rank, self.windows_per_rank * self.world_size, self.world_size)
        for first in range(0, self.windows_per_rank, self.batch_size):
            yield list(mine[first : first + self.batch_size])

    def __len__(self) -> int:
        return math.ceil(self.windows_per_rank / self.batch_size)
