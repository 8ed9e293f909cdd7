"""What a run has learned of numbers: what is asked, the records, and whether they are there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from ....errors import ConfigError, require
from ....tokenization.arithmetic_problems import GENERATOR_VERSION, MOST_DIGITS, ArithmeticProblems
from ...data import CorpusError, TextDataModule
from ...data.corpus import SPLITS
from ...data.wikitext import WIKITEXT_NAMES
from ...runs.evaluation_files import NUMBERS_FILE, ORIGIN, read_probe
from ...storage import Record, write_records
from ..frame import KnownTexts, Settings, corpus_of, progress_bar
from ..loaded_run import LoadedRun, load_run
from .answers import are_right, probe_problems, problems_sha256, strata_records
from .loss import number_loss, number_tokens

VERSION = 1
"""Of the figures: raised by hand when the code gives others, so that comparisons make theirs anew."""


@dataclass(frozen=True)
class NumbersSettings(Settings):
    """What is asked.

    Args:
        problems: of each operation, length and kind; 0 leaves arithmetic out.
        digits: of the longest operands; two more than ``data.arithmetic.train_digits`` by default.
        text: source of the text whose loss is taken apart, as ``data.source``; the run's own text by default. WikiText
            is detokenised.
        split: of the text, validation or test.
        seed: of the problems.
        batch_size: problems answered, or windows scored, together.

    Raises:
        ArgumentError: a value is out of range.
    """

    command: ClassVar[str] = "numbers"
    version: ClassVar[int] = VERSION
    problems: int = 100
    digits: int | None = None
    text: str | None = None
    split: str = "test"
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        require(self.problems >= 0, "problems", "0 or more", self.problems)
        valid = self.digits is None or 1 <= self.digits <= MOST_DIGITS
        require(valid, "digits", f"null or from 1 to {MOST_DIGITS}", self.digits)
        require(self.split in SPLITS[1:], "split", " or ".join(SPLITS[1:]), self.split)
        require(self.seed >= 0, "seed", "0 or more", self.seed)
        require(self.batch_size >= 1, "batch_size", "1 or more", self.batch_size)

    @property
    def source(self) -> dict[str, Any]:
        """The named text as ``data`` has it, its spacing undone: number schemes need numbers as they are written."""
        return {"source": self.text, "detokenize": self.text in WIKITEXT_NAMES}

    def check_text(self) -> None:
        """Raise :class:`CorpusError` or :class:`ArgumentError` if the named text is not to be had."""
        if self.text is None:
            return
        corpus = corpus_of(self.source)
        if not corpus.has(self.split):
            raise CorpusError(f"{corpus.name} has no {self.split} text to take the loss on numbers from")

    def as_passport(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "batch_size"}

    def missing(self, run: Path, texts: KnownTexts | None = None) -> int:
        """1 unless the run's records are of these settings."""
        own = self.text is None
        stands = self.standing(
            run,
            lambda data, _: {self.split: data if own else {**self.source, "cache_dir": data.get("cache_dir")}},
            texts,
        )
        cards = [record["passport"] for record in read_probe(run)]
        done = all(card["probe"] == self.as_passport() and stands(card.get(ORIGIN)) for card in cards)
        return int(not (cards and done))


def probe(folder: str | Path, settings: NumbersSettings, *, allow_classes: bool = False) -> list[Record]:
    """Probe one run on the CPU in float32; its records, which are also written to ``RUN/numbers.jsonl``.

    Raises:
        ConfigError: the folder holds no run, or the text does not have the split.
        ArgumentError: the text is unknown, or the run's tokenizer cannot serve.
    """
    run = load_run(folder, allow_classes=allow_classes)
    card = {
        **run.passport(),
        "weights": run.weights,
        "probe": settings.as_passport(),
        ORIGIN: run.origin(VERSION, [settings.split], _text(run, settings)),
    }
    records = [
        _text_record(run, settings, card),
        *(_arithmetic_records(run, settings, card) if settings.problems else []),
    ]
    write_records(run.folder / NUMBERS_FILE, records)
    return records


def _arithmetic_records(run: LoadedRun, settings: NumbersSettings, card: Record) -> list[Record]:
    data = run.data
    trained = isinstance(data.source, str) and data.source.split("+")[0] == "arithmetic"
    train_digits = data.arithmetic.train_digits if trained else None
    longest = min(settings.digits or (data.arithmetic.train_digits + 2), MOST_DIGITS)
    problems = probe_problems(ArithmeticProblems(settings.seed), longest, settings.problems)
    with progress_bar(f"{run.folder}: arithmetic", len(problems)) as advance:
        right = are_right(run.network, data.tokenizer, problems, batch_size=settings.batch_size, advance=advance)
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


def _text_record(run: LoadedRun, settings: NumbersSettings, card: Record) -> Record:
    data = _text(run, settings)
    prepared = data.prepared(settings.split)
    numbers = number_tokens(data.corpus.documents(settings.split), data.tokenizer)
    T = data.eval_context_length
    with progress_bar(f"{run.folder}: {data.corpus.name}", -(-(prepared.length - 1) // T)) as advance:
        size = settings.batch_size
        figures = number_loss(run.network, prepared, numbers, context_length=T, batch_size=size, advance=advance)
    record = {"probe": "text_loss", "split": settings.split, "protocol": "non_overlapping", "length": T, **figures}
    return record | {"passport": {**data.passport(settings.split), **card}}


def _text(run: LoadedRun, settings: NumbersSettings) -> TextDataModule:
    """The text whose loss is taken apart, tokenised as the run's own. Raises ConfigError if it has no such split."""
    data, own = run.data, run.data
    if settings.text is not None:
        length, size = own.eval_context_length, len(own.tokenizer)
        data = TextDataModule(**settings.source, context_length=length, vocab_size=size, cache_dir=str(own.cache))
        data.use_tokenizer(own.tokenizer)
    if settings.split not in data.splits:
        raise ConfigError(f"{data.corpus.name} has {', '.join(data.splits)} text, got {settings.split!r}", key="split")
    return data
