"""What a run leaves of its weights: checkpoints that survive a kill at any moment, and in the end the model."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ...errors import require
from ...models import Decoder, LMZooForCausalLM
from ..runs.folder import checkpoints
from ..storage import open_atomically, write_atomically
from .processes import any_process

LOSS_FILE = "loss.safetensors"
_LOG_WEIGHT = "log_weight"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes under a temporary name, flushes to the disk, renames; loads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with open_atomically(path) as stream:
            torch.save(checkpoint, stream)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Load with ``weights_only=True`` whatever is asked: a checkpoint never runs code."""
        loaded: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return loaded


class RunInterrupted(Exception):
    """The run was asked to stop and has done so at the end of a step."""


class ResumeCheckpoint(Checkpoint):
    """Saves the whole training state every so many optimizer steps, and keeps the newest few.

    At a step where validation is due the checkpoint is written after it, so that a run resumed from there neither
    repeats that validation nor misses it.

    Args:
        folder: where ``step-<n>.ckpt`` go.
        every_n_steps: optimizer steps between checkpoints.
        keep: how many of the newest to keep; older ones are deleted only after a newer one is complete.
    """

    def __init__(self, folder: str | os.PathLike[str], every_n_steps: int = 200, keep: int = 2) -> None:
        require(every_n_steps > 0, "checkpoint_every_n_steps", "1 or more", every_n_steps)
        require(keep > 0, "keep", "1 or more", keep)
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.keep = keep
        self._asked_to_stop = False

    @contextlib.contextmanager
    def stopping_on_signals(self, trainer: pl.Trainer) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM end the run after the step at hand, with a checkpoint; a second Ctrl-C at once.

        While it is scored the run ends after the batch at hand; its newest checkpoint is from before.

        Lightning (2.6) broadcasts a SIGTERM from inside its signal handler, which arrives in the middle of other
        communication: processes that are not at the same place then wait for each other for ever. Its part in the
        handler is left out; the processes agree at the end of the step instead.
        """

        def ask(number: int, frame: FrameType | None) -> None:
            if self._asked_to_stop and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._asked_to_stop = True

        lightnings = vars(trainer._signal_connector)  # an attribute of its own hides the method
        lightnings["_sigterm_notifier_fn"] = lambda number, frame: None
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            del lightnings["_sigterm_notifier_fn"]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        if not self._step_ends_here(trainer) or _validation_follows(trainer):
            return
        if any_process(trainer, self._asked_to_stop):
            self._save(trainer)
            raise RunInterrupted
        if self._due(trainer):
            self._save(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if any_process(trainer, self._asked_to_stop):
            raise RunInterrupted  # the last checkpoint is from before this validation, which will be made again

    def on_test_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if any_process(trainer, self._asked_to_stop):
            raise RunInterrupted

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self._due(trainer):
            self._save(trainer)

    def _due(self, trainer: pl.Trainer) -> bool:
        return self._step_ends_here(trainer) and trainer.global_step % self.every_n_steps == 0

    @staticmethod
    def _step_ends_here(trainer: pl.Trainer) -> bool:
        return bool(trainer.fit_loop.total_batch_idx + 1 == trainer.global_step * trainer.accumulate_grad_batches)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.folder / f"step-{trainer.global_step:08d}.ckpt")
        if trainer.is_global_zero:
            for old in checkpoints(self.folder)[: -self.keep]:
                old.unlink(missing_ok=True)


def _validation_follows(trainer: pl.Trainer) -> bool:
    every = trainer.val_check_batch
    if not trainer.enable_validation or every is None or every == float("inf"):
        return False
    return (int(trainer.fit_loop.batch_idx) + 1) % int(every) == 0


# -- the model in the end ---------------------------------------------------------------------------------------


def export_model(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, folder: Path, *, context_length: int) -> None:
    """Write ``model.safetensors``, ``config.json`` and the tokenizer's files into a run's folder.

    Everything is written to a folder of its own first and moved over file by file, the weights last: a model whose
    weights are there is whole.
    """
    temporary = folder / ".export.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    model = LMZooForCausalLM.from_decoder(
        decoder,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        train_length=context_length,
    )
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    for file in sorted(temporary.iterdir(), key=lambda file: file.suffix == ".safetensors"):
        file.replace(folder / file.name)
    temporary.rmdir()


def export_log_weight(log_weight: Tensor, folder: Path) -> None:
    """Write ``loss.safetensors``: log w (V), by which the loss shifted what the model learned.

    It is what ``lmzoo validate --debias`` needs, and could be had from the training text only.
    """
    write_atomically(folder / LOSS_FILE, save({_LOG_WEIGHT: log_weight.detach().cpu().contiguous()}))


def read_log_weight(folder: Path) -> Tensor | None:
    """The log w (V) of a run's loss; None where it shifted nothing, or the run is not finished."""
    file = folder / LOSS_FILE
    return load_file(file)[_LOG_WEIGHT] if file.is_file() else None
