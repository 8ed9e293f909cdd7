"""What the papers claim, and what our comparisons say of it."""

from .outcome import Outcome
from .verdicts import verdicts

__all__ = ["Outcome", "verdicts"]
