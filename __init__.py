"""lmzoo: a zoo of interchangeable language-model parts, and the fair comparison of them.

Import the parts from where they live: ``lmzoo.layers``, ``lmzoo.models``, ``lmzoo.tokenization``, ``lmzoo.train``.
Importing ``lmzoo`` itself loads nothing at all: test runners import this file under the name of the checkout's folder,
whatever that is, so it must not lean on its own name.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
