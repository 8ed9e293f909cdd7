"""Text for training and evaluation, as Lightning takes it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from ...errors import require
from ...tokenization import tokenizer_sha256
from ...tokenization.schemes import DEFAULT_GROUP
from .arithmetic import ArithmeticSettings
from .cache import cache_root
from .corpus import SPLITS, CorpusError, at_least, check_tokenizer_choice, given_or
from .encode import PreparedSplit, prepare_split
from .sources import Withheld, load_source
from .tokenizer_cache import TokenizerOptions, corpus_tokenizer, load_tokenizer
from .windows import (
    EvaluationBatchSampler,
    EvaluationWindows,
    OrderedBatchSampler,
    SampleOrder,
    TrainingWindows,
    trainer_position,
)

_STAGES = {"fit": ("train", "validation"), "validate": ("validation",), "test": ("test",), "predict": ()}
_ARITHMETIC = ArithmeticSettings()


class TextDataModule(pl.LightningDataModule):
    """A corpus, its tokenizer and its windows.

    Training batches are ``{"input_ids": (B, T + 1) int64}``. Evaluation batches, in the non-overlapping protocol, are
    ``{"input_ids": (B, T + 1), "scored": (B, T) bool, "bytes": (B, T), "words": (B, T), "document": (B, T)}``, the
    last four of the targets: sum nll where ``scored``, and divide by the sums of ``scored``, ``bytes`` or ``words``.

    Nothing is read on construction. Text is tokenised into a cache at the first use of a split, by one process
    (``prepare_data``) where there are several. The trainer must not replace the samplers in a distributed run: they
    know the ranks already (``use_distributed_sampler: false``).

    Args:
        source: ``python-docs``, ``wikitext-2``, ``wikitext-103``, ``arithmetic``, ``arithmetic+`` one of the others, a
            text file or folder, ``hub:owner/name[:config]``, or a mapping from split to file.
        raw: WikiText without ``<unk>``.
        detokenize: WikiText with its spacing undone, approximately; the passport says so.
        arithmetic: how much arithmetic is generated and which, where the source names it.
        context_length: T, tokens that a training window predicts.
        eval_context_length: T in evaluation; the training one by default.
        batch_size: B, windows a step and device.
        eval_batch_size: B in evaluation; the training one by default.
        vocab_size: of the tokenizer trained on the training split; beside ``tokenizer`` null or that one's size.
        tokenizer: folder of a saved tokenizer, or a name on the hub, instead of training one.
        numbers: number scheme of the tokenizer to train.
        group: digits in a group, for number schemes that group.
        pad_fraction: fill the last group of a fraction up with zeros, for number schemes with magnitudes; loses how
            many digits it had, so bits per byte are those of the padded text.
        all_groups: give every group of digits an entry of the vocabulary.
        tuning_fraction: the share of training documents that becomes the validation split and is not trained on, so
            that settings can be chosen without the corpus's own validation and test splits, which are not there then;
            null keeps nothing back. The tokenizer stays that of the whole training split.
        seed: of the training order.
        num_workers: loader processes.
        cache_dir: ``$LMZOO_CACHE`` or ``~/.cache/lmzoo`` by default.

    Raises:
        ArgumentError: an argument is out of range or does not fit another one.
    """

    def __init__(
        self,
        source: str | dict[str, str] = "python-docs",
        *,
        raw: bool = False,
        detokenize: bool = False,
        arithmetic: ArithmeticSettings = _ARITHMETIC,
        context_length: int = 256,
        eval_context_length: int | None = None,
        batch_size: int = 16,
        eval_batch_size: int | None = None,
        vocab_size: int | None = 8192,
        tokenizer: str | None = None,
        numbers: str = "bpe",
        group: int = DEFAULT_GROUP,
        pad_fraction: bool = False,
        all_groups: bool = False,
        tuning_fraction: float | None = None,
        seed: int = 0,
        num_workers: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        self._whole = load_source(source, raw=raw, detokenize=detokenize, arithmetic=arithmetic)
        self.corpus = self._whole if tuning_fraction is None else Withheld(self._whole, tuning_fraction)
        self.tuning_fraction = tuning_fraction
        self.source = source
        self.raw = raw
        self.detokenize = detokenize
        self.arithmetic = arithmetic
        self.context_length = at_least("context_length", context_length, 1)
        self.eval_context_length = at_least("eval_context_length", given_or(eval_context_length, context_length), 1)
        self.batch_size = at_least("batch_size", batch_size, 1)
        self.eval_batch_size = at_least("eval_batch_size", given_or(eval_batch_size, batch_size), 1)
        self.seed = at_least("seed", seed, 0)
        self.num_workers = at_least("num_workers", num_workers, 0)
        check_tokenizer_choice(tokenizer, vocab_size, numbers, group, pad_fraction=pad_fraction, all_groups=all_groups)
        self.numbers = numbers
        self.group = group
        self.pad_fraction = pad_fraction
        self.all_groups = all_groups
        self.tokenizer_name = tokenizer
        self.vocab_size = vocab_size
        self.cache = cache_root(cache_dir)
        self.position: Callable[[int], tuple[int, int]] = self._position
        self._prepared: dict[str, PreparedSplit] = {}
        self._resumed: dict[str, Any] = {}
        self._limits: tuple[int | None, int | None] | None = None

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer: loaded, taken from the cache, or trained on the training split."""
        if self.tokenizer_name is None:
            assert self.vocab_size is not None
            options = TokenizerOptions(self.vocab_size, self.numbers, self.group, self.pad_fraction, self.all_groups)
            return corpus_tokenizer(self._whole, self.cache, options)
        tokenizer = load_tokenizer(self.tokenizer_name)
        fits = self.vocab_size in (None, len(tokenizer))
        require(fits, "vocab_size", f"null or {len(tokenizer)}, the size of {self.tokenizer_name}", self.vocab_size)
        return tokenizer

    def use_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Split text with this tokenizer, that of a trained model, and with no other."""
        self.__dict__["tokenizer"] = tokenizer  # where the cached property keeps its value

    def prepared(self, split: str) -> PreparedSplit:
        """A split as tokens, tokenised now if that has not been done."""
        if split not in self._prepared:
            self._prepared[split] = prepare_split(self.corpus, split, self.tokenizer, self.cache)
        return self._prepared[split]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the corpus has text for."""
        return tuple(split for split in SPLITS if self.corpus.has(split))

    def limit_batches(self, *, passes: int | None, steps: int | None, accumulate: int = 1) -> None:
        """Make one iteration of the training loader the whole of training, instead of one pass over the text.

        The order of samples is the same; the trainer sees a single epoch (``max_epochs=1``) that never restarts.

        Args:
            passes: passes over the training split, or None for no limit.
            steps: optimizer steps, or None for no limit; the smaller of both limits holds.
            accumulate: batches in an optimizer step.

        Raises:
            ArgumentError: there is no limit at all, or one is not positive.
        """
        passes = None if passes == -1 else passes
        steps = None if steps == -1 else steps
        require(passes is not None or steps is not None, "max_steps", "a limit on passes or steps", None)
        require(passes is None or passes > 0, "max_epochs", "null or an integer of at least 1", passes)
        require(steps is None or steps > 0, "max_steps", "-1 or an integer of at least 1", steps)
        require(accumulate > 0, "accumulate_grad_batches", "an integer of at least 1", accumulate)
        self._limits = (passes, None if steps is None else steps * accumulate)

    def prepare_data(self) -> None:
        """Fill the cache, in one process. Without a trainer the stage is not known, and ``setup`` does it."""
        if self.trainer is not None and self.trainer.state.fn is not None:
            for split in self._stage_splits(self.trainer.state.fn.value):
                self.prepared(split)

    def setup(self, stage: str) -> None:
        """Open the splits of a stage, ``fit``, ``validate`` or ``test``."""
        for split in self._stage_splits(stage):
            self.prepared(split)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Training batches from where ``position`` says; its length is that of a whole epoch, or of the whole run."""
        now = self.state_dict() if self._resumed else {}
        unlike = [f"{key} was {old!r}, is {now.get(key)!r}" for key, old in self._resumed.items() if now[key] != old]
        if unlike:
            raise CorpusError(
                "the checkpoint was trained on other samples and cannot be resumed on these: " + "; ".join(unlike)
            )
        order, length = self._order(), self.run_batches()
        sampler = OrderedBatchSampler(order, lambda: self.position(length), length)
        return self._loader(self._windows(), sampler)

    def batches_per_epoch(self) -> int:
        """Batches of this process in one pass over the training split."""
        return self._order().steps_per_epoch

    def run_batches(self) -> int:
        """Batches of this process in an iteration of the training loader: an epoch, or what ``limit_batches`` set.

        Unlike the trainer's own estimate this does not start the loader, which must not happen before a checkpoint
        is restored: the loader would begin at the run's first batch.
        """
        epoch = self.batches_per_epoch()
        if self._limits is None:
            return epoch
        passes, batches = self._limits
        return min(n for n in (None if passes is None else passes * epoch, batches) if n is not None)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self._evaluation_loader("test")

    def passport(self, split: str) -> dict[str, Any]:
        """What a figure on this split must carry: which text, which tokenizer, how much of it is scored."""
        prepared = self.prepared(split)
        return {
            "corpus": self.corpus.name,
            "split": split,
            "text_sha256": prepared.meta["text_sha256"],
            "tokenizer_sha256": prepared.meta["tokenizer_sha256"],
            "tokens": prepared.scored_tokens,
            "words": prepared.meta["words"],
            "bytes": prepared.meta["bytes"],
            "documents": prepared.meta["documents"],
            "word_rule": self.corpus.word_rule,
            "raw": self.raw,
            "detokenize": self.detokenize,
        }

    def token_counts(self) -> npt.NDArray[np.int64]:
        """How often each id is a label in the training split, (V,)."""
        return self.prepared("train").counts(len(self.tokenizer))

    def state_dict(self) -> dict[str, Any]:
        """What decides the order of training samples; empty unless training was set up."""
        if "train" not in self._prepared:
            return {}
        return {
            "seed": self.seed,
            "samples": self._windows().samples,
            "global_batch_size": self.batch_size * self._world()[0],
            "context_length": self.context_length,
            "text_sha256": self.prepared("train").meta["text_sha256"],
            "tokenizer_sha256": tokenizer_sha256(self.tokenizer),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember a checkpoint's order; ``train_dataloader`` refuses to go on with another one.

        Evaluation of a checkpoint on other data is no resumption, so nothing is compared here.
        """
        self._resumed = dict(state_dict)

    def _windows(self) -> TrainingWindows:
        return TrainingWindows(self.prepared("train"), self.context_length, self.seed)

    def _order(self) -> SampleOrder:
        windows = self._windows()
        world_size, rank = self._world()
        most = windows.samples // world_size
        expected = (
            f"at most {most}: the training split's {windows.prepared.length} tokens give {windows.samples} windows of"
            f" context_length={self.context_length} for {world_size} device(s)"
        )
        require(self.batch_size <= most, "batch_size", expected, self.batch_size)
        return SampleOrder(self.seed, windows.samples, self.batch_size, world_size, rank)

    def _position(self, length: int) -> tuple[int, int]:
        """(iteration of the training loader, batch in it) to begin at; ``self.position`` may be replaced."""
        return (0, 0) if self.trainer is None else trainer_position(self.trainer, length)

    def _stage_splits(self, stage: str) -> tuple[str, ...]:
        splits = _STAGES[stage]
        if stage == "fit" and self.trainer is not None and self.trainer.limit_val_batches == 0:
            return ("train",)  # a corpus without a validation split can still be trained on
        return splits

    def _world(self) -> tuple[int, int]:
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)

    def _evaluation_loader(self, split: str) -> DataLoader[dict[str, Tensor]]:
        windows = EvaluationWindows(self.prepared(split), self.eval_context_length)
        return self._loader(windows, EvaluationBatchSampler(len(windows), self.eval_batch_size, *self._world()))

    def _loader(self, windows: Any, batch_sampler: Any) -> DataLoader[dict[str, Tensor]]:
        if self.num_workers:
            # Workers are forked after the tokenizer used its threads; they never tokenise, so its warning is moot.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        return DataLoader(
            windows,
            batch_sampler=batch_sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
