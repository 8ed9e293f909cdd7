"""The arguments of a decoder as a Hugging Face configuration."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from transformers import PreTrainedConfig

from .decoder import Decoder

_ARGUMENTS = (
    "vocab_size",
    "d_model",
    "n_layers",
    "n_heads",
    "attention",
    "feed_forward",
    "head",
    "norm",
    "position",
    "dropout",
    "init_std",
)


class LMZooConfig(PreTrainedConfig):
    """The arguments of a :class:`Decoder`, its parts as descriptions with ``class_path`` and ``init_args``.

    A part that is None is the decoder's default when the model is built. ``train_length`` is the context in tokens
    that the model was trained on, where that is known.
    """

    model_type = "lmzoo"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "initializer_range": "init_std",
        # what others call the length that a model is made for, such as the harness of lm-eval, which cuts its text so
        "max_position_embeddings": "train_length",
    }

    vocab_size: int = 256
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    attention: dict[str, Any] | None = None
    feed_forward: dict[str, Any] | None = None
    head: dict[str, Any] | None = None
    norm: dict[str, Any] | None = None
    position: dict[str, Any] | None = None
    dropout: float = 0.0
    init_std: float = 0.02
    train_length: int | None = None
    tie_word_embeddings: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    @classmethod
    def from_decoder(cls, decoder: Decoder, **more: Any) -> Self:
        """The configuration of a decoder; ``more`` are Hugging Face's own keys, such as ``eos_token_id``."""
        return cls(**decoder.config, **more)

    def decoder_arguments(self) -> dict[str, Any]:
        """What :meth:`Decoder.from_config` takes."""
        return {name: getattr(self, name) for name in _ARGUMENTS if getattr(self, name) is not None}
