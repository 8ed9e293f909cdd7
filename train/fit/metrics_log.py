"""What a run tells while it trains: rows in ``metrics.jsonl``, CSV and TensorBoard, and its progress on the screen."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import RichProgressBar
from torch import Tensor

from ..arguments import say
from ..data import TextDataModule
from ..storage import Record, append_record, read_lines, write_records
from .module import LanguageModule

# sums in progress, which a checkpoint keeps
_STATE = ("loss", "cross_entropy", "batches", "tokens", "seconds", "row_tokens", "row_seconds", "rates")


class MetricsLog(pl.Callback):
    """Writes the run's rows. After a resume, rows later than the checkpoint are cut off, so that none stands twice.

    A training row holds means over the optimizer steps since the row before; its tokens/s leave out validation
    and checkpoint writing. Sums in progress are part of the checkpoint: they are over all processes of the run, so that
    what the first of them saves holds for each. Seconds are those of the first process.
    """

    def __init__(self, path: Path, every_n_steps: int = 10) -> None:
        self.path = path
        self.every_n_steps = every_n_steps
        self.loss: Tensor | float = 0.0
        self.cross_entropy: Tensor | float = 0.0
        self.batches = self.tokens = self.row_tokens = 0
        self.seconds = self.row_seconds = 0.0
        self.rates: list[float] = []
        self._mark: float | None = None
        self.validated: tuple[int, Record] | None = None

    def state_dict(self) -> dict[str, Any]:
        sums = {name: vars(self)[name] for name in _STATE}
        return {name: float(value) if isinstance(value, Tensor) else value for name, value in sums.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: state[name] for name in _STATE})
        self.rates = list(self.rates)

    # -- training rows -------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            rows = read_lines(self.path, may_be_cut_off=True)
            write_records(self.path, [row for row in rows if row["step"] <= trainer.global_step])
        assert isinstance(pl_module, LanguageModule)
        health = pl_module.health()
        if health and trainer.is_global_zero:
            say(", ".join(f"{name.replace('_', ' ')} {figure:,.6g}" for name, figure in health.items()))
        data = trainer.datamodule
        self._batches_per_epoch = data.batches_per_epoch() if isinstance(data, TextDataModule) else sys.maxsize
        self._mark = time.perf_counter()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        if self._mark is None:  # after a validation or a checkpoint, whose time is not the training's
            self._mark = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, LanguageModule)
        accumulate = trainer.accumulate_grad_batches
        self.loss = self.loss + pl_module.last_loss.double()
        self.cross_entropy = self.cross_entropy + pl_module.last_cross_entropy.double()
        self.batches += 1
        tokens = batch["input_ids"][:, 1:].numel() * trainer.world_size
        self.tokens += tokens
        self.row_tokens += tokens
        last = batch_idx + 1 == trainer.num_training_batches or trainer.global_step == trainer.max_steps
        ends_step = (batch_idx + 1) % accumulate == 0 or last
        due = ends_step and (trainer.global_step % self.every_n_steps == 0 or last)
        if due and torch.cuda.is_available():
            torch.cuda.synchronize()  # or the clock would read the launch, not the work
        now = time.perf_counter()
        self.row_seconds += now - (self._mark if self._mark is not None else now)
        self._mark = now
        if not due:
            return
        rate = self.row_tokens / self.row_seconds if self.row_seconds > 0 else math.nan
        self.seconds += self.row_seconds
        self.rates.append(rate)
        loss, cross_entropy = float(self.loss), float(self.cross_entropy)
        row = {
            "split": "train",
            "step": trainer.global_step,
            "epoch": batch_idx // self._batches_per_epoch,  # passes over the text completed before this
            "tokens": self.tokens,
            "seconds": round(self.seconds, 4),
            "loss": loss / self.batches,
            "cross_entropy": cross_entropy / self.batches,
            "learning_rate": self._last_learning_rate(trainer),
            "grad_norm": float(pl_module.grad_norm),
            "tokens_per_second": round(rate, 1),
        }
        self.loss = self.cross_entropy = 0.0
        self.batches = self.row_tokens = 0
        self.row_seconds = 0.0
        self._write(trainer, row)

    @staticmethod
    def _last_learning_rate(trainer: pl.Trainer) -> float:
        # the scheduler has already moved on to the next step's rate
        base = trainer.optimizers[0].param_groups[0]["initial_lr"]
        factor = trainer.lr_scheduler_configs[0].scheduler.lr_lambdas[0]
        return float(base * factor(trainer.global_step - 1))

    # -- validation rows -----------------------------------------------------------------------------------------

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._mark = None
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        assert isinstance(pl_module, LanguageModule)
        self.write_validation(trainer, pl_module.perplexity.compute())

    def write_validation(self, trainer: pl.Trainer, figures: Record) -> None:
        """Append a validation row at the present step, unless one stands there already."""
        if not figures["tokens"]:
            return
        self.validated = (trainer.global_step, figures)
        rows = read_lines(self.path, may_be_cut_off=True)
        if any(r["split"] == "validation" and r["step"] == trainer.global_step for r in rows):
            return
        row: Record = {"split": "validation", "step": trainer.global_step, "tokens_seen": self.tokens}
        assert isinstance(trainer.lightning_module, LanguageModule)
        row.update(trainer.lightning_module.health())
        row.update((k, figures[k]) for k in ("cross_entropy", "token_perplexity", "word_perplexity", "bits_per_byte"))
        self._write(trainer, row)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: Any) -> None:
        self._mark = None

    def _write(self, trainer: pl.Trainer, row: Record) -> None:
        if not trainer.is_global_zero:
            return
        append_record(self.path, row, sync=False)
        figures = {f"{row['split']}/{k}": v for k, v in row.items() if k not in ("split", "step")}
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=row["step"])
            logger.save()


# -- on the screen ----------------------------------------------------------------------------------------------


def _log_of(trainer: pl.Trainer) -> MetricsLog | None:
    return next((c for c in trainer.callbacks if isinstance(c, MetricsLog)), None)


class TokenProgressBar(RichProgressBar):
    """Lightning's rich bar with the loss and the tokens per second of the run."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics: dict[str, Any] = {}
        if isinstance(pl_module, LanguageModule) and trainer.training:
            metrics["loss"] = f"{float(pl_module.last_cross_entropy):.3f}"
            log = _log_of(trainer)
            if log and log.rates:
                metrics["tokens/s"] = f"{log.rates[-1]:,.0f}"
        return metrics


class ProgressLines(pl.Callback):
    """A line every so many seconds, for logs and other places that are no terminal."""

    def __init__(self, every_seconds: float = 10.0) -> None:
        self.every_seconds = every_seconds
        self._last = 0.0
        self._start = 0.0
        self._start_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = self._last = time.monotonic()
        self._start_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        assert isinstance(pl_module, LanguageModule)
        total = pl_module.total_steps()
        done = trainer.global_step
        if not trainer.is_global_zero or (now - self._last < self.every_seconds and done != total):
            return
        self._last = now
        log = _log_of(trainer)
        rate = f", {log.rates[-1]:,.0f} tokens/s" if log and log.rates else ""
        steps = done - self._start_step
        left = f", {(now - self._start) / steps * (total - done):.0f} s left" if steps else ""
        print(f"step {done}/{total}: loss {float(pl_module.last_cross_entropy):.3f}{rate}{left}", flush=True)


def progress_callback() -> pl.Callback:
    """The bar on a terminal, lines elsewhere."""
    return TokenProgressBar(leave=True) if sys.stdout.isatty() else ProgressLines()
