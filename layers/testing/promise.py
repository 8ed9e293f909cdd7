"""What a part promises: in words for people, and as a function that finds out."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import SkipTest

import torch
from torch import nn

Status = Literal["kept", "broken", "skipped"]


@dataclass(frozen=True)
class Candidate:
    """A class of parts with the arguments that it is tried with; calling it builds one.

    Args:
        part: the class.
        arguments: its constructor's, by name.
    """

    part: type[nn.Module]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, **more: Any) -> Any:
        """A fresh part; ``more`` outranks ``arguments``."""
        return self.part(**{**self.arguments, **more})

    def takes(self, name: str) -> bool:
        """Whether the constructor has an argument of this name."""
        return name in inspect.signature(self.part).parameters


@dataclass(frozen=True)
class Promise:
    """One thing that a part of a slot promises.

    Args:
        name: one word, by which it is asked for.
        text: the promise in plain words.
        means: what follows for a model whose part breaks it.
        advice: where the cause usually is, and what to do about it.
        check: raises AssertionError with a sentence and its figures where the promise is broken, and
            ``unittest.SkipTest``, which test runners know, where it does not concern the part.
    """

    name: str
    text: str
    means: str
    advice: str
    check: Callable[[Candidate], None]


@dataclass(frozen=True)
class Outcome:
    """What trying one promise found.

    Args:
        promise: the promise.
        status: kept, broken, or skipped where it does not concern the part.
        seconds: how long it took.
        seen: what was seen where it is broken, or why it was skipped.
        where: ``file:line`` in the part's own file at which an exception passed through it; None for none.
    """

    promise: Promise
    status: Status
    seconds: float
    seen: str = ""
    where: str | None = None


def hold(promise: Promise, candidate: Candidate) -> None:
    """Run one check under a seed of its own; whatever it raises comes through."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        promise.check(candidate)


def try_promise(promise: Promise, candidate: Candidate) -> Outcome:
    """Run one check and catch whatever it raises, so that one broken promise does not hide the others."""
    start = time.perf_counter()
    status: Status = "kept"
    seen, where = "", None
    try:
        hold(promise, candidate)
    except SkipTest as skip:
        status, seen = "skipped", str(skip)
    except AssertionError as error:
        status, seen, where = "broken", str(error), _place(error, candidate.part)
        seen = seen or "an assertion without a sentence"
    except Exception as error:
        text = " ".join(str(error).split())
        status, seen, where = "broken", f"it raised {type(error).__name__}: {text}", _place(error, candidate.part)
    return Outcome(promise, status, time.perf_counter() - start, seen, where)


def _place(error: BaseException, part: type) -> str | None:
    try:
        file = inspect.getsourcefile(part)
    except TypeError:  # a class that was typed in, or is built in
        return None
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if file is not None and frame.filename == file]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else None
