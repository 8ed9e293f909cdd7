"""What surrounds an evaluation: the model's mode, its changes, and the bar that a person watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from .interventions import Intervention


@contextmanager
def evaluating(model: nn.Module, intervention: Intervention | None) -> Iterator[None]:
    """In evaluation mode and with the intervention, if any; every module is as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with nullcontext() if intervention is None else intervention(model):
            yield
    finally:
        for module, training in modes:
            module.training = training


def progress_bar() -> Progress:
    """A bar on a terminal with the time that is left, nothing elsewhere; gone when it is done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    times = (TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, transient=True, disable=not console.is_terminal)
