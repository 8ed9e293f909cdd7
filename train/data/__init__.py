"""Text sources, tokenised splits and the order of samples."""

from .batch_samplers import SampleOrder
from .corpus import CorpusError
from .module import TextDataModule
from .sources import SOURCE_NAMES, load_source

__all__ = ["SOURCE_NAMES", "CorpusError", "SampleOrder", "TextDataModule", "load_source"]
