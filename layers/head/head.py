"""The frame that every output head fills in, and the head that takes a loss's shift back from any other."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...errors import ArgumentError, require
from ..common.full_precision import full_dtype
from ..common.part import Part

# Logits that exist at one time where no chunk size is given.
_CHUNK_LOGITS = 1 << 22


class Head(Part):
    """A normalised distribution over the vocabulary for each hidden state.

    ``head(hidden)`` gives logits (..., V) for hidden (..., d), ``head.nll(hidden, target)`` the negative
    log-likelihood. Both describe one distribution: nll = -log softmax(logits)[target], and exp(-nll) sums to 1 over
    the vocabulary.

    Args:
        d_model: d, the width of the hidden states.
        vocab_size: V.

    Raises:
        ArgumentError: a size is below 1.
    """

    tied: bool = False
    """True when the head waits for :meth:`tie`: the decoder then hands over its embedding."""

    needs_trained_model: str | None = None
    """Why training can begin only from a trained model, and what else to choose; None where it can begin without."""

    tie_counts: Tensor | None
    """(V,) integers: greedy generation takes the token with the highest count among those of equal, highest logit.

    None leaves it the lowest id.
    """

    why_fixed: str = "cannot be resized"
    """Why the vocabulary cannot be resized, as :meth:`resize` says it."""

    takes_row_weight: ClassVar[bool] = False
    """Whether :meth:`nll` has the argument ``row_weight``."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        # asked of each class, since one that overrides nll need not take what its parent takes
        cls.takes_row_weight = "row_weight" in inspect.signature(cls.nll).parameters

    def __init__(self, d_model: int, vocab_size: int) -> None:
        super().__init__()
        require(d_model >= 1, "d_model", "an integer of at least 1", d_model)
        require(vocab_size >= 1, "vocab_size", "an integer of at least 1", vocab_size)
        self.d_model = d_model
        self.vocab_size = vocab_size
        # not a default of the class, which would leave a head no buffer of this name; it may have a property of its own
        if not hasattr(type(self), "tie_counts"):
            self.register_buffer("tie_counts", None, persistent=False)

    @abstractmethod
    def forward(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden (..., d)."""

    @abstractmethod
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """-log p(target | hidden): hidden (N, d), target (N) int64 -> (N) float32, float64 for float64 hidden.

        Memory is O(chunk x V), never (N, V).

        A head may take a further argument ``row_weight`` (N) or None: what the loss behind will weigh the rows by, up
        to a common factor, see :meth:`lmzoo.layers.Loss.row_weight`. The likelihoods are not weighed: it is there to
        save time, as those heads do that stand on :func:`lmzoo.layers.functional.linear_nll`.
        """

    def tie(self, embedding: nn.Parameter) -> None:
        """Share the input embedding (V, d)."""
        raise ArgumentError("tied", "a head that can share the embedding", type(self).__name__)

    def resize(self, vocab_size: int, *, std: float | None = None) -> None:
        """Change to another V in place: the first tokens keep their parameters, for new ones see ``resized_rows``.

        A tied head is given the resized embedding by :meth:`tie` afterwards.

        Raises:
            ArgumentError: the head's tokens are more than rows of a matrix.
        """
        expected = f"{self.vocab_size}: {type(self).__name__} {self.why_fixed}"
        raise ArgumentError("vocab_size", expected, vocab_size)

    def debias(self, log_weight: Tensor) -> Head:
        """A head of the distribution q(t) / w(t), normalised, where this one's is q(t).

        Takes back the shift of a loss that weighs each token t by w(t), see
        :meth:`lmzoo.layers.Loss.log_weight`. The head returned shares this one's weights and is meant for evaluation.

        Args:
            log_weight: (V), log w(t); a constant in it does not matter.

        Raises:
            ArgumentError: it has another shape or is not finite.
        """
        return DebiasedHead(self, log_weight)

    @abstractmethod
    def matmul_weights(self) -> int:
        """Weights that take part in a product for each training token, shared ones included."""

    def sample(self, hidden: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Tokens drawn from softmax(logits / temperature), without a column for each token: (N, d) -> (N,) int64.

        Where a head defines it, ``lmzoo generate`` calls it for the whole distribution, with neither top-k nor top-p.

        Raises:
            ArgumentError: by default: generation draws from the logits then.
        """
        raise ArgumentError("head", "a head with a method sample", type(self).__name__)

    def health(self) -> Mapping[str, float]:
        """Figures of the head's own state, which training logs as ``head_<name>``; by default none."""
        return {}


class DebiasedHead(Head):
    """p(t) = q(t) / w(t) / sum_v q(v) / w(v), where q is another head's distribution: logits less log w.

    The logits of a chunk of rows exist at a time, also in training. Whatever the other head does to be fast, this
    one computes all V of them.

    Args:
        head: the head of q; its weights are shared.
        log_weight: (V), log w(t).
        chunk_size: rows whose logits exist at one time; None takes 4 million logits.

    Raises:
        ArgumentError: ``log_weight`` has another shape or is not finite.
    """

    log_weight: Tensor

    def __init__(self, head: Head, log_weight: Tensor, *, chunk_size: int | None = None) -> None:
        super().__init__(head.d_model, head.vocab_size)
        check_log_weight(log_weight, head.vocab_size)
        require(chunk_size is None or chunk_size >= 1, "chunk_size", "None or an integer of at least 1", chunk_size)
        self.head = head
        self.chunk_size = chunk_size
        weight = next(head.parameters(), log_weight)
        self.register_buffer("log_weight", log_weight.detach().to(weight.device, full_dtype(weight)))

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden (..., d), float32 or float64: half precision would round log w."""
        logits: Tensor = self.head(hidden)
        return logits.to(full_dtype(logits)) - self.log_weight.to(full_dtype(logits))

    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """-log p(target | hidden): (N, d), (N) -> (N)."""
        rows = self.chunk_size or max(1, _CHUNK_LOGITS // self.vocab_size)
        chunks = zip(hidden.split(rows), target.split(rows))
        return torch.cat([checkpoint(self._chunk, h, t, use_reentrant=False) for h, t in chunks])

    def matmul_weights(self) -> int:
        """Those of all logits, as the other head states them."""
        return self.head.matmul_weights()

    def _chunk(self, hidden: Tensor, target: Tensor) -> Tensor:
        shifted = self(hidden)
        nll: Tensor = torch.logsumexp(shifted, 1) - shifted.gather(1, target[:, None]).squeeze(1)
        return nll


def check_log_weight(log_weight: Tensor, vocab_size: int) -> None:
    """Raise :class:`ArgumentError` unless ``log_weight`` is finite and of shape (V)."""
    shape = tuple(log_weight.shape)
    require(shape == (vocab_size,), "log_weight", f"shape ({vocab_size},)", shape)
    require(bool(log_weight.isfinite().all()), "log_weight", "finite numbers", "others among them")
