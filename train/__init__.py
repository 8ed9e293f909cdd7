"""Training, comparison and evaluation. Importing it loads nothing: what it exports comes at its first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluate.extrapolate import extrapolate

__all__ = ["extrapolate"]


def __getattr__(name: str) -> Any:
    if name == "extrapolate":
        from .evaluate.extrapolate import extrapolate

        return extrapolate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
