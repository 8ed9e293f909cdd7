"""Text sources, tokenised splits and the order of samples."""

from .errors import CorpusError
from .module import TextDataModule
from .order import SampleOrder
from .sources import SOURCE_NAMES, load_source

__all__ = ["SOURCE_NAMES", "CorpusError", "SampleOrder", "TextDataModule", "load_source"]
