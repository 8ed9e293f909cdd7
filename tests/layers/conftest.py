from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lmzoo.layers.testing import slot_of, try_promise
from torch import nn


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def status() -> Callable[..., tuple[str, str]]:
    """``status(part, promise, **arguments)``: whether a promise of the part's slot is kept, and what was seen."""

    def of(part: type[nn.Module], promise: str, **arguments: Any) -> tuple[str, str]:
        slot = slot_of(part)
        outcome = try_promise(slot.promises[promise], slot.candidate(part, arguments))
        return outcome.status, outcome.seen

    return of
