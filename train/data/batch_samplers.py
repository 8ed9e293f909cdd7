"""What a DataLoader iterates over: indices for training and for evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from ...errors import require


class SampleOrder:
    """The order of samples as a pure function of (seed, step).

    Epoch e = step // steps_per_epoch visits the samples in the permutation pi_e that sorts the raw 64-bit stream of a
    Philox generator keyed by (seed, e); step s of the epoch takes pi_e[s W B + r B : s W B + (r + 1) B] on rank r of W.
    Nothing depends on how a run came to a step, so an interrupted run goes on as if it had not been. NumPy keeps raw
    streams and seed sequences the same in all its versions; the stream of ``Generator.permutation`` it may change.

    A step's samples, over all ranks together, depend on W and B through their product alone. The samples left over at
    an epoch's end, fewer than W B of them, are skipped in that epoch; they are others in the next.

    Args:
        seed: at least 0.
        samples: number of samples in an epoch.
        batch_size: B, samples a step and rank.
        world_size: W, number of ranks.
        rank: r, from 0.

    Raises:
        ArgumentError: an argument is out of range, or there are fewer samples than one step takes.
    """

    def __init__(self, seed: int, samples: int, batch_size: int, world_size: int = 1, rank: int = 0) -> None:
        require(seed >= 0, "seed", "an integer of at least 0", seed)
        require(batch_size >= 1, "batch_size", "an integer of at least 1", batch_size)
        require(world_size >= 1, "world_size", "an integer of at least 1", world_size)
        require(0 <= rank < world_size, "rank", f"from 0 to {world_size - 1}", rank)
        self.seed = seed
        self.samples = samples
        self.batch_size = batch_size
        self.world_size = world_size
        self.rank = rank
        self.steps_per_epoch = samples // (batch_size * world_size)
        most = f"at most {samples} over all ranks together, the samples in an epoch"
        require(self.steps_per_epoch > 0, "batch_size", most, batch_size * world_size)
        self._permutation: tuple[int, npt.NDArray[np.int64]] | None = None

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Sample indices of this rank at a step, (B,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        first = (position * self.world_size + self.rank) * self.batch_size
        return self.permutation(epoch)[first : first + self.batch_size]

    def permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        """The order of all samples in an epoch, (samples,)."""
        if self._permutation is None or self._permutation[0] != epoch:
            stream = np.random.Philox(np.random.SeedSequence([self.seed, epoch])).random_raw(self.samples)
            self._permutation = (epoch, np.argsort(stream, kind="stable"))
        return self._permutation[1]


def window_shift(seed: int, epoch: int, context_length: int) -> int:
    """Where an epoch's first training window begins, in [0, context_length); 0 in epoch 0.

    Windows then fall differently onto the text in every epoch. A pure function of its arguments.
    """
    if epoch == 0:
        return 0
    # The third word keeps this stream apart from the permutation's.
    return int(np.random.SeedSequence([seed, epoch, 1]).generate_state(1, np.uint64)[0] % np.uint64(context_length))


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


def trainer_position(trainer: pl.Trainer, length: int) -> tuple[int, int]:
    """(iteration of the training loader, batch in it) at which a trainer's next batch stands.

    Taken from the number of batches that the trainer has ever trained on, which is part of its checkpoints. Its count
    of epochs does not do: it is one ahead in a checkpoint that is saved after a run stopped in mid epoch.

    Args:
        trainer: new, resumed from a checkpoint, or in training.
        length: batches in an iteration of the loader, before ``limit_train_batches`` cuts it short.
    """
    limit = trainer.limit_train_batches
    limited = int(length * limit) if isinstance(limit, float) else min(limit, length)
    batches = int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)
    return divmod(batches, max(limited, 1))
