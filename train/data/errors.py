"""The errors of a corpus that is not there or not usable."""

from __future__ import annotations

from ..config import ConfigError


class CorpusError(ConfigError):
    """A text, or a split of it, is missing, unreadable or too short; the message says what to do about it."""


class MissingSplitError(CorpusError):
    """The corpus has no text for this split, or none that can be reached."""
