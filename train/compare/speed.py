"""``lmzoo speed``: how fast the variants of a comparison train, in one process, in turn."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from rich.progress import track
from rich.table import Table

from ...errors import ConfigError, nearest, require
from ...layers import Loss
from ...layers.common.part import defines
from ..arguments import ExampleFormatter, check_device, console, say
from ..evaluate.loaded_run import load_run, take_windows
from ..fit.corpus_statistics import corpus_statistics
from ..fit.measure import in_turn, quartiles
from ..fit.module import LanguageModule
from ..runs.environment import environment
from ..runs.load import SPEED_FILE, Comparison, load_comparison
from ..storage import write_records

_WARM_UP = 2
_PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16}

_DESCRIPTION = """Time training steps of a comparison's finished variants: forward, loss, backward, clipping and AdamW,
on real text, at the batch size and precision of the runs. The variants take turns in one process, so that what else the
machine does falls on all of them, which tokens/s that runs log one after another cannot promise. Printed are medians
over rounds, and medians and quartiles of each round's ratio to the baseline. Written to speed.jsonl in the comparison's
folder, where its report takes them from. Nothing is trained: weights on disk stay as they are.
Example:
  lmzoo speed runs/heads"""


@dataclass(frozen=True)
class Trainee:
    """A variant's training step and how many tokens it predicts."""

    step: Callable[[], object]
    tokens: int
    seed: int
    precision: str


def main(arguments: Sequence[str]) -> int:
    """Parse, load, time, print and write."""
    parser = ArgumentParser(prog="lmzoo speed", description=_DESCRIPTION, formatter_class=ExampleFormatter)
    parser.add_argument("folder", type=str, help="of a comparison, runs/<name>")
    parser.add_argument("--rounds", type=int, default=9, help="timed steps of each variant, after two to warm up")
    parser.add_argument("--variants", type=str | None, default=None, metavar="a,b", help="only these and the baseline")
    parser.add_argument(
        "--device", type=str, default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda or cuda:N"
    )
    parser.add_argument(
        "--allow_classes", action="store_true", help="allow class paths outside lmzoo, which runs the code they name"
    )
    a = parser.parse_args(list(arguments))
    require(a.rounds >= 1, "rounds", "1 or more", a.rounds)
    if torch.device(check_device(a.device)).index:
        torch.cuda.set_device(a.device)  # a step is over when the current GPU has nothing left to do
    comparison = load_comparison(Path(a.folder))
    names = track(_chosen(comparison, a.variants), "loading", console=console, transient=True)
    trainees = {name: _load(comparison, name, a.device, a.allow_classes) for name in names}
    rows = measure(trainees, comparison.baseline, a.rounds)
    machine = {"device": a.device, "environment": environment()}
    file = comparison.output / SPEED_FILE
    write_records(file, [row | machine for row in rows])
    console.print(_table(rows, comparison.baseline))
    say(f"written to {file}; lmzoo compare {comparison.output} --report_only takes it into the report")
    return 0


def measure(trainees: dict[str, Trainee], baseline: str, rounds: int) -> list[dict[str, Any]]:
    """A row a variant: the median of tokens/s, and median and quartiles of the ratio to the baseline in each round."""
    steps = {name: trainee.step for name, trainee in trainees.items()}
    every = _WARM_UP + rounds
    timed = list(track(in_turn(steps, every), "timing", every, console=console, transient=True))[_WARM_UP:]
    speeds = {name: [trainee.tokens / took[name] for took in timed] for name, trainee in trainees.items()}
    rows = []
    for name, trainee in trainees.items():
        ratios = [own / reference for own, reference in zip(speeds[name], speeds[baseline], strict=True)]
        low, high = quartiles(ratios)
        rows.append(
            {
                "variant": name,
                "baseline": baseline,
                "tokens_per_second": statistics.median(speeds[name]),
                "to_baseline": statistics.median(ratios),
                "to_baseline_low": low,
                "to_baseline_high": high,
                "rounds": rounds,
                "tokens_per_step": trainee.tokens,
                "seed": trainee.seed,
                "precision": trainee.precision,
            }
        )
    return rows


def _chosen(comparison: Comparison, asked: str | None) -> list[str]:
    finished = list(dict.fromkeys(run.variant for run in comparison.finished))
    place = str(comparison.output)
    if comparison.baseline not in finished:
        raise ConfigError(f"expected a finished run of the baseline {comparison.baseline}, got none", place=place)
    wanted = finished if asked is None else [comparison.baseline, *(name.strip() for name in asked.split(","))]
    for name in wanted:
        if name not in finished:
            close = ", ".join(nearest(name, finished))
            raise ConfigError(f"no finished run of a variant {name!r}; nearest: {close}", key="variants", place=place)
    return [name for name in finished if name in wanted]


def _load(comparison: Comparison, name: str, device: str, allow_classes: bool) -> Trainee:
    """The variant's first finished run, ready to take the same step again and again."""
    run = next(run for run in comparison.finished if run.variant == name)
    trainer = run.config.get("trainer") or {}
    precision = str(trainer.get("precision") or "32-true")
    if precision not in _PRECISIONS:
        expected = " or ".join(_PRECISIONS)
        raise ConfigError(f"expected {expected}, got {precision}", key="trainer.precision", place=str(run.folder))
    if not (run.folder / "model.safetensors").is_file():
        raise ConfigError("expected a run with its weights (model.safetensors), got one without", place=str(run.folder))
    loaded = load_run(run.folder, allow_classes=allow_classes)
    data, module = loaded.data, loaded.module
    if defines(module.loss, Loss.use_corpus):
        module.loss.use_corpus(corpus_statistics(data, None))
    split = next(name for name in ("validation", "test", "train") if name in data.splits)
    ids = take_windows(data, split, [int(data.context_length) + 1], int(data.batch_size)).input_ids.to(device)
    module.to(device)
    step = _step(module, ids, _PRECISIONS[precision], trainer.get("gradient_clip_val"))
    return Trainee(step, ids[:, 1:].numel(), run.seed, precision)


def _step(module: LanguageModule, ids: torch.Tensor, low: torch.dtype | None, clip: float | None) -> Callable[[], None]:
    network, loss, target = module.network.train(), module.loss, ids[:, 1:]
    optimizer = module.make_optimizer()
    # as small as a step gets: the weights stay what they are, the arithmetic is that of training
    for group in optimizer.param_groups:
        group["lr"] = 0.0

    def step() -> None:
        context = contextlib.nullcontext() if low is None else torch.autocast(ids.device.type, low)
        with context:
            weight = loss.row_weight(target.flatten())
            nll = network.nll(ids, row_weight=None if weight is None else weight.view_as(target))
            value = loss(nll.flatten(), target.flatten())
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip or float("inf"))
        optimizer.step()
        optimizer.zero_grad()

    return step


def _table(rows: Sequence[dict[str, Any]], baseline: str) -> Table:
    table = Table(title=f"training speed, in turn in one process ({torch.get_num_threads()} threads)")
    for column in ("variant", "tokens/s", f"to {baseline}", "quartiles"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for row in rows:
        table.add_row(
            row["variant"],
            f"{row['tokens_per_second']:,.0f}",
            f"[bold]{row['to_baseline']:.2f}x[/bold]",
            f"{row['to_baseline_low']:.2f} to {row['to_baseline_high']:.2f}",
        )
    return table
