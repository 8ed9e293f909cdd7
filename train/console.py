"""Where messages to the user go."""

from __future__ import annotations

from lightning.fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console

console = Console(highlight=False)


@rank_zero_only
def say(message: str) -> None:
    """Tell the user what is going on, once however many processes there are."""
    console.print(message, soft_wrap=True, markup=False)
