"""Checkpoints that survive being killed at any moment, and the resume that goes on from the newest one."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from ...errors import require
from ..runs.folder import checkpoints
from .processes import any_process


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes under a temporary name, flushes to the disk, renames; loads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as stream:
            torch.save(checkpoint, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)

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
