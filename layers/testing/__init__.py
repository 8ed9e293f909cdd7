"""What every part promises, to be tried on parts of your own: by ``lmzoo check``, or by tests that inherit a contract.

A test file of your own repository imports :class:`AttentionContract` from here and inherits it, and pytest finds one
test for each promise::

    class TestMine(AttentionContract):
        part = MyAttention

Needs torch and nothing heavier.
"""

from .contracts import (
    AttentionContract,
    CompiledAttentionContract,
    FeedForwardContract,
    HeadContract,
    LossContract,
    PartContract,
    PositionContract,
)
from .promise import Candidate, Outcome, Promise, try_promise
from .slots import SLOTS, Slot, slot_of

__all__ = [
    "SLOTS",
    "AttentionContract",
    "Candidate",
    "CompiledAttentionContract",
    "FeedForwardContract",
    "HeadContract",
    "LossContract",
    "Outcome",
    "PartContract",
    "PositionContract",
    "Promise",
    "Slot",
    "slot_of",
    "try_promise",
]
