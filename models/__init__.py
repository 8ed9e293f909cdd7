"""The decoder that assembles parts, and its Hugging Face form, which importing registers with the Auto classes."""

from .counting import Counts, count, count_built
from .decoder import Decoder
from .huggingface import LMZooForCausalLM
from .huggingface_config import LMZooConfig
from .number_embedding import NUMBER_EMBEDDINGS, structured_start
from .parts import build, describe
from .sampling import sample_tokens

__all__ = [
    "NUMBER_EMBEDDINGS",
    "Counts",
    "Decoder",
    "LMZooConfig",
    "LMZooForCausalLM",
    "build",
    "count",
    "count_built",
    "describe",
    "sample_tokens",
    "structured_start",
]
