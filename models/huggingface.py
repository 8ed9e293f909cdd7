"""The decoder as a Hugging Face causal language model: saving, loading, ``generate()``."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Cache,
    DynamicCache,
    GenerationMixin,
    LogitsProcessorList,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from ..errors import ArgumentError, require
from .decoder import Decoder
from .ties import BreakTies

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
_IGNORED_LABEL = -100


class LMZooConfig(PreTrainedConfig):
    """The arguments of a :class:`Decoder`, its parts as descriptions with ``class_path`` and ``init_args``.

    A part that is None is the decoder's default when the model is built.
    """

    model_type = "lmzoo"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "initializer_range": "init_std",
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


class LMZooForCausalLM(PreTrainedModel, GenerationMixin):
    """A :class:`Decoder` with Hugging Face's interface.

    ``from_pretrained`` builds parts of ``lmzoo.layers`` only; a model with other parts is refused unless
    ``trust_remote_code=True``, because importing a class runs its code.

    Not supported: ``inputs_embeds``, static caches and other 4-D masks, attention maps, resizing the vocabulary.

    Args:
        config: the arguments of the decoder.
        decoder: a decoder to wrap, instead of a new one.
        allow_foreign: import parts from outside lmzoo when the configuration names them.
    """

    config_class = LMZooConfig
    base_model_prefix = "decoder"
    main_input_name = "input_ids"
    _no_split_modules: ClassVar[list[str]] = ["Block"]
    _supports_sdpa = True

    def __init__(self, config: LMZooConfig, *, decoder: Decoder | None = None, allow_foreign: bool = False) -> None:
        super().__init__(config)
        if decoder is None:
            decoder = Decoder.from_config(config.decoder_arguments(), allow_foreign=allow_foreign)
        self.decoder = decoder
        shared = [n for n, p in decoder.head.named_parameters() if p is decoder.embedding.weight]
        config.tie_word_embeddings = bool(shared)
        self._tied_weights_keys = {f"decoder.head.{name}": "decoder.embedding.weight" for name in shared}
        self.post_init()

    @classmethod
    def from_decoder(cls, decoder: Decoder, **more: Any) -> Self:
        """Wrap a decoder, sharing its weights; ``more`` are Hugging Face's keys, such as ``eos_token_id``."""
        return cls(LMZooConfig.from_decoder(decoder, **more), decoder=decoder)

    @classmethod
    def from_pretrained(cls, path: Any, *model_args: Any, trust_remote_code: bool | None = None, **kwargs: Any) -> Any:
        """As Hugging Face's, but a weight that the files lack or hold in excess is an error; foreign parts need trust.

        Raises:
            ArgumentError: a class from outside lmzoo is named and not trusted, or weights are missing or too many.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(
            path, *model_args, allow_foreign=bool(trust_remote_code), output_loading_info=True, **kwargs
        )
        missing = sorted(info["missing_keys"])
        require(not missing, "path", "files with every weight of the model", f"none for {missing}")
        # such as tables of a head that an earlier version wrote and this one would not read
        excess = sorted(info["unexpected_keys"])
        require(not excess, "path", "files with the weights of the model alone, written by this version", excess)
        for module in model.modules():
            # the model was built without memory, and buffers that are not in the files were left unfilled
            derive_tables = getattr(module, "derive_tables", None)
            if callable(derive_tables):
                derive_tables()
        return (model, info) if wants_info else model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
    ) -> Any:
        """Logits (B, T, V), and the mean loss where ``labels`` (B, T) are given.

        Args:
            input_ids: (B, T).
            attention_mask: (B, Tk), 1 = real token, over cached and new tokens.
            past_key_values: a cache, extended in place; ``use_cache`` starts one.
            labels: as ``input_ids``, shifted inside; -100 is left out of the mean.
            use_cache: return a cache; off by default.
            logits_to_keep: only the last so many positions get logits, or those of the index given; 0 is all.
            return_dict: False gives a tuple.
        """
        if past_key_values is None and use_cache:
            past_key_values = DynamicCache()
        mask = None if attention_mask is None else attention_mask.bool()
        # Fused kernels are faster without a mask, and generate() always passes one.
        if mask is not None and bool(mask.all()):
            mask = None
        hidden = self.decoder.hidden(input_ids, mask, past_key_values)
        loss = None
        if labels is not None:
            wanted = labels[:, 1:] != _IGNORED_LABEL
            loss = self.decoder.head.nll(hidden[:, :-1][wanted], labels[:, 1:][wanted]).mean()
        # -0 is 0, so that nothing given keeps every position.
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        output = CausalLMOutputWithPast(
            loss=loss, logits=self.decoder.head(hidden[:, kept]), past_key_values=past_key_values
        )
        return output if return_dict is None or return_dict else output.to_tuple()

    def generate(
        self, inputs: Tensor | None = None, *arguments: Any, logits_processor: Any = None, **kwargs: Any
    ) -> Any:
        """As Hugging Face's; greedy decoding takes the most frequent of equally likely tokens, where the head knows it.

        A head that gives ``tie_counts`` (V,) knows. Sampling and beams are left as they are.
        """
        counts = getattr(self.decoder.head, "tie_counts", None)
        chosen = arguments[0] if arguments else kwargs.get("generation_config")
        settings = {"do_sample": False, "num_beams": 1}
        given = [kwargs.get(k, getattr(chosen or self.generation_config, k, None)) for k in settings]
        greedy = all((value or default) == default for value, default in zip(given, settings.values()))
        if counts is not None and greedy:
            logits_processor = LogitsProcessorList([*(logits_processor or []), BreakTies(counts)])
        return super().generate(inputs, *arguments, logits_processor=logits_processor, **kwargs)

    def get_input_embeddings(self) -> Any:
        """The token embedding."""
        return self.decoder.embedding

    def resize_token_embeddings(self, *arguments: Any, **more: Any) -> Any:
        """Refused: a head may be more than a matrix of V rows."""
        raise ArgumentError("new_num_tokens", "the vocabulary that the model was built with", arguments or more)

    def _adjust_bias(self, *_: Any) -> None:
        """Nothing to pad after tying: the vocabulary has one size."""

    def _init_weights(self, module: Any) -> None:
        """The decoder has initialised itself."""


AutoConfig.register(LMZooConfig.model_type, LMZooConfig)
AutoModelForCausalLM.register(LMZooConfig, LMZooForCausalLM)
