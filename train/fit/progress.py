"""What a person sees while a run is going on."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from typing import Any

import lightning.pytorch as pl
import transformers
from lightning.pytorch.callbacks import RichProgressBar

from .metrics_log import MetricsLog
from .module import LanguageModule


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


def quiet_libraries() -> None:
    """Keep Lightning's advice about things that are so on purpose out of the way of our own messages."""
    transformers.utils.logging.disable_progress_bar()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*mid-epoch|.*ended before the epoch ended.*",  # our sampler starts where the run stopped
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*`isinstance\\(treespec, LeafSpec\\)`.*",
        ".*Experiment logs directory.*",
        ".*recommended to use `self.log.*sync_dist=True.*",  # what we log is summed over the processes already
    ):
        warnings.filterwarnings("ignore", message=message)
