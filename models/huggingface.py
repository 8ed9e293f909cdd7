"""The decoder as a Hugging Face causal language model: its configuration, saving, loading and ``generate()``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Cache,
    DynamicCache,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedConfig,
    PreTrainedModel,
    StaticCache,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from ..errors import require
from ..layers.common.part import Part, defines
from ..layers.loss.loss import mean
from .decoder import Block, Decoder

_IGNORED_LABEL = -100

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


class LMZooForCausalLM(PreTrainedModel, GenerationMixin):
    """A :class:`Decoder` with Hugging Face's interface.

    ``from_pretrained`` builds parts of ``lmzoo.layers`` only; a model with other parts is refused unless
    ``trust_remote_code=True``, because importing a class runs its code. Weights come from safetensors files only, since
    other formats are unpickled.

    Gradient checkpointing recomputes a block at a time; with a cache nothing is recomputed.
    ``resize_token_embeddings`` serves linear heads; the other ones say why they cannot.

    Attention is a part of the decoder, so ``attn_implementation`` has nothing to choose: "eager" and "sdpa", which
    others pass unasked, change nothing, and any other one is refused.

    Not supported: static caches and other 4-D masks, attention maps (the kernels never hold them).

    Args:
        config: the arguments of the decoder.
        decoder: a decoder to wrap, instead of a new one.
        allow_foreign: import parts from outside lmzoo when the configuration names them.
    """

    config_class = LMZooConfig
    base_model_prefix = "decoder"
    main_input_name = "input_ids"
    # tables that follow from others, which heads of an earlier version saved too
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [
        r"^decoder\.head\.codes\.(order|offsets|mass)$",
        r"^decoder\.head\.order$",
    ]
    _no_split_modules: ClassVar[list[str]] = ["Block"]
    _supports_sdpa = True
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = True

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
    def from_pretrained(
        cls,
        path: Any,
        *model_args: Any,
        trust_remote_code: bool | None = None,
        use_safetensors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As Hugging Face's, but a weight that the files lack or hold in excess is an error; foreign parts need trust.

        Raises:
            ArgumentError: a class from outside lmzoo is named and not trusted, weights are missing or too many, or
                there are none but pickled ones.
        """
        _refuse_pickles(path, kwargs.get("subfolder") or "", use_safetensors)
        wants_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(
            path,
            *model_args,
            allow_foreign=bool(trust_remote_code),
            output_loading_info=True,
            use_safetensors=True,
            **kwargs,
        )
        missing = sorted(info["missing_keys"])
        require(not missing, "path", "files with every weight of the model", f"none for {missing}")
        excess = sorted(info["unexpected_keys"])
        require(not excess, "path", "files with the weights of the model alone", excess)
        for module in model.modules():
            # the model was built without memory, and buffers that are not in the files were left unfilled
            if defines(module, Part.derive_tables):
                module.derive_tables()
        return (model, info) if wants_info else model

    def get_correct_attn_implementation(self, requested_attention: str | None, is_init_check: bool = False) -> str:
        """Refuse what would silently have no effect.

        Raises:
            ArgumentError: an implementation beside those that stand for the usual softmax attention.
        """
        expected = (
            "none: attention is a part of this model, chosen when it is built, as by attention='SoftplusAttention'"
        )
        usual = requested_attention in (None, "eager", "sdpa")
        require(usual, "attn_implementation", expected, requested_attention)
        chosen: str = super().get_correct_attn_implementation(requested_attention, is_init_check)
        return chosen

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: int | Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Logits (B, T, V), and the loss where ``labels`` (B, T) are given.

        Args:
            input_ids: (B, T).
            attention_mask: (B, Tk), 1 = real token, over cached and new tokens.
            past_key_values: a cache, extended in place; ``use_cache`` starts one.
            inputs_embeds: (B, T, d), embedded tokens in place of ``input_ids``.
            labels: as ``input_ids``, shifted inside; -100 is left out. The loss does not need logits: with
                ``logits_to_keep=1`` there never are (B, T, V).
            use_cache: return a cache; off by default.
            logits_to_keep: only the last so many positions get logits, or those of the index given; 0 is all.
            num_items_in_batch: what the sum over labels is divided by, as :class:`transformers.Trainer` has it where
                gradients of several calls are added up; None is the number of labels here.
            output_hidden_states: also give what each block reads, and the normalised states that the head reads.
            output_attentions: must not be true.
            return_dict: False gives a tuple.

        Raises:
            ArgumentError: not just one of ``input_ids`` and ``inputs_embeds`` is given, attention maps are wanted, or
                the cache is static.
        """
        wants_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        wants_maps = self.config.output_attentions if output_attentions is None else output_attentions
        require(not wants_maps, "output_attentions", "false: the kernels never hold attention maps", wants_maps)
        given = [name for name, x in (("input_ids", input_ids), ("inputs_embeds", inputs_embeds)) if x is not None]
        require(len(given) == 1, "input_ids", "either input_ids or inputs_embeds", given)
        growing = "a cache that grows, such as DynamicCache"
        require(not isinstance(past_key_values, StaticCache), "past_key_values", growing, "static")
        x = self.decoder.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if past_key_values is None and use_cache:
            past_key_values = DynamicCache()
        mask = None if attention_mask is None else attention_mask.bool()
        # Fused kernels are faster without a mask, and generate() always passes one.
        if mask is not None and bool(mask.all()):
            mask = None
        states: list[Tensor] | None = [] if wants_states else None
        hidden = self.decoder.contextualise(x, mask, past_key_values, states)
        # -0 is 0, so that nothing given keeps every position.
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        output = CausalLMOutputWithPast(
            loss=None if labels is None else self._loss(hidden, labels, num_items_in_batch),
            logits=self.decoder.head(hidden[:, kept]),
            past_key_values=past_key_values,
            hidden_states=None if states is None else (*states, hidden),
        )
        as_mapping = self.config.return_dict if return_dict is None else return_dict
        return output if as_mapping else output.to_tuple()

    def generate(
        self, inputs: Tensor | None = None, *arguments: Any, logits_processor: Any = None, **kwargs: Any
    ) -> Any:
        """As Hugging Face's; greedy decoding takes the most frequent of equally likely tokens, where the head knows it.

        A head that has :attr:`lmzoo.layers.Head.tie_counts` knows. Sampling and beams are left as they are.
        """
        counts = getattr(self.decoder.head, "tie_counts", None)  # a head of others may lack it
        chosen = arguments[0] if arguments else kwargs.get("generation_config")
        settings = {"do_sample": False, "num_beams": 1}
        given = [kwargs.get(k, getattr(chosen or self.generation_config, k, None)) for k in settings]
        greedy = all((value or default) == default for value, default in zip(given, settings.values()))
        if counts is not None and greedy:
            logits_processor = LogitsProcessorList([*(logits_processor or []), BreakTies(counts)])
        return super().generate(inputs, *arguments, logits_processor=logits_processor, **kwargs)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, inputs_embeds: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """As Hugging Face's, without what its older versions add for models that have no use for it."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(input_ids, inputs_embeds=inputs_embeds, **kwargs)
        inputs.pop("cache_position", None)
        return inputs

    def get_input_embeddings(self) -> Any:
        """The token embedding."""
        return self.decoder.embedding

    def set_input_embeddings(self, value: Any) -> None:
        """Another token embedding, of a head that shares it too."""
        self.decoder.embedding = value
        if self.decoder.head.tied:
            self.decoder.head.tie(value.weight)

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> Any:
        """Change the vocabulary in place, see :meth:`Decoder.resize`; returns the token embedding.

        Args:
            new_num_tokens: the new V; None keeps it.
            pad_to_multiple_of: round V up to a multiple.
            mean_resizing: new rows are the mean of the old ones (exactly, where Hugging Face adds a little noise), else
                Normal(0, ``init_std``).

        Raises:
            ArgumentError: the head cannot be resized.
        """
        size = self.config.vocab_size if new_num_tokens is None else new_num_tokens
        multiple = pad_to_multiple_of or 1
        self.decoder.resize(-(-size // multiple) * multiple, std=None if mean_resizing else self.config.init_std)
        self.config.vocab_size = self.vocab_size = self.decoder.vocab_size
        self.tie_weights()
        return self.get_input_embeddings()

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether some block is recomputed in the backward pass."""
        return any(block.recompute is not None for block in self._blocks())

    def _set_gradient_checkpointing(
        self, enable: bool = True, gradient_checkpointing_func: Any = checkpoint, every_n_layers: int = 1
    ) -> None:
        for i, block in enumerate(self._blocks()):
            block.recompute = gradient_checkpointing_func if enable and i % every_n_layers == 0 else None

    def _blocks(self) -> list[Block]:
        return [block for block in self.decoder.blocks if isinstance(block, Block)]

    def _loss(self, hidden: Tensor, labels: Tensor, num_items_in_batch: int | Tensor | None) -> Tensor:
        """Mean nll of wanted labels, 0 where there are none; only their rows are computed."""
        wanted = labels[:, 1:] != _IGNORED_LABEL
        nll = self.decoder.head.nll(hidden[:, :-1][wanted], labels[:, 1:][wanted])
        if num_items_in_batch is None or nll.numel() == 0:
            return mean(nll)
        return nll.sum() / num_items_in_batch

    def _adjust_bias(self, *_: Any) -> None:
        """Nothing to pad after tying: the vocabulary has one size."""

    def _init_weights(self, module: Any) -> None:
        """The decoder has initialised itself."""


class BreakTies(LogitsProcessor):
    """Among tokens of equal, highest logit lets the one with the highest count win, then the lowest id.

    The other tied ones are lowered by the smallest step that floating point knows, everything else stays as it is.
    Decoding takes the first of equal logits, so without this a codebook head, whose tokens share logits, would always
    generate the token of the lowest id.

    Args:
        counts: (V,) integers, how often each token is a label in the training data.
    """

    def __init__(self, counts: Tensor) -> None:
        self.counts = counts

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) with a single highest entry a row."""
        tied = scores == scores.amax(-1, keepdim=True)
        counts = self.counts.to(scores.device)
        chosen = torch.where(tied, counts, -1).argmax(-1, keepdim=True)
        others = tied.scatter(-1, chosen, False)
        return torch.where(others, torch.nextafter(scores, scores.new_tensor(-torch.inf)), scores)


def _refuse_pickles(path: Any, subfolder: str, use_safetensors: bool | None) -> None:
    expected = "true or None: the other formats are unpickled, which is never done"
    require(use_safetensors is not False, "use_safetensors", expected, use_safetensors)
    if path is None or not Path(path).is_dir():
        return
    folder = Path(path) / subfolder
    names = sorted(file.name for file in folder.glob("*") if file.suffix in (".safetensors", ".bin", ".pt", ".pth"))
    expected = "a folder with model.safetensors; nothing is unpickled"
    require(any(name.endswith(".safetensors") for name in names), "path", expected, f"{folder} with {names}")


AutoConfig.register(LMZooConfig.model_type, LMZooConfig)
AutoModelForCausalLM.register(LMZooConfig, LMZooForCausalLM)
