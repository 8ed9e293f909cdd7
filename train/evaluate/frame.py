"""What commands that evaluate models share: settings, options, a bar, a table, and whether a run's figures stand."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from jsonargparse import ArgumentParser
from rich import box
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ...errors import ArgumentError, require
from ..arguments import ExampleFormatter, add_shared, check_device, console
from ..config import Config, load_yaml
from ..data import CorpusError, load_source
from ..data.arithmetic import ArithmeticSettings
from ..data.cache import cache_root
from ..data.corpus import SPLITS, Corpus, text_facts
from ..data.sources import Withheld
from ..runs.evaluation_files import WEIGHTS_FILE, Origin, file_sha256, has_origin

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}

# of the ``data`` of a configuration: what says which text it is
_SPELLING = ("source", "raw", "detokenize", "arithmetic", "tuning_fraction", "cache_dir")


class KnownTexts:
    """Splits and hashes of texts, each found out once, since that can take long; texts must not change meanwhile.

    What is not to be had is remembered as well, as None.
    """

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def usual_split(self, data: Config) -> str | None:
        """:func:`usual_split` of a text, given as ``data`` of a configuration."""
        return self._once("usual split", data, usual_split)

    def sha256(self, data: Config, split: str) -> str | None:
        """The hash of a split's documents, as the text is now."""
        cache = cache_root(data.get("cache_dir"))
        return self._once(split, data, lambda corpus: text_facts(corpus, split, cache).text_sha256)

    def _once(self, what: str, data: Config, find: Callable[[Corpus], str]) -> str | None:
        key = json.dumps([what, [data.get(name) for name in _SPELLING]], default=str)
        if key not in self._known:
            try:
                self._known[key] = find(corpus_of(data))
            except (ArgumentError, CorpusError):
                self._known[key] = None
        return self._known[key]


Reads = Callable[[Config, KnownTexts], Mapping[str | None, Config]]
"""The texts that an evaluation reads, by split and as ``data`` of a configuration, given that of the run."""


class Settings(ABC):
    """What an evaluation is asked; its subclasses are dataclasses, and their fields options of its command.

    Attributes:
        command: of ``lmzoo``.
        version: raised by hand when the evaluation's code gives other figures, so that ``lmzoo compare`` makes those of
            its runs anew.
        steps: how many parts the answer has, for a progress bar.
    """

    command: ClassVar[str]
    version: ClassVar[int]
    steps: int = 1

    @abstractmethod
    def missing(self, run: Path, texts: KnownTexts | None = None) -> int:
        """How many parts of the answer a run's folder lacks, by :class:`Origin`; 0 when nothing is left to do.

        Args:
            run: its folder.
            texts: what is known of texts already, where several runs are asked for, or one again and again.
        """

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, and as a comparison file has it."""
        content: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}

    def as_words(self) -> list[str]:
        """The options of the command that ask for the same."""
        given = self.as_dict()
        return [word for key, value in given.items() if value is not None for word in (f"--{key}", str(value))]

    @classmethod
    def of(cls, options: Any) -> Self:
        """From the options that :func:`parser_of` gave a command."""
        return cls(**{field.name: options[field.name] for field in fields(cls)})  # type: ignore[arg-type]

    def standing(self, run: Path, reads: Reads | None, texts: KnownTexts | None) -> Callable[[Any], bool]:
        """Tells of the origin of figures whether they are those that an evaluation of the run would give now.

        A text is read when figures of the present version are first asked about, and not where there are none.

        Args:
            run: its folder.
            reads: the texts that the evaluation reads; None where it reads none.
            texts: what is known of them.
        """
        known = texts or KnownTexts()

        @cache
        def wanted() -> tuple[Origin, bool]:
            of_splits = reads(load_yaml(run / "config.yaml")["data"], known) if reads else {}
            hashes = {split: known.sha256(data, split) for split, data in of_splits.items() if split is not None}
            had = {split: text for split, text in hashes.items() if text is not None}
            weights = file_sha256(run / WEIGHTS_FILE)
            origin = Origin(version=self.version, weights_sha256=weights, text_sha256=had)
            return origin, bool(had) and len(had) == len(of_splits)

        def stands(recorded: Any) -> bool:
            if not isinstance(recorded, Mapping) or recorded.get("version") != self.version:
                return False
            origin, text_known = wanted()
            return has_origin(recorded, origin, text_known=text_known)

        return stands


def corpus_of(data: Mapping[str, Any]) -> Corpus:
    """The text of a run, from the ``data`` of its configuration; nothing is read yet.

    Raises:
        ArgumentError: there is no such text.
    """
    spelling = {key: bool(data.get(key)) for key in ("raw", "detokenize")}
    corpus = load_source(data["source"], arithmetic=ArithmeticSettings(**data.get("arithmetic") or {}), **spelling)
    withheld = data.get("tuning_fraction")
    return corpus if withheld is None else Withheld(corpus, withheld)


def usual_split(corpus: Corpus) -> str:
    """The test split, if there is one, else validation."""
    return next((name for name in ("test", "validation") if corpus.has(name)), "test")


def parser_of(name: str, description: str, settings: type[Settings] | None = None) -> ArgumentParser:
    """The parser of a command that evaluates: ``--allow_classes``, and an option for each field of ``settings``."""
    parser = ArgumentParser(prog=f"lmzoo {name}", description=description, formatter_class=ExampleFormatter)
    if settings is not None:
        parser.add_class_arguments(settings, None, as_group=False)
    add_shared(parser, "allow_classes")
    return parser


def add_subject_arguments(parser: ArgumentParser) -> None:
    """Give a command the options of text and machine."""
    parser.add_argument("--split", type=str | None, default=None, help="test, if there is one, else validation")
    parser.add_argument(
        "--source", type=str | None, default=None, help="text to read; a run's own, python-docs for other models"
    )
    parser.add_argument("--raw", action="store_true", help="with --source wikitext-...: the form without <unk>")
    parser.add_argument("--detokenize", action="store_true", help="with --source wikitext-...: undo its spacing")
    add_shared(parser, "device")
    parser.add_argument("--dtype", type=str, default="float32", help=f"precision: {', '.join(DTYPES)}")
    parser.add_argument("--no_figure", action="store_true", help="records only, without figures")


def check_subject_arguments(options: Any) -> None:
    """Raise :class:`ArgumentError` for a value that none of them takes."""
    check_device(options.device)
    require(options.dtype in DTYPES, "dtype", " or ".join(DTYPES), options.dtype)
    require(options.split is None or options.split in SPLITS, "split", " or ".join(SPLITS), options.split)


class Advance(Protocol):
    """Told of what is done."""

    def __call__(self, n: int = 0, what: str | None = None) -> None:
        """So many more parts are done; ``what`` is next, if it is another thing than before."""


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Advance]:
    """A bar on a terminal with the time that is left, nothing elsewhere; gone when it is done."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    times = (TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)

        def advance(n: int = 0, what: str | None = None) -> None:
            progress.update(task, advance=n, description=what)

        yield advance


def show_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, narrow: bool = False
) -> None:
    """Print a table; its first ``left`` columns hold words, the others numbers. A ``narrow`` one has a line at most."""
    style: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0)} if narrow else {}
    table = Table(title=title, title_justify="left", **style)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < left else "right", overflow="fold", no_wrap=narrow and i < left)
    for row in rows:
        table.add_row(*row)
    console.print(table)
