"""Byte-level tokenizers with number schemes: trained here, loaded by any ``AutoTokenizer``."""

from .bpe import END_OF_TEXT, train_tokenizer
from .fingerprint import tokenizer_sha256
from .schemes import NUMBER_SCHEMES
from .segment import segment_number
from .structure import TriadStructure, triad_structure

__all__ = [
    "END_OF_TEXT",
    "NUMBER_SCHEMES",
    "TriadStructure",
    "segment_number",
    "tokenizer_sha256",
    "train_tokenizer",
    "triad_structure",
]
