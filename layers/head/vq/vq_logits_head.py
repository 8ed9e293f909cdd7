"""The codebook head: tokens share K rows, and may be told apart inside a code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....errors import ArgumentError, require
from ...common.corpus_statistics import CorpusStatistics
from ...common.full_precision import full_dtype, without_autocast
from ..head import Head
from ..row_forecast import RowForecast
from . import code_mappings
from .class_nll import class_log_softmax, class_nll
from .sampling import draw, draw_by_code, draw_in_class, likeliest, most_frequent
from .token_codes import TokenCodes, checked_counts, mean_columns
from .vq_nll import check_target, code_nll, log_code_mass, within_nll

MAPPINGS = ("random", "contiguous", "frequency", "kmeans", "cooccurrence")
WITHIN_CODE = ("none", "unigram", "bias", "class_softmax")


class VQLogitsHead(Head):
    """Token i gets the logit of its code, l_M(i) with l = C h and C (K, d), and what tells it from the code's others.

    p(i | h) = softmax_k(l_k + log m_k)[M(i)] p(i | M(i), h), where the second factor and m_k are (VQ-Logits,
    arXiv:2505.10202, is ``none``; ``class_softmax`` is the class-based softmax of Goodman, 2001, over its codes):

    | ``within_code``   | p(i given code, h)                           | m_k            | parameters beside C   |
    | ----------------- | -------------------------------------------- | -------------- | --------------------- |
    | ``none``          | 1 / n_k, n_k tokens share the code           | n_k            | none                  |
    | ``unigram``       | training frequency (+ 1) within the code     | 1              | none (V counts)       |
    | ``bias``          | softmax of learned beta over the code        | sum exp(beta)  | V                     |
    | ``class_softmax`` | softmax of (P h) . r_i over the code         | n_k            | see below             |

    Everything is normalised over the whole vocabulary, in float32 under autocast, and :meth:`nll` never has V columns
    for a row. The rows r of ``class_softmax`` are the input embedding (``rows: tied``, no further parameters) or the
    head's own (``rows: own``, V d; with ``rank`` r, V r + r d: a low-rank residual on the codes). P is the identity,
    or a learned d x d map (``projection``), or, with ``rank``, r x d. Its loss costs K + n_code columns a row, so codes
    of even size serve it: ``tail_codes`` above 1, or ``kmeans``, not one tail that holds nearly all of V.

    ``mapping``: ``random`` (even sizes, under ``seed``), ``contiguous`` (blocks of ids), ``frequency`` (frequent tokens
    alone, the tail shared), ``kmeans`` (of the rows of the model that training starts from: the paper's) and
    ``cooccurrence`` (k-means of vectors from the training text), or the V code ids themselves. The last two are known
    only after :meth:`use_corpus`; ``frequency`` without counts takes ids as sorted by falling frequency. The table
    is saved with the model, as integers of 32 bits; see :class:`TokenCodes`.

    beta starts at log p(i | code) of ``unigram``, so that ``bias`` starts as that head, and at 0 while counts are
    unknown. Where training starts from a model, C starts at the means of its rows and own rows of width d at the rows.

    Args:
        d_model: d, the width of the hidden states.
        vocab_size: V.
        codebook_size: K, 1 to V.
        mapping: a name above, or V code ids.
        within_code: a name above.
        token_counts: V training counts; :meth:`use_corpus` brings them otherwise.
        tail_codes: for ``frequency``: codes that share the tail; K - ``tail_codes`` tokens stand alone.
        tail: for ``frequency``: ``mass`` gives tail codes equal parts of its occurrences, ``size`` of its tokens.
        rows: for ``class_softmax``: ``tied`` or ``own``.
        rank: for own rows: their width; None is d.
        projection: for ``class_softmax`` without ``rank``: learn P (d, d), which starts at the identity.
        cooccurrence_rank: width of the vectors of ``cooccurrence``.
        seed: of ``random`` and of the clustering.

    Raises:
        ArgumentError: a value is out of range or does not fit another one; the head is used before its mapping is
            known, or, with tied rows, before :meth:`tie`; the corpus lacks what the mapping needs.
    """

    def __init__(
        self,
        d_model: int,
        vocab_size: int,
        codebook_size: int,
        *,
        mapping: str | Sequence[int] | Tensor = "frequency",
        within_code: str = "none",
        token_counts: Sequence[int] | Tensor | None = None,
        tail_codes: int = 1,
        tail: str = "mass",
        rows: str = "tied",
        rank: int | None = None,
        projection: bool = False,
        cooccurrence_rank: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(d_model, vocab_size)
        fits = 1 <= codebook_size <= vocab_size
        require(fits, "codebook_size", f"an integer in 1..{vocab_size}, the vocabulary's size", codebook_size)
        _one_of("within_code", within_code, WITHIN_CODE)
        _one_of("tail", tail, ("mass", "size"))
        _one_of("rows", rows, ("tied", "own"))
        require(1 <= tail_codes <= codebook_size, "tail_codes", f"an integer in 1..{codebook_size}", tail_codes)
        in_classes, own = within_code == "class_softmax", within_code == "class_softmax" and rows == "own"
        require(own or rank is None, "rank", "None unless within_code is class_softmax and rows own", rank)
        require(rank is None or rank >= 1, "rank", "None or an integer of at least 1", rank)
        takes_map = in_classes and rank is None
        require(takes_map or not projection, "projection", "false but for class_softmax without rank", projection)
        widest = vocab_size - 1 if isinstance(mapping, str) and mapping == "cooccurrence" else cooccurrence_rank
        expected = f"an integer of at least 1, for cooccurrence below {vocab_size}, the vocabulary's size"
        require(1 <= cooccurrence_rank <= widest, "cooccurrence_rank", expected, cooccurrence_rank)
        self.why_fixed = "gives tokens their codes by the training data, which does not know new ones"
        self.codebook_size = codebook_size
        self.mapping: str | list[int]
        self._given: Tensor | None = None
        if isinstance(mapping, str):
            self.mapping = _one_of("mapping", mapping, MAPPINGS)
        else:
            self.mapping = _plain(mapping)
            self._given = code_mappings.checked_mapping(
                torch.tensor(self.mapping, device="cpu"), vocab_size, codebook_size
            )
        if self.mapping == "kmeans":
            self.needs_trained_model = "mapping kmeans clusters a model's rows; mapping cooccurrence needs none"
        self.within_code = within_code
        self.token_counts = None if token_counts is None else _plain(token_counts)
        self.tail_codes = tail_codes
        self.tail = tail
        self.rows = rows
        self.rank = rank
        self.projection = projection
        self.cooccurrence_rank = cooccurrence_rank
        self.seed = seed
        self.tied = in_classes and not own
        width = d_model if rank is None else rank
        self.codebook = nn.Parameter(torch.empty(codebook_size, d_model))
        self.weight: nn.Parameter | None
        self.token_bias: nn.Parameter | None
        self.map: nn.Parameter | None
        self.register_parameter("weight", nn.Parameter(torch.empty(vocab_size, width)) if own else None)
        self.register_parameter("token_bias", nn.Parameter(torch.empty(vocab_size)) if within_code == "bias" else None)
        mapped = projection or rank is not None
        self.register_parameter("map", nn.Parameter(torch.empty(width, d_model)) if mapped else None)
        self.codes = TokenCodes(vocab_size, codebook_size)
        self._forecast = RowForecast()
        self.initialise(d_model**-0.5, torch.default_generator)
        if self.mapping not in ("kmeans", "cooccurrence"):
            self._map_tokens(CorpusStatistics(self._own_counts()))

    @torch.no_grad()
    def initialise(self, std: float, generator: torch.Generator) -> None:
        """C and own rows Normal(0, ``std``), drawn on the CPU, as is P with ``rank``, else the identity; beta anew."""
        drawn = [self.codebook]
        if not self.tied and self.weight is not None:
            drawn.append(self.weight)
        if self.rank is not None and self.map is not None:
            drawn.append(self.map)
        for parameter in drawn:
            if not parameter.is_meta:
                parameter.copy_(torch.empty(parameter.shape, device="cpu").normal_(0.0, std, generator=generator))
        if self.projection and self.map is not None:
            nn.init.eye_(self.map)
        self.codes.start(self.token_bias)

    def use_corpus(self, statistics: CorpusStatistics) -> None:
        """Learn counts and, unless it was given or is random or contiguous, the mapping; keep both in the buffers.

        Counts given to the constructor stay.

        Raises:
            ArgumentError: counts have another vocabulary; ``kmeans`` without a model to start from; ``cooccurrence``
                without co-occurrences.
        """
        counts = checked_counts(statistics.token_counts, self.vocab_size)
        own = None if self.token_counts is None else self._own_counts()
        self._map_tokens(replace(statistics, token_counts=counts if own is None else own))

    def tie(self, embedding: nn.Parameter) -> None:
        """Use the input embedding (V, d) as the rows of ``class_softmax``."""
        require(self.tied, "tied", "within_code class_softmax with tied rows", self.within_code)
        shape = (self.vocab_size, self.d_model)
        require(tuple(embedding.shape) == shape, "embedding", f"shape {shape}", tuple(embedding.shape))
        self.weight = embedding

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) float32, float64 for float64 hidden; for ``class_softmax`` they are log-probabilities."""
        self._check()
        dtype, mapping = full_dtype(hidden), self.codes.mapping
        with without_autocast(hidden):
            logits = self._code_logits(hidden)
            if self.within_code == "class_softmax":
                log_code = torch.log_softmax(logits + self._log_mass(dtype), -1)
                logits = F.linear(self._query(hidden.to(dtype)), self._rows().to(dtype))
                return log_code.index_select(-1, mapping) + class_log_softmax(logits, mapping, self.codebook_size)
            bias = self._bias(dtype)
            spread = logits.index_select(-1, mapping)
            return spread if bias is None else spread + bias

    def nll(self, hidden: Tensor, target: Tensor, *, row_weight: Tensor | None = None) -> Tensor:
        """-log p(target | hidden): (N, d), (N) -> (N); see :func:`vq_nll` and :func:`class_nll`."""
        self._check()
        check_target(target, self.vocab_size)
        codes, dtype = self.codes, full_dtype(hidden)
        log_mass = self._log_mass(dtype)
        code, uniform = codes.mapping[target].long(), self._forecast.uniform
        nll = code_nll(hidden, self.codebook, code, log_mass, uniform=uniform, row_weight=row_weight)
        if row_weight is None:
            self._forecast.watch(nll)
        if self.within_code != "class_softmax":
            return nll + within_nll(log_mass, codes.mapping, target, self._bias(dtype))
        query = self._query(hidden.to(dtype))
        return nll + class_nll(query, self._rows(), codes.order, codes.offsets, codes.mapping, target)

    @torch.no_grad()
    def sample(self, hidden: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Tokens drawn from softmax(logits / temperature): (N, d) -> (N,) int64: a code first, then one of its tokens.

        Exact, and without V columns a row, but for ``class_softmax`` at a temperature other than 1.
        """
        require(temperature > 0.0, "temperature", "a number above 0", temperature)
        self._check()
        if self.within_code == "class_softmax" and temperature != 1.0:
            # tempering the whole distribution is not tempering its two factors
            return draw(torch.softmax(self(hidden) / temperature, -1), generator)
        logits = self._code_logits(hidden) / temperature
        if self.within_code == "class_softmax":
            code = draw(torch.softmax(logits + self._log_mass(logits.dtype), -1), generator)
            return draw_in_class(self._query(hidden.to(logits.dtype)), self._rows(), code, self.codes, generator)
        bias = self._bias(logits.dtype)
        return draw_by_code(logits, None if bias is None else bias / temperature, self.codes, generator)

    @torch.no_grad()
    def greedy(self, hidden: Tensor) -> Tensor:
        """The likeliest token, the one most frequent in training among equals: (N, d) -> (N,) int64.

        Without V columns a row, but for ``class_softmax``.
        """
        self._check()
        if self.within_code == "class_softmax":
            return most_frequent(self(hidden), self.codes.counts)
        logits = self._code_logits(hidden)
        return likeliest(logits, self._bias(logits.dtype), self.codes)

    @property
    def tie_counts(self) -> Tensor:  # type: ignore[override]
        """(V,) int32: among tokens of equal logit the one with the highest count is to be taken."""
        return self.codes.counts

    def health(self) -> dict[str, float]:
        """How the training data uses the codes; see :meth:`TokenCodes.health`."""
        self._check()
        return self.codes.health()

    def matmul_weights(self) -> int:
        """K d; for ``class_softmax`` also P, and the rows that a target's code has on average: :func:`mean_columns`.

        An estimate until the training counts are known; for ``kmeans`` and ``cooccurrence``, whose codes are not known
        then either, from an even V / K.
        """
        weights = self.codebook_size * self.d_model
        if self.within_code == "class_softmax":
            of_map = 0 if self.map is None else self.map.numel()
            weights += of_map + math.ceil(self._mean_columns()) * (self.rank or self.d_model)
        return weights

    def _mean_columns(self) -> float:
        with torch.device("cpu"):  # also where a model is only counted, on the meta device
            if self.codes.known:
                return mean_columns(self.codes.mapping.cpu().long(), self.codes.counts.cpu())
            if self.mapping in ("kmeans", "cooccurrence"):
                return self.vocab_size / self.codebook_size
            counts = self._own_counts()
            return mean_columns(self._codes_of(CorpusStatistics(counts)), counts)

    def _own_counts(self) -> Tensor:
        given = [0] * self.vocab_size if self.token_counts is None else self.token_counts
        return checked_counts(torch.tensor(given, device="cpu"), self.vocab_size)

    def _map_tokens(self, statistics: CorpusStatistics) -> None:
        if self.codebook.is_meta:
            return
        size, counts = self.codebook_size, statistics.token_counts
        codes = self._codes_of(statistics)
        self.codes.assign(codes, counts)
        self.codes.start(self.token_bias)
        if statistics.embedding is not None and statistics.embedding.shape == (self.vocab_size, self.d_model):
            with torch.no_grad():
                self.codebook.copy_(code_mappings.code_means(statistics.embedding, codes, size))
                if self.weight is not None and not self.tied and self.rank is None:
                    self.weight.copy_(statistics.embedding)

    def _codes_of(self, statistics: CorpusStatistics) -> Tensor:
        if self._given is not None:
            return self._given
        return code_mappings.named_mapping(
            str(self.mapping),
            statistics,
            self.codebook_size,
            tail_codes=self.tail_codes,
            tail=self.tail,
            rank=self.cooccurrence_rank,
            seed=self.seed,
        )

    def _check(self) -> None:
        self.codes.check(f"use_corpus(statistics) or weights from a trained model before {self.mapping!r} is used")

    def _bias(self, dtype: torch.dtype) -> Tensor | None:
        if self.token_bias is not None:
            return self.token_bias.to(dtype)
        return self.codes.log_within(dtype) if self.within_code == "unigram" else None

    def _log_mass(self, dtype: torch.dtype) -> Tensor:
        if self.token_bias is not None:
            return log_code_mass(self.codes.mapping, self.codebook_size, self.token_bias.to(dtype), dtype)
        log_sizes = self.codes.sizes().to(dtype).log()
        return log_sizes.clamp(max=0.0) if self.within_code == "unigram" else log_sizes

    def _code_logits(self, hidden: Tensor) -> Tensor:
        """L = C h, (..., K)."""
        dtype = full_dtype(hidden)
        with without_autocast(hidden):
            return F.linear(hidden.to(dtype), self.codebook.to(dtype))

    def _rows(self) -> Tensor:
        if self.weight is None:
            raise ArgumentError("tied", "a call of tie(embedding) before the first use", "no embedding")
        return self.weight

    def _query(self, hidden: Tensor) -> Tensor:
        if self.map is None:
            return hidden
        with without_autocast(hidden):
            return F.linear(hidden, self.map.to(hidden.dtype))


def _one_of(argument: str, given: str, known: Sequence[str]) -> str:
    require(given in known, argument, f"one of {', '.join(known)}", given)
    return given


def _plain(values: Sequence[int] | Tensor) -> list[int]:
    """As JSON can hold it."""
    return [int(v) for v in (values.tolist() if isinstance(values, Tensor) else values)]
