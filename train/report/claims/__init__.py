"""What the papers claim, and what our comparisons say of it."""

from .verdicts import Outcome, verdicts

__all__ = ["Outcome", "verdicts"]
