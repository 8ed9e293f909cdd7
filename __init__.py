"""lmzoo: a zoo of interchangeable language-model parts, and the fair comparison of them.

Import the parts from where they live: ``lmzoo.layers``, ``lmzoo.models``, ``lmzoo.tokenization``, ``lmzoo.train``.
Importing ``lmzoo`` itself loads nothing heavy.
"""

from ._version import __version__

__all__ = ["__version__"]
