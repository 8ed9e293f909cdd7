"""``lmzoo numbers``: how well a run calculates, and its loss on numbers apart from the rest of a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import ArgumentParser
from rich.progress import Progress
from rich.table import Table

from ....errors import ConfigError
from ....tokenization import tokenizer_sha256
from ....tokenization.arithmetic_problems import GENERATOR_VERSION, MOST_DIGITS, ArithmeticProblems
from ...arguments import ExampleFormatter, console, say
from ...data import TextDataModule
from ...fit.lightning_cli import TrainingCLI
from ...fit.records import model_passport
from ...runs.evaluation_files import NUMBERS_FILE, write_probe
from ...storage import Record
from ..subject import open_run
from .answers import are_right, probe_problems, problems_sha256, strata_records
from .loss import number_loss, number_tokens
from .settings import NumbersSettings

_DESCRIPTION = """Probe what runs have learned of numbers. Arithmetic: exact match of greedy answers to problems that no
training split holds, by operation, length of the operands and kind (does it carry, is the answer longer), also at
lengths beyond those of training, with Wilson's 95 % intervals. Text: bits per byte on words with a digit, and on the
rest. Every figure goes to RUN/numbers.jsonl with its passport.
Example:
  lmzoo numbers runs/numbers/*/seed-0 --problems 200"""


def main(arguments: list[str]) -> int:
    """Parse, probe every run, show what came out."""
    parser = ArgumentParser(prog="lmzoo numbers", description=_DESCRIPTION, formatter_class=ExampleFormatter)
    parser.add_argument("runs", type=str, nargs="+", help="folders of runs")
    parser.add_class_arguments(NumbersSettings, None)
    parser.add_argument(
        "--allow_classes", action="store_true", help="allow class paths outside lmzoo, which runs the code they name"
    )
    a = parser.parse_args(arguments)
    settings = NumbersSettings(**{name: a[name] for name in NumbersSettings.__dataclass_fields__})
    for run in a.runs:
        records = probe(run, settings, allow_classes=a.allow_classes)
        _show(run, records)
        say(f"written to {Path(run) / NUMBERS_FILE}")
    return 0


def probe(run: str | Path, settings: NumbersSettings, *, allow_classes: bool = False) -> list[Record]:
    """Probe one run on the CPU in float32; its records, which are also written to ``RUN/numbers.jsonl``.

    Raises:
        ConfigError: the folder holds no run, or the text does not have the split.
        ArgumentError: the text is unknown, or the run's tokenizer cannot serve.
    """
    cli, weights = open_run(run, allow_classes=allow_classes)
    card = {
        "tokenizer_sha256": tokenizer_sha256(cli.datamodule.tokenizer),
        **model_passport(cli),
        "weights": weights,
        "probe": settings.as_passport(),
    }
    records = [
        _text_record(cli, settings, card),
        *(_arithmetic_records(cli, settings, card) if settings.problems else []),
    ]
    write_probe(Path(run), records)
    return records


def _arithmetic_records(cli: TrainingCLI, settings: NumbersSettings, card: Record) -> list[Record]:
    data = cli.datamodule
    trained = isinstance(data.source, str) and data.source.split("+")[0] == "arithmetic"
    train_digits = data.arithmetic.train_digits if trained else None
    longest = min(settings.digits or (data.arithmetic.train_digits + 2), MOST_DIGITS)
    problems = probe_problems(ArithmeticProblems(settings.seed), longest, settings.problems)
    with _progress(f"{cli.run.folder}: arithmetic", len(problems)) as advance:
        right = are_right(cli.model.network, data.tokenizer, problems, batch_size=settings.batch_size, advance=advance)
    card = {
        **card,
        "generator": GENERATOR_VERSION,
        "problems_sha256": problems_sha256(problems),
        "train_digits": train_digits,
        "train_problems": data.arithmetic.train_problems if trained else None,
        "interval": "Wilson, 95 %",
        "decoding": "greedy",
    }
    return [record | {"passport": card} for record in strata_records(problems, right, train_digits)]


def _text_record(cli: TrainingCLI, settings: NumbersSettings, card: Record) -> Record:
    data = _text(cli, settings)
    if settings.split not in data.splits:
        raise ConfigError(f"{data.corpus.name} has {', '.join(data.splits)} text, got {settings.split!r}", key="split")
    prepared = data.prepared(settings.split)
    numbers = number_tokens(data.corpus.documents(settings.split), data.tokenizer)
    T = data.eval_context_length
    with _progress(f"{cli.run.folder}: {data.corpus.name}", -(-(prepared.length - 1) // T)) as advance:
        figures = number_loss(
            cli.model.network,
            prepared,
            numbers,
            context_length=T,
            batch_size=settings.batch_size,
            advance=advance,
        )
    record = {"probe": "text_loss", "split": settings.split, "protocol": "non_overlapping", "length": T, **figures}
    return record | {"passport": {**data.passport(settings.split), **card}}


def _text(cli: TrainingCLI, settings: NumbersSettings) -> TextDataModule:
    own: TextDataModule = cli.datamodule
    if settings.text is None:
        return own
    data = TextDataModule(
        settings.text,
        detokenize=settings.detokenize,
        context_length=own.eval_context_length,
        vocab_size=len(own.tokenizer),
        cache_dir=str(own.cache),
    )
    data.use_tokenizer(own.tokenizer)
    return data


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda n: progress.advance(task, n)


def _show(run: str, records: list[Record]) -> None:
    """Exact match by operation and length, over all kinds."""
    text = next(record for record in records if record["probe"] == "text_loss")
    figures = [f"{name} {text[f'{key}_bits_per_byte']:.4f}" for name, key in (("numbers", "number"), ("rest", "rest"))]
    say(f"{run}: bits per byte on {text['passport']['corpus']}, {text['split']}: {', '.join(figures)}")
    strata = [record for record in records if record["probe"] == "exact_match"]
    if not strata:
        return
    lengths = sorted({record["digits"] for record in strata})
    table = Table(title="exact match in %, by digits of the operands (* longer than in training)")
    table.add_column("operation")
    beyond = {record["digits"] for record in strata if record["trained_length"] is False}
    for digits in lengths:
        table.add_column(f"{digits}{'*' if digits in beyond else ''}", justify="right")
    for operation in dict.fromkeys(record["operation"] for record in strata):
        cells = []
        for digits in lengths:
            own = [r for r in strata if r["operation"] == operation and r["digits"] == digits]
            asked = sum(r["problems"] for r in own)
            cells.append(f"{100 * sum(r['right'] for r in own) / asked:.1f}" if asked else "–")
        table.add_row(operation, *cells)
    console.print(table)
