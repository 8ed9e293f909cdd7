"""The decoder that assembles parts."""

from .decoder import Decoder

__all__ = ["Decoder"]
