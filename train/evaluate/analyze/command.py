"""``lmzoo analyze``: where runs lose, how varied they write, and how their codes part the vocabulary."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ....errors import ArgumentError, ConfigError, require
from ...arguments import say
from ...figures.canvas import Plot
from ...figures.formats import NONE, plain
from ...runs.alike import FIELDS, likeness, together
from ...storage import Record
from ..frame import parser_of, show_table
from .plots import Lines, code_plot, decile_plots
from .run import AnalysisSettings, analyze_run

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
    parser = parser_of("analyze", _DESCRIPTION, AnalysisSettings)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs; the first is what plots compare with")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda; auto is a GPU if there is one")
    parser.add_argument(
        "--output", type=str | None, default=None, help="folder of the plots; 'analysis' in the folder that holds all"
    )
    a = parser.parse_args(arguments)
    settings = AnalysisSettings.of(a)
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
    records = {
        name: analyze_run(folder, settings, device=device, allow_classes=allow_classes)
        for name, folder in zip(_names(resolved), folders, strict=True)
    }
    _show(records)
    target = Path(output) if output is not None else Path(os.path.commonpath(resolved)) / "analysis"
    target.mkdir(parents=True, exist_ok=True)
    for plot in _plots(records):
        plot.write(target)
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
        runs = [line[0] for line in lines.values()]
        rows = [
            (
                bucket["bucket"],
                f"{bucket['types']:,}",
                f"{bucket['tokens']:,}",
                *(_figure(run["buckets"][i]["cross_entropy"], 3) for run in runs),
            )
            for i, bucket in enumerate(runs[0]["buckets"])
        ]
        rows.append(("all", "", f"{runs[0]['tokens']:,}", *(_figure(run["cross_entropy"], 4) for run in runs)))
        columns = ("decile of training frequency", "token ids", "tokens scored", *lines)
        show_table(f"Cross-entropy, nats a token{title}", columns, rows, left=0)
    keys = ("distinct_1", "distinct_2", "distinct_3", "seq_rep_4", "rare_share")
    written = [
        (name, record["source"], *(_figure(record[key], 3) for key in keys))
        for name, of_run in _of_kind(records, "continuations").items()
        for record in of_run
    ]
    if written:
        columns = ("run", "source", "distinct-1", "-2", "-3", "seq-rep-4", "rare share")
        show_table("Continuations, by token", columns, written, left=2)


def _figure(value: float | None, digits: int) -> str:
    return NONE if value is None else plain(value, digits)
