"""Starting from a trained model: its tokenizer, all of its body, and its head where that is the same."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ... import tokenization
from ...errors import ArgumentError, ConfigError, require
from ...models import Decoder, LMZooConfig, structured_start
from ...models.parts import describe
from ..config import Config, Places, flatten, load_yaml
from ..data.tokenizer_cache import load_tokenizer

_WEIGHTS = "model.safetensors"
_PREFIX = "decoder."
_HEAD = "head."
# Arguments of parts that say how they compute or train, not what their weights mean.
_HARMLESS = ("chunk_size", "power_warmup_steps")


@dataclass(frozen=True)
class Transfer:
    """Which tensors of a new model come from the old one; names as in the decoder's state dict.

    Args:
        loaded: copied.
        afresh: of the new model, starting from its seed.
        left_out: of the old model, without a place in the new one.
    """

    loaded: tuple[str, ...]
    afresh: tuple[str, ...]
    left_out: tuple[str, ...]


class InitialModel:
    """An exported model, such as a finished run's folder, that training starts from.

    Weights are read from ``model.safetensors`` only, never from a file that could run code. Nothing but the names and
    shapes of the tensors is read before :meth:`load`.

    Args:
        folder: holds ``model.safetensors``, ``config.json`` and the tokenizer.
        allow_foreign: import parts from outside lmzoo that its configuration names.

    Raises:
        ConfigError: the folder does not hold such a model.
    """

    def __init__(self, folder: str, *, allow_foreign: bool = False) -> None:
        self.folder = folder
        self._file = Path(folder) / _WEIGHTS
        try:
            with safe_open(self._file, "pt") as tensors:
                self._shapes = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
            model_type = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")).get("model_type")
            if model_type != LMZooConfig.model_type:
                raise ValueError(f"its model_type is {model_type}, not {LMZooConfig.model_type}")
            arguments = LMZooConfig.from_pretrained(folder).decoder_arguments()
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                self.decoder = Decoder.from_config(arguments, allow_foreign=allow_foreign)
            size = len(self.tokenizer)
        except (OSError, ValueError, SafetensorError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            expected = f"the folder of a finished run, with {_WEIGHTS}, config.json and the tokenizer"
            raise ConfigError(f"expected {expected}, got {folder} ({reason})", key="init_from") from None
        if size != self.decoder.vocab_size:
            message = f"the model in {folder} has {self.decoder.vocab_size} ids and its tokenizer {size}"
            raise ConfigError(message, key="init_from")

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that the model was trained with."""
        return load_tokenizer(self.folder)

    @cached_property
    def sha256(self) -> str:
        """Of the file of weights."""
        with self._file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def plan(self, new: Decoder) -> Transfer:
        """What a decoder would get from this one.

        The head is taken over whole or not at all: where its class, its arguments and its tensors are the same. A
        linear head that shared the embedding may have a copy of it for itself from now on.

        Args:
            new: it may be on the meta device.

        Raises:
            ConfigError: the body differs; the message names every key.
        """
        self._refuse_other_body(new)
        theirs, ours = self._sources(), _shapes(new)
        missing = [n for n, shape in ours.items() if not n.startswith(_HEAD) and self._shape(theirs, n) != shape]
        if missing:
            raise ConfigError(f"{self._file} lacks tensors of the body: {', '.join(missing)}", key="init_from")
        head = {name: shape for name, shape in ours.items() if name.startswith(_HEAD)}
        same = _same_head(self.decoder.head, new.head) and all(self._shape(theirs, n) == s for n, s in head.items())
        loaded = tuple(name for name in ours if same or not name.startswith(_HEAD))
        used = {theirs[name] for name in loaded}
        return Transfer(
            loaded=loaded,
            afresh=tuple(name for name in ours if name not in loaded),
            left_out=tuple(name.removeprefix(_PREFIX) for name in self._shapes if name not in used),
        )

    @torch.no_grad()
    def load(self, decoder: Decoder, transfer: Transfer) -> None:
        """Copy the tensors of :meth:`plan` into a decoder, in its precision and on its device."""
        sources = self._sources()
        with safe_open(self._file, "pt") as tensors:
            loaded = {name: tensors.get_tensor(sources[name]) for name in transfer.loaded}
        # not name by name: parts rebuild what follows from their tensors
        decoder.load_state_dict(loaded, strict=False)

    def embedding(self) -> Tensor:
        """(V, d) float32: the rows of the model's full head, or else its input embedding."""
        rows = self._sources().get("head.weight", "")
        whole = (self.decoder.vocab_size, self.decoder.d_model)
        with safe_open(self._file, "pt") as tensors:
            name = rows if self._shapes.get(rows) == whole else f"{_PREFIX}embedding.weight"
            embedding: Tensor = tensors.get_tensor(name)
        return embedding.float()

    def _sources(self) -> dict[str, str]:
        """The tensor in the file for each name of the decoder's state dict: shared ones are stored once."""
        sources = {name.removeprefix(_PREFIX): name for name in self._shapes}
        for name, parameter in self.decoder.named_parameters(remove_duplicate=False):
            if parameter is self.decoder.embedding.weight:
                sources.setdefault(name, f"{_PREFIX}embedding.weight")
        return sources

    def _shape(self, sources: Mapping[str, str], name: str) -> tuple[int, ...] | None:
        return self._shapes.get(sources.get(name, ""))

    def _refuse_other_body(self, new: Decoder) -> None:
        old, given = _body(self.decoder), _body(new)
        differences = [
            f"model.{key} is {old.get(key)!r} there and {given.get(key)!r} here"
            for key in sorted(old.keys() | given.keys())
            if old.get(key) != given.get(key) and key.rpartition(".")[2] not in _HARMLESS
        ]
        if differences:
            message = f"the model in {self.folder} has another body, and only loss, head and training may differ: "
            raise ConfigError(message + "; ".join(differences), key="init_from")


def tokenizer_arguments(model: InitialModel, written: Config, places: Places) -> Config:
    """The keys of the data that follow from the model's tokenizer: its size and, where its run says so, number scheme.

    Args:
        model: to start from.
        written: what was written down in files and on the command line, by dotted key.
        places: where.

    Raises:
        ConfigError: something else was written.
    """
    tokenizer = written.get("data.tokenizer")
    if tokenizer is not None and Path(tokenizer).resolve() != Path(model.folder).resolve():
        message = f"expected null, as init_from brings the tokenizer of {model.folder}, got {tokenizer!r}"
        raise ConfigError(message, key="data.tokenizer", place=places.find("data.tokenizer"))
    run = Path(model.folder) / "config.yaml"
    data = load_yaml(run).get("data", {}) if run.is_file() else {}
    keys = {"vocab_size": model.decoder.vocab_size} | {k: data[k] for k in ("numbers", "group") if k in data}
    for name, theirs in keys.items():
        key = f"data.{name}"
        if written.get(key) not in (theirs, None):
            message = f"expected {theirs!r}, as the tokenizer of {model.folder} has it, got {written[key]!r}"
            raise ConfigError(message, key=key, place=places.find(key))
    # the tokenizer's own name leaves no room for a scheme beside it
    return keys if tokenizer is None else {"vocab_size": keys["vocab_size"]}


def _body(decoder: Decoder) -> dict[str, Any]:
    """Everything but the head that decides what the weights mean, every argument spelt out, by dotted key."""
    block = decoder.blocks[0]
    parts = {
        "position": decoder.position,
        "attention": block.attention,
        "feed_forward": block.feed_forward,
        "norm": decoder.norm,
    }
    sizes = {name: getattr(decoder, name) for name in ("vocab_size", "d_model", "n_layers", "n_heads")}
    return flatten(sizes | {name: part and describe(part) for name, part in parts.items()})


def _shapes(decoder: Decoder) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a decoder's tensors, each once."""
    shared = {n for n, p in decoder.head.named_parameters(prefix="head") if p is decoder.embedding.weight}
    return {name: tuple(tensor.shape) for name, tensor in decoder.state_dict().items() if name not in shared}


def _same_head(old: nn.Module, new: nn.Module) -> bool:
    if type(old) is not type(new):
        return False
    try:
        arguments = [describe(head)["init_args"] for head in (old, new)]
    except ArgumentError:  # a part of somebody's that does not keep its arguments: nothing tells what its tensors mean
        return False
    tied = [bool(getattr(head, "tied", False)) for head in (old, new)]
    ignored = {*_HARMLESS, "tied"}
    one, other = ({k: v for k, v in each.items() if k not in ignored} for each in arguments)
    return one == other and (tied[0] or not tied[1])


# Schemes whose vocabulary holds tokens for a triad together with its magnitude.
_WITH_TRIADS = ("triadic",)


def check_number_embedding(number_embedding: str, numbers: str, tokenizer: str | None) -> None:
    """Raise :class:`ArgumentError` where a tokenizer that is still to be trained will have no triads to start from."""
    if number_embedding == "structured" and tokenizer is None:
        expected = f"independent, or data.numbers: {' or '.join(_WITH_TRIADS)}; numbers={numbers} has no triad tokens"
        require(numbers in _WITH_TRIADS, "number_embedding", expected, number_embedding)


def start_from_structure(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
    """Let the embeddings of triads start from shared parts; see :func:`structured_start`. A function of the seed alone.

    Raises:
        ArgumentError: the tokenizer has no token for a triad with a magnitude.
    """
    token_ids, triads, magnitudes = (torch.as_tensor(x) for x in tokenization.triad_structure(tokenizer))
    marked = bool((magnitudes > 0).any())  # bare groups of digits, which any tokenizer may have, share nothing
    require(marked, "number_embedding", "independent for a tokenizer without marked triads", "structured")
    # a stream of its own, as each parameter of the decoder has
    generator = torch.Generator().manual_seed((seed + zlib.crc32(b"number_embedding")) % (1 << 63))
    structured_start(decoder.embedding.weight, token_ids, triads, magnitudes, std=decoder.init_std, generator=generator)
