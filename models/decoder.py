"""The decoder-only language model that the parts assemble into."""

from __future__ import annotations

import inspect
import math
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, require
from ..layers import Attention, Head, LinearHead, NoPosition, Position, RMSNorm, SoftmaxAttention, SwiGLU
from ..layers.attention.cache import CacheLike
from ..layers.common.part import Part, defines
from ..layers.head.resized_rows import resized_rows
from .parts import build, describe, split

TIED_HEAD = partial(LinearHead, tied=True)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); x (B, T, d)."""

    recompute: Callable[..., Any] | None = None
    """Runs the layer in training without keeping what its backward pass needs, as ``torch.utils.checkpoint`` does."""

    def __init__(self, attention: Attention, feed_forward: nn.Module, norms: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = norms
        self.attention = attention
        self.feed_forward = feed_forward

    def forward(self, x: Tensor, mask: Tensor | None, cache: CacheLike | None, layer_index: int, p: float) -> Tensor:
        """One layer; ``p`` is the dropout rate of both branches."""
        # run a second time, a layer would append to its cache a second time
        if self.recompute is not None and self.training and cache is None:
            z: Tensor = self.recompute(self._layer, x, mask, None, layer_index, p)
            return z
        return self._layer(x, mask, cache, layer_index, p)

    def _layer(self, x: Tensor, mask: Tensor | None, cache: CacheLike | None, layer_index: int, p: float) -> Tensor:
        mixed = self.attention(self.attention_norm(x), mask, cache, layer_index)
        x = x + nn.functional.dropout(mixed, p, self.training)
        y: Tensor = x + nn.functional.dropout(self.feed_forward(self.feed_forward_norm(x)), p, self.training)
        return y


class Decoder(nn.Module):
    """A pre-norm decoder-only transformer (B, T) -> (B, T, V) with interchangeable parts.

    A part may be a class, a ``functools.partial`` of one, a name from ``lmzoo.layers``, or a mapping with
    ``class_path`` and ``init_args``; see :func:`lmzoo.models.parts.build`.

    Weights are drawn from a stream of their own for each parameter name, all seeded by one number from torch's global
    generator. So two decoders built under one seed agree in every tensor they have in common, whatever other parts they
    hold. Linear and embedding weights are Normal(0, ``init_std``), those of an ``output`` projection, which writes to
    the residual stream, Normal(0, ``init_std`` / sqrt(2 ``n_layers``)), biases, which is to say whatever has fewer than
    two dimensions there and in the head, 0. A part that defines ``initialise(std, generator)`` initialises its own
    direct parameters instead.

    Args:
        vocab_size: V.
        d_model: d.
        n_layers: blocks, each an attention layer and a feed-forward layer.
        n_heads: attention heads of each layer.
        attention: called as ``attention(d_model, n_heads)``.
        feed_forward: called as ``feed_forward(d_model)``.
        head: called as ``head(d_model, vocab_size)``; the default shares the embedding.
        norm: called as ``norm(d_model)``.
        position: None leaves the attention its own default (rotary for softmax). One that acts on the embedding is
            added there and attention gets none; any other is given to each attention layer.
        dropout: rate after the embedding and after each branch.
        init_std: standard deviation of the initial weights.
        allow_foreign: import parts from outside lmzoo when a path names them.

    Raises:
        ArgumentError: a value is out of range, a part is unknown, or the attention cannot take the position.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        n_layers: int,
        n_heads: int,
        *,
        attention: Callable[[int, int], Attention] = SoftmaxAttention,
        feed_forward: Callable[[int], nn.Module] = SwiGLU,
        head: Callable[[int, int], Head] = TIED_HEAD,
        norm: Callable[[int], nn.Module] = RMSNorm,
        position: Position | None = None,
        dropout: float = 0.0,
        init_std: float = 0.02,
        allow_foreign: bool = False,
    ) -> None:
        super().__init__()
        for name, size in (("vocab_size", vocab_size), ("d_model", d_model), ("n_layers", n_layers)):
            require(size >= 1, name, "an integer of at least 1", size)
        require(0.0 <= dropout < 1.0, "dropout", "a rate in [0, 1)", dropout)
        require(init_std > 0.0, "init_std", "a number above 0", init_std)
        # Drawn first, so that what the parts draw while they are built does not shift it.
        seed = int(torch.empty((), dtype=torch.int64, device="cpu").random_())
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.dropout = dropout
        self.init_std = init_std
        self._parts = {
            "attention": attention,
            "feed_forward": feed_forward,
            "head": head,
            "norm": norm,
            "position": position,
        }
        make = partial(build, allow_foreign=allow_foreign)
        template: Position | None = None if position is None else make(position)
        on_embedding = template is not None and template.acts_on == "embedding"
        self.position = template.bind(d_model=d_model, n_heads=n_heads) if template and on_embedding else None
        placed = _attention_position(attention, NoPosition() if on_embedding else template, allow_foreign)
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.blocks = nn.ModuleList(
            Block(
                make(attention, d_model, n_heads, **placed),
                make(feed_forward, d_model),
                (make(norm, d_model), make(norm, d_model)),
            )
            for _ in range(n_layers)
        )
        self.norm = make(norm, d_model)
        self.head: Head = make(head, d_model, vocab_size)
        if self.head.tied:
            self.head.tie(self.embedding.weight)
        self._initialise(seed)

    @property
    def config(self) -> dict[str, Any]:
        """JSON-ready arguments, from which :meth:`from_config` builds an equal decoder.

        Raises:
            ArgumentError: a part was given an argument that has no JSON form.
        """
        names = ("vocab_size", "d_model", "n_layers", "n_heads", "dropout", "init_std")
        parts = {name: None if part is None else describe(part) for name, part in self._parts.items()}
        return {name: getattr(self, name) for name in names} | parts

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, allow_foreign: bool = False) -> Self:
        """Build from :attr:`config`; classes from outside lmzoo are imported only when ``allow_foreign``."""
        return cls(**config, allow_foreign=allow_foreign)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, cache: CacheLike | None = None
    ) -> Tensor:
        """Logits (B, T, V) of the next token after each of ``input_ids`` (B, T)."""
        logits: Tensor = self.head(self.hidden(input_ids, attention_mask, cache))
        return logits

    def hidden(self, input_ids: Tensor, attention_mask: Tensor | None = None, cache: CacheLike | None = None) -> Tensor:
        """Normalised hidden states (B, T, d), which the head reads.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, Tk) bool over all keys, cached ones included; true = real token.
            cache: keys and values of the tokens before these; it is extended.
        """
        return self.contextualise(self.embedding(input_ids), attention_mask, cache)

    def contextualise(
        self,
        x: Tensor,
        attention_mask: Tensor | None = None,
        cache: CacheLike | None = None,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """As :meth:`hidden`, from token embeddings x (B, T, d); what each block reads is appended to ``states``."""
        if self.position is not None:
            x = x + self.position.encode(self._token_index(x, attention_mask, cache), x)
        x = nn.functional.dropout(x, self.dropout, self.training)
        for i, block in enumerate(self.blocks):
            if states is not None:
                states.append(x)
            x = block(x, attention_mask, cache, i, self.dropout)
        y: Tensor = self.norm(x)
        return y

    def nll(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, *, row_weight: Tensor | None = None
    ) -> Tensor:
        """-log p(input_ids[:, t + 1] | input_ids[:, :t + 1]) in nats: (B, T) -> (B, T - 1).

        With a mask (B, T), pairs in which either token is padding give 0 and are not computed; their places are
        ``~(attention_mask[:, 1:] & attention_mask[:, :-1])``.

        ``row_weight`` (B, T - 1) tells a head that takes it what a loss will weigh the pairs by; see :meth:`Head.nll`.
        """
        require(input_ids.size(1) >= 2, "input_ids", "at least two tokens a row", tuple(input_ids.shape))
        target = input_ids[:, 1:]
        if attention_mask is None:
            rows = self.hidden(input_ids[:, :-1]).flatten(0, 1)
            weight = None if row_weight is None else row_weight.flatten()
            return self._head_nll(rows, target.flatten(), weight).view_as(target)
        real = attention_mask[:, 1:] & attention_mask[:, :-1]
        rows = self.hidden(input_ids[:, :-1], attention_mask[:, :-1])[real]
        nll = self._head_nll(rows, target[real], None if row_weight is None else row_weight[real])
        return nll.new_zeros(target.shape).masked_scatter(real, nll)

    def _head_nll(self, rows: Tensor, target: Tensor, row_weight: Tensor | None) -> Tensor:
        if row_weight is None or not self.head.takes_row_weight:
            return self.head.nll(rows, target)
        nll: Callable[..., Tensor] = self.head.nll
        return nll(rows, target, row_weight=row_weight)

    def resize(self, vocab_size: int, *, std: float | None = None) -> None:
        """Change the vocabulary in place: the first tokens stay, at its end some are added or taken away.

        Parameters are replaced, so an optimizer that has them must be made anew.

        Args:
            vocab_size: the new V.
            std: new rows are Normal(0, ``std``) and new biases 0; None gives both the mean of the old ones.

        Raises:
            ArgumentError: the head cannot be resized; nothing has changed then.
        """
        require(vocab_size >= 1, "vocab_size", "an integer of at least 1", vocab_size)
        if vocab_size == self.vocab_size:
            return
        self.head.resize(vocab_size, std=std)
        self.embedding.weight = resized_rows(self.embedding.weight, vocab_size, std)
        self.embedding.num_embeddings = self.vocab_size = vocab_size
        if self.head.tied:
            self.head.tie(self.embedding.weight)

    def _token_index(self, x: Tensor, attention_mask: Tensor | None, cache: CacheLike | None) -> Tensor:
        """Index of each token among the real tokens of its row, (B or 1, T)."""
        length = x.size(1)
        if attention_mask is not None:
            return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)[:, -length:]
        first: Attention = self.blocks[0].attention  # type: ignore[assignment]
        start = 0 if cache is None else first.past_length(x, cache, 0)
        return torch.arange(start, start + length, device=x.device)[None]

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        for path, module in self.named_modules(remove_duplicate=True):
            generator = torch.Generator().manual_seed((seed + zlib.crc32(path.encode())) % (1 << 63))
            std = self.init_std / math.sqrt(2 * self.n_layers) if path.endswith(".output") else self.init_std
            if defines(module, Part.initialise):
                module.initialise(std, generator)
            elif isinstance(module, nn.Linear | nn.Embedding) or (module is self.head and not self.head.tied):
                for parameter in module.parameters(recurse=False):
                    draw(parameter, 0.0 if parameter.ndim < 2 else std, generator)


def draw(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    """Fill with Normal(0, std), drawn in float32 on the CPU so that every device starts from the same numbers."""
    if not parameter.is_meta:
        parameter.copy_(torch.empty(parameter.shape, device="cpu").normal_(0.0, 1.0, generator=generator).mul_(std))


def _attention_position(attention: Any, position: Position | None, allow_foreign: bool) -> dict[str, Any]:
    """The keyword with which each attention layer is given its position, if any."""
    if position is None:
        return {}
    cls, init_args = split(attention, allow_foreign=allow_foreign)
    if init_args.get("position") is not None:
        raise ArgumentError("position", "None: the attention was given one already", type(position).__name__)
    takes = inspect.signature(cls).parameters
    expected = f"None: {cls.__name__} has positions of its own"
    require("position" in takes, "position", expected, type(position).__name__)
    return {"position": position}
