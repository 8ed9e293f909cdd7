"""What a sample is, and in which order samples come: windows on a prepared split, and indices for a DataLoader."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ...errors import require
from .corpus import CorpusError
from .encode import PreparedSplit


class TrainingWindows(Dataset[dict[str, Tensor]]):
    """Sample i of an epoch is tokens[o + i T : o + i T + T + 1], with o = ``window_shift(seed, epoch, T)``.

    Neighbouring windows share one token, the last target of one being the first input of the next. The number of
    samples, (N - T) // T of N tokens, is what fits at any shift; so up to 2 T tokens at the split's end, others in
    every epoch, are not trained on in an epoch. Separators are trained on like any token.

    Args:
        prepared: the training split.
        context_length: T.
        seed: of the shift.

    Raises:
        CorpusError: the split is shorter than two windows.
    """

    def __init__(self, prepared: PreparedSplit, context_length: int, seed: int) -> None:
        self.prepared = prepared
        self.context_length = context_length
        self.seed = seed
        self.samples = (prepared.length - context_length) // context_length
        if self.samples < 1:
            raise CorpusError(
                f"the {prepared.split} split of {prepared.corpus} has {prepared.length} tokens, fewer than two windows"
                f" of context_length={context_length}; take a smaller context_length or a longer text"
            )

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Tensor]:
        """``{"input_ids": (T + 1,) int64}`` of sample ``index`` = (epoch, i)."""
        epoch, sample = index
        first = window_shift(self.seed, epoch, self.context_length) + sample * self.context_length
        window = self.prepared.tokens[first : first + self.context_length + 1]
        return {"input_ids": torch.from_numpy(window.astype(np.int64))}


class EvaluationWindows(Dataset[dict[str, Tensor]]):
    """The non-overlapping protocol: every token but the separators is a scored target exactly once.

    Window k has tokens[k T : k T + T + 1]; its T targets are the tokens after its first, so that one is context alone.
    The last window, and one with an index past the last, is filled up on the right with separators, which are not
    scored.

    Args:
        prepared: a split prepared with byte and word counts by token.
        context_length: T.
    """

    def __init__(self, prepared: PreparedSplit, context_length: int) -> None:
        self.prepared = prepared
        self.context_length = context_length

    def __len__(self) -> int:
        return math.ceil((self.prepared.length - 1) / self.context_length)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """``input_ids`` (T + 1,); of targets ``scored`` (T,) bool and ``bytes``, ``words``, ``document`` (T,) int64.

        Documents are numbered from 0; a separator is of the one that it stands before.
        """
        T = self.context_length
        first = min(index * T, self.prepared.length)
        last = min(first + T + 1, self.prepared.length)
        ids = np.full(T + 1, self.prepared.separator, dtype=np.int64)
        ids[: last - first] = self.prepared.tokens[first:last]

        scored = np.zeros(T, dtype=bool)
        size = np.zeros(T, dtype=np.int64)
        words = np.zeros(T, dtype=np.int64)
        document = np.zeros(T, dtype=np.int64)
        targets = slice(first + 1, last)
        n = max(last - first - 1, 0)
        scored[:n] = True
        scored[self.prepared.separators_in(first + 1, last) - (first + 1)] = False
        document[:n] = np.searchsorted(self.prepared.separators, np.arange(first + 1, last), side="right") - 1
        size[:n] = self.prepared.token_bytes[targets]
        words[:n] = self.prepared.token_words[targets]
        return {
            "input_ids": torch.from_numpy(ids),
            "scored": torch.from_numpy(scored),
            "bytes": torch.from_numpy(size),
            "words": torch.from_numpy(words),
            "document": torch.from_numpy(document),
        }


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
