"""Text sources, tokenised splits and the order of samples."""

from .corpus import CorpusError
from .module import TextDataModule
from .sources import SOURCE_NAMES, load_source
from .windows import SampleOrder

__all__ = ["SOURCE_NAMES", "CorpusError", "SampleOrder", "TextDataModule", "load_source"]
