"""``lmzoo analyze``: where runs lose, how varied they write, and how their codes part the vocabulary."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ....errors import ArgumentError, ConfigError, require
from ...arguments import ExampleFormatter, console, say
from ...figures.canvas import Plot
from ...figures.formats import NONE, plain
from ...runs.alike import FIELDS, likeness, together
from .plots import Lines, code_plot, decile_plots
from .run import Record, analyze_run
from .settings import AnalysisSettings

_DESCRIPTION = """Analyse runs by their exported weights, or their newest checkpoints if they are not finished.
Loss by decile: the plain cross-entropy of a split, by how frequent the target is in the training text, and once more
debiased where the loss shifts the logits (Power-Law Decay).
Continuations: the run goes on with prompts cut from the split, greedily and sampled at temperature 1; distinct-1, -2,
-3 (different n-grams / n-grams), seq-rep-4 (share of repeated 4-grams within a continuation) and the share of tokens
outside the 100 most frequent training types, beside the same figures of the text's own continuation.
Codes: how many token ids share each code of a vector-quantised head.
Writes analysis.jsonl (every number, with its passport) and continuations.jsonl (the texts) into each run's folder, and
plots, with several runs overlaid. Takes seconds to minutes.
Examples:
  lmzoo analyze runs/tiny/seed-0
  lmzoo analyze runs/decay/cross-entropy/seed-0 runs/decay/alpha-1/seed-0 --output decay-plots"""


def main(arguments: list[str]) -> int:
    """Parse, analyse each run, draw, say where."""
    parser = ArgumentParser(prog="lmzoo analyze", description=_DESCRIPTION, formatter_class=ExampleFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs; the first is what plots compare with")
    parser.add_argument("--split", type=str, default="test", help="text to score and continue: validation or test")
    parser.add_argument("--prompts", type=int, default=64, help="continuations; 0 leaves them out")
    parser.add_argument(
        "--prompt_tokens", type=int | None, default=None, help="32, or a quarter of the training length if that is less"
    )
    parser.add_argument(
        "--new_tokens",
        type=int | None,
        default=None,
        help="tokens of a continuation; 96, or what the training length leaves after the prompt if that is less",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the prompts' places and of sampling")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda; auto is a GPU if there is one")
    parser.add_argument(
        "--output", type=str | None, default=None, help="folder of the plots; 'analysis' in the folder that holds all"
    )
    parser.add_argument(
        "--allow_classes", action="store_true", help="allow class paths outside lmzoo, which runs the code they name"
    )
    a = parser.parse_args(arguments)
    settings = AnalysisSettings(a.split, a.prompts, a.prompt_tokens, a.new_tokens, a.seed)
    folder = analyze(a.runs, settings, output=a.output, device=a.device, allow_classes=a.allow_classes)
    say(f"plots written to {folder}, figures to analysis.jsonl in each run's folder")
    return 0


def analyze(
    runs: Sequence[str | Path],
    settings: AnalysisSettings | None = None,
    *,
    output: str | Path | None = None,
    device: str = "auto",
    allow_classes: bool = False,
) -> Path:
    """Analyse runs, show their figures, and draw them together; returns the folder of the plots.

    Raises:
        ConfigError: see :func:`analyze_run`; a run is given twice.
        ArgumentError: a number or a name is out of range; there is no such device.
    """
    settings = settings or AnalysisSettings()
    folders = [Path(run) for run in runs]
    device = _device(device)
    require(bool(folders), "runs", "at least one folder of a run", runs)
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise ConfigError("a run is given twice", key="runs")
    for folder in folders:
        if not (folder / "config.yaml").is_file():
            raise ConfigError(f"expected the folder of a run, with a config.yaml in it, got {folder}", key="runs")
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    records: dict[str, list[Record]] = {}
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        for name, folder in zip(_names(resolved), folders, strict=True):
            records[name] = analyze_run(folder, settings, progress, device=device, allow_classes=allow_classes)
    _show(records)
    target = Path(output) if output is not None else Path(os.path.commonpath(resolved)) / "analysis"
    _write(target, _plots(records))
    return target


def _device(name: str) -> str:
    require(name in ("auto", "cpu", "cuda"), "device", "auto, cpu or cuda", name)
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ArgumentError("device", "auto or cpu: this machine has no GPU that torch can use", name)
    return "cuda" if there and name != "cpu" else "cpu"


def _names(folders: Sequence[Path]) -> list[str]:
    """What tells the folders apart: each path without what all have in common; a single folder's own name."""
    if len(folders) == 1:
        return [folders[0].name]
    common = Path(os.path.commonpath(folders))
    return [str(folder.relative_to(common)) for folder in folders]


def _of_kind(records: dict[str, list[Record]], kind: str, **fields: str) -> Lines:
    found = {
        name: [r for r in own if r["kind"] == kind and all(r[key] == value for key, value in fields.items())]
        for name, own in records.items()
    }
    return {name: own for name, own in found.items() if own}


def _comparable(records: dict[str, list[Record]], **fields: str) -> Iterator[tuple[str, Lines]]:
    """The losses by decile that share axes and tables, with what a title says of them; one record a line."""
    own = [(name, record) for name, of in _of_kind(records, "deciles", **fields).items() for record in of]
    sets = together(own, [tuple(likeness(r, FIELDS["deciles side by side"]).values()) for _, r in own])
    for place, alike in enumerate(sets, start=1):
        several = f" ({place} of {len(sets)}: runs of one text, tokenizer and length)"
        lines = {name if r["logits"] == "plain" else f"{name}, {r['logits']}": [r] for name, r in alike}
        yield several if len(sets) > 1 else "", lines


def _plots(records: dict[str, list[Record]]) -> list[Plot]:
    """The loss of runs that can be compared, overlaid, and the sizes of their codes."""
    plots: list[Plot] = []
    found = list(_comparable(records, logits="plain"))
    for i, (title, lines) in enumerate(found):
        plots += decile_plots(lines, next(iter(lines)), suffix=f"-{i + 1}" if len(found) > 1 else "", of=title)
    codes = _of_kind(records, "codes")
    return [*plots, code_plot(codes)] if codes else plots


def _show(records: dict[str, list[Record]]) -> None:
    """One row a bucket and a column a run; runs of unlike texts or tokenizers have buckets of their own."""
    for title, lines in _comparable(records):
        table = Table(title=f"Cross-entropy, nats a token{title}", title_justify="left")
        first = next(iter(lines.values()))[0]
        for column in ("decile of training frequency", "token ids", "tokens scored", *lines):
            table.add_column(column, justify="right")
        for i, bucket in enumerate(first["buckets"]):
            own = [_figure(line[0]["buckets"][i]["cross_entropy"], 3) for line in lines.values()]
            table.add_row(bucket["bucket"], f"{bucket['types']:,}", f"{bucket['tokens']:,}", *own)
        table.add_row("all", "", f"{first['tokens']:,}", *(_figure(x[0]["cross_entropy"], 4) for x in lines.values()))
        console.print(table)
    table = Table(title="Continuations, by token", title_justify="left")
    for column in ("run", "source", "distinct-1", "-2", "-3", "seq-rep-4", "rare share"):
        table.add_column(column, justify="left" if column in ("run", "source") else "right", overflow="fold")
    for name, own_records in _of_kind(records, "continuations").items():
        for r in own_records:
            keys = ("distinct_1", "distinct_2", "distinct_3", "seq_rep_4", "rare_share")
            table.add_row(name, r["source"], *(_figure(r[key], 3) for key in keys))
    if table.row_count:
        console.print(table)


def _figure(value: float | None, digits: int) -> str:
    return NONE if value is None else plain(value, digits)


def _write(folder: Path, plots: Sequence[Plot]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        plot.write(folder)
