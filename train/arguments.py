"""What several commands have in common: options, the layout of ``--help``, and how they speak to the user."""

from __future__ import annotations

import logging
import warnings
from itertools import groupby
from typing import Any

import torch
from jsonargparse import ArgumentParser, DefaultHelpFormatter
from lightning.fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console

from ..errors import ArgumentError, require


def read_lengths(text: str) -> list[int]:
    """``256,512,1024`` as numbers, also in brackets.

    Raises:
        ArgumentError: a word is no whole number.
    """
    try:
        return [int(word) for word in text.strip("[] ").split(",")]
    except ValueError:
        raise ArgumentError("lengths", "whole numbers with commas between them, such as 256,512,1024", text) from None


_SHARED: dict[str, dict[str, Any]] = {
    "allow_classes": {"action": "store_true", "help": "allow class paths outside lmzoo, which runs the code they name"},
    "device": {
        "type": str,
        "default": "cuda" if torch.cuda.is_available() else "cpu",
        "help": "cpu, cuda or cuda:N",
    },
}


def add_shared(parser: ArgumentParser, *names: str) -> None:
    """Declare options that several commands have: ``allow_classes``, ``device``."""
    for name in names:
        parser.add_argument(f"--{name}", **_SHARED[name])


def check_device(name: str) -> str:
    """The name of a device, if torch can compute there.

    Raises:
        ArgumentError: it is not cpu, cuda or cuda:N, or this machine has no such GPU.
    """
    kind, colon, index = name.partition(":")
    known = name == "cpu" or (kind == "cuda" and (not colon or (index.isascii() and index.isdigit())))
    require(known, "device", "cpu, cuda or cuda:N", name)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda":
        require(gpus > 0, "device", "cpu: this machine has no GPU that torch can use", name)
        require(int(index or 0) < gpus, "device", f"cuda:N with N below {gpus}, the GPUs of this machine", name)
    return name


class ExampleFormatter(DefaultHelpFormatter):
    """Fills a description as usual, but leaves its examples, indented below ``Examples:``, as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = []
        for is_kept, lines in groupby(text.splitlines(), _is_kept):
            block = "\n".join(lines)
            filled.append(block if is_kept else super()._fill_text(block, width, indent))
        return "\n".join(filled)


def _is_kept(line: str) -> bool:
    return line.startswith("  ") or line in ("", "Example:", "Examples:")


console = Console(highlight=False)


@rank_zero_only
def say(message: str) -> None:
    """Tell the user what is going on, once however many processes there are."""
    console.print(message, soft_wrap=True, markup=False)


def quiet_libraries() -> None:
    """Keep Lightning's advice about things that are so on purpose out of the way of our own messages."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
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
