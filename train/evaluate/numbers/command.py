"""``lmzoo numbers``: how well a run calculates, and its loss on numbers apart from the rest of a text."""

from __future__ import annotations

from pathlib import Path

from ...arguments import say
from ...figures.formats import NONE
from ...runs.evaluation_files import NUMBERS_FILE
from ...storage import Record
from ..frame import parser_of, show_table
from .run import NumbersSettings, probe

_DESCRIPTION = """Probe what runs have learned of numbers. Arithmetic: exact match of greedy answers to problems that no
training split holds, by operation, length of the operands and kind (does it carry, is the answer longer), also at
lengths beyond those of training, with Wilson's 95 % intervals. Text: bits per byte on words with a digit, and on the
rest. Every figure goes to RUN/numbers.jsonl with its passport.
Example:
  lmzoo numbers runs/numbers/*/seed-0 --problems 200"""


def main(arguments: list[str]) -> int:
    """Parse, probe every run, show what came out."""
    parser = parser_of("numbers", _DESCRIPTION, NumbersSettings)
    parser.add_argument("runs", type=str, nargs="+", help="folders of runs")
    a = parser.parse_args(arguments)
    for run in a.runs:
        records = probe(run, NumbersSettings.of(a), allow_classes=a.allow_classes)
        _show(run, records)
        say(f"written to {Path(run) / NUMBERS_FILE}")
    return 0


def _show(run: str, records: list[Record]) -> None:
    """Exact match by operation and length, over all kinds."""
    text = next(record for record in records if record["probe"] == "text_loss")
    figures = [f"{name} {text[f'{key}_bits_per_byte']:.4f}" for name, key in (("numbers", "number"), ("rest", "rest"))]
    say(f"{run}: bits per byte on {text['passport']['corpus']}, {text['split']}: {', '.join(figures)}")
    strata = [record for record in records if record["probe"] == "exact_match"]
    if not strata:
        return
    by_place: dict[str, dict[int, list[Record]]] = {}
    for record in strata:
        by_place.setdefault(record["operation"], {}).setdefault(record["digits"], []).append(record)
    beyond = {record["digits"] for record in strata if record["trained_length"] is False}
    lengths = sorted({record["digits"] for record in strata})
    rows = [[operation, *(_share(of.get(n, [])) for n in lengths)] for operation, of in by_place.items()]
    columns = [f"{n}{'*' if n in beyond else ''}" for n in lengths]
    show_table("exact match in %, by digits of the operands (* longer than in training)", ["operation", *columns], rows)


def _share(records: list[Record]) -> str:
    problems = sum(record["problems"] for record in records)
    return f"{100 * sum(record['right'] for record in records) / problems:.1f}" if problems else NONE
