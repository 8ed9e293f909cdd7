"""Data sets of the Hugging Face hub."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from .corpus import WITHOUT, Corpus, CorpusError, MissingSplitError
from .files import split_of

_ALIASES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
_GO_ON = (
    "To go on: set LMZOO_DATA to a folder that holds the text; or go online once, so that the hub's library can"
    " download it, after which HF_HUB_OFFLINE=1 takes its copy without asking the hub; or use source: python-docs,"
    " which needs neither"
)
# Seconds to wait for the hub's first answer.
_PATIENCE = 10.0


class HubText(Corpus):
    """Any data set of the hub with a column of text; a row is a document, rows without text are none.

    The column is ``text``, or the only column of strings. Splits are those of the data set (``valid``, ``val`` and
    ``dev`` pass for ``validation``). A data set that has nothing but ``train`` is split by a hash of each row's text,
    about 90/5/5, so that equal rows stay together.

    Args:
        path: ``owner/name``.
        config: the data set's configuration, where it has several.
    """

    def __init__(self, path: str, config: str | None = None) -> None:
        self.path = path
        self.config = config
        self.name = f"hub:{path}" + (f":{config}" if config else "")

    def documents(self, split: str) -> Iterator[str]:
        found = next((name for name in _ALIASES[split] if name in self._splits), None)
        if set(self._splits) == {"train"}:
            yield from (text for text in _texts(self._splits["train"], self.name) if text and split_of(text) == split)
        elif found is not None:
            yield from (text for text in _texts(self._splits[found], self.name) if text)
        else:
            there = ", ".join(map(str, self._splits))
            raise MissingSplitError(f"{self.name} has no split {split}; it has {there}{WITHOUT.get(split, '')}")

    # there is no stamp: the hub's library has no public one of a data set

    @cached_property
    def _splits(self) -> Any:
        return load_from_hub(self.path, self.config)


def hub_rows(path: str, config: str, split: str) -> Iterator[str]:
    """The rows of one split as they are, empty ones included."""
    return _texts(load_from_hub(path, config, split), f"hub:{path}:{config}")


def load_from_hub(path: str, config: str | None, split: str | None = None) -> Any:
    """``datasets.load_dataset``; from its own cache, at once, when the hub does not answer.

    Raises:
        CorpusError: not in the cache and not to be had; says how to go on.
    """
    import datasets  # slow to import, and the default corpus does without

    silence = None if hub_offline() else hub_silence()
    try:
        with _quiet(datasets, offline=silence is not None):
            return datasets.load_dataset(path, config, split=split)
    except Exception as error:  # its kinds span three libraries; the cause stays chained and named
        name = path + (f" ({config})" if config else "")
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if silence:
            reason = f"{silence}, and its library's cache did not serve ({reason})"
        raise CorpusError(f"the hub's {name} could not be loaded: {reason}. {_GO_ON}") from error


def hub_offline() -> bool:
    """Whether the user has told the hub's libraries to do without the network (``HF_HUB_OFFLINE=1``)."""
    import datasets
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE or datasets.config.HF_HUB_OFFLINE)


def hub_silence() -> str | None:
    """Why the hub does not answer, or None if it does, asked once: the libraries themselves ask for half a minute."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception as error:  # the client's own kinds, which change between its versions
        return f"{constants.ENDPOINT} does not answer ({type(error).__name__}: {error})"
    return None


@contextlib.contextmanager
def _quiet(datasets: Any, *, offline: bool) -> Iterator[None]:
    """Without the hub's log lines about every request it tries again; ``offline`` keeps it from trying at all."""
    logger = logging.getLogger("huggingface_hub")
    level, was_offline = logger.level, datasets.config.HF_HUB_OFFLINE
    logger.setLevel(logging.ERROR)
    datasets.config.HF_HUB_OFFLINE = offline or was_offline
    try:
        yield
    finally:
        logger.setLevel(level)
        datasets.config.HF_HUB_OFFLINE = was_offline


def _texts(rows: Any, name: str) -> Iterator[str]:
    strings = [column for column, kind in rows.features.items() if getattr(kind, "dtype", None) in _STRING_KINDS]
    if "text" not in strings and len(strings) != 1:
        raise CorpusError(f"{name}: no column named text; its columns of strings are {', '.join(strings) or 'none'}")
    column = "text" if "text" in strings else strings[0]
    for text in rows[column]:
        yield text or ""


_STRING_KINDS = ("string", "large_string")
