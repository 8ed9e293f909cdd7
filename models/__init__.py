"""The decoder that assembles parts, its Hugging Face form, and parts in models of others.

Importing registers the form with the Auto classes, and softplus attention with transformers' attention interface.
"""

from .counting import Counts, count, count_built
from .decoder import Decoder
from .huggingface import LMZooConfig, LMZooForCausalLM
from .number_embedding import NUMBER_EMBEDDINGS, structured_start
from .parts import build, describe
from .replace.attention_interface import ATTENTION_IMPLEMENTATIONS
from .replace.replace_attention import replace_attention
from .replace.replacement import ReplacedLayer, Replacement
from .sampling import sample_tokens

__all__ = [
    "ATTENTION_IMPLEMENTATIONS",
    "NUMBER_EMBEDDINGS",
    "Counts",
    "Decoder",
    "LMZooConfig",
    "LMZooForCausalLM",
    "ReplacedLayer",
    "Replacement",
    "build",
    "count",
    "count_built",
    "describe",
    "replace_attention",
    "sample_tokens",
    "structured_start",
]
