"""What a diagnosis reads: a run's network with its weights, and windows of its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .config import ConfigError
from .evaluate import load_weights
from .training_cli import TrainingCLI


@dataclass(frozen=True)
class Windows:
    """Windows that begin at the same tokens whatever their length.

    Attributes:
        starts: index of each window's first token in the split.
        input_ids: (W, longest length).
    """

    starts: list[int]
    input_ids: Tensor


def open_run(folder: str | Path, *, allow_classes: bool = False) -> tuple[TrainingCLI, str]:
    """The run with its weights loaded, on the CPU wherever it was trained, and the name of the weights' file.

    Raises:
        ConfigError: the folder holds no run, or neither exported weights nor a checkpoint.
    """
    words = ["--run_dir", str(folder), "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    words += ["--trainer.strategy", "auto", "--trainer.num_nodes", "1", "--trainer.precision", "32-true"]
    cli = TrainingCLI("validate", [*words, *(["--allow_classes"] if allow_classes else [])])
    cli.model.configure_model()
    load_weights(cli)
    cli.model.network.float().eval()
    exported = cli.run.folder / "model.safetensors"
    newest = None if exported.is_file() else cli.run.newest_checkpoint()
    return cli, exported.name if newest is None else newest.name


def take_windows(cli: TrainingCLI, split: str, lengths: Sequence[int], count: int) -> Windows:
    """``count`` windows of the longest length, spread evenly from the split's first token to its last.

    They overlap where the split is shorter than all of them. Separators stand between documents, as in training.

    Raises:
        ConfigError: the corpus has no such split, or it is shorter than a window.
    """
    data = cli.datamodule
    if split not in data.splits:
        raise ConfigError(f"the run's corpus has {', '.join(data.splits)} text, got {split!r}", key="split")
    prepared = data.prepared(split)
    longest = max(lengths)
    room = prepared.length - longest
    if room < 0:
        raise ConfigError(
            f"expected at most {prepared.length}, the tokens of the {split} split, got {longest}", key="lengths"
        )
    starts = sorted({round(k * room / max(1, count - 1)) for k in range(count)})
    rows = [prepared.tokens[start : start + longest].astype(np.int64) for start in starts]
    return Windows(starts, torch.from_numpy(np.stack(rows)))
