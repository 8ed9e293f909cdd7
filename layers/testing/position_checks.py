"""What a position method promises."""

from __future__ import annotations

import copy
import typing
from collections.abc import Callable
from functools import partial
from unittest import SkipTest

import torch

from ...errors import ArgumentError
from ..attention.attention import Attention
from ..attention.softmax_attention import SoftmaxAttention
from ..position.position import Position, PositionKind
from . import attention_checks
from .arguments import ARGUMENTS
from .differences import check_differences
from .promise import Candidate, Promise
from .repeats import check_repeats, trained

_HOOKS = {"query_key": "transform", "score": "score_bias", "embedding": "encode"}
_SIZES = {"d_model": 32, "n_heads": 4}
# An index far beyond every training length.
_FAR = 100_000
_FAR_KEYS = 8192


def check_kind(make: Candidate) -> None:
    """``acts_on`` is one of the four kinds, and the hook that it names is the part's own."""
    kinds = typing.get_args(PositionKind)
    kind = _kind(make)
    assert kind in kinds, f"acts_on is {kind!r} and not one of {', '.join(kinds)}"
    hook = _HOOKS.get(str(kind))
    if hook is not None:
        own = getattr(make.part, hook) is not getattr(Position, hook)
        assert own, f"acts_on is {kind!r}, but {hook}() is the neutral one of Position"


def check_binding(make: Candidate) -> None:
    """One template serves many layers, which share nothing, and stays as it was."""
    template = make()
    before = copy.deepcopy(template.state_dict())
    first, second = (template.bind(**_SIZES) for _ in range(2))
    assert first is not template, "bind() gave the template itself"
    shared = {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    assert not shared, f"{len(shared)} parameters are shared between two layers"
    for name, parameter in first.named_parameters():
        with torch.no_grad():
            parameter.add_(1.0)
        assert not torch.equal(parameter, dict(second.named_parameters())[name]), f"{name} is shared memory"
    after = template.state_dict()
    assert before.keys() == after.keys(), "binding gave the template new parameters or buffers"
    assert all(torch.equal(before[name], after[name]) for name in before), "binding changed the template"


def check_defined(make: Candidate) -> None:
    """Far beyond the training length it is finite, or raises an ArgumentError that says so."""
    position = make().bind(**_SIZES)
    x = torch.randn(1, 4, 3, 8)
    try:
        if position.acts_on == "query_key":
            given = list(position.transform(x, x, _FAR))
        elif position.acts_on == "score":
            bias = position.score_bias(3, _FAR_KEYS, x)
            given = [] if bias is None else [bias]
        elif position.acts_on == "embedding":
            given = [position.encode(torch.arange(_FAR, _FAR + 3), torch.randn(3, _SIZES["d_model"]))]
        else:
            raise SkipTest("there is nothing to define")
    except ArgumentError:
        return
    assert all(bool(t.isfinite().all()) for t in given), "a value far beyond the training length is not finite"


def check_shape(make: Candidate) -> None:
    """The hook gives the shape and the type that are asked for, row by row the same as all at once."""
    position = make().bind(**_SIZES)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        bound = position.to(dtype) if dtype != torch.float32 else position.float()
        if bound.acts_on == "query_key":
            _check_transform(bound, dtype)
        elif bound.acts_on == "score":
            _check_bias(bound, dtype)
        elif bound.acts_on == "embedding":
            _check_vectors(bound, dtype)
        else:
            raise SkipTest("there is nothing to give")


def _check_transform(position: Position, dtype: torch.dtype) -> None:
    query, key = torch.randn(2, 4, 12, 8).to(dtype), torch.randn(2, 2, 12, 8).to(dtype)
    whole = position.transform(query, key, 5)
    for what, given, x in zip(("queries", "keys"), whole, (query, key)):
        assert given.shape == x.shape, f"{what} {tuple(x.shape)} became {tuple(given.shape)}"
        assert given.dtype == dtype, f"{what} of {dtype} became {given.dtype}"
    rows = [position.transform(query[:, :, r : r + 1], key[:, :, r : r + 1], 5 + r) for r in range(12)]
    for what, together, single in zip(("queries", "keys"), whole, zip(*rows)):
        error = float((torch.cat(single, dim=2).double() - together.double()).abs().max())
        assert error <= 4 * torch.finfo(dtype).eps, f"{what} placed one by one differ by {error:.3g} ({dtype})"


def _check_bias(position: Position, dtype: torch.dtype) -> None:
    like = torch.randn(1, 4, 12, 8).to(dtype)
    bias = position.score_bias(5, 12, like)
    if bias is None:
        return
    shapes = ((4, 5, 12), (4, 1, 12))
    assert tuple(bias.shape) in shapes, f"5 queries of 12 keys gave a bias of shape {tuple(bias.shape)}"
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert bias.dtype == wide, f"the bias of {dtype} scores is {bias.dtype} and not {wide}"


def _check_vectors(position: Position, dtype: torch.dtype) -> None:
    index = torch.tensor([[0, 1, 2, 7], [3, 3, 0, 5]])
    like = torch.randn(2, 4, _SIZES["d_model"]).to(dtype)
    vectors = position.encode(index, like)
    assert vectors.shape == like.shape, f"indices {tuple(index.shape)} gave vectors {tuple(vectors.shape)}"
    assert vectors.dtype == dtype, f"like is {dtype} and the vectors {vectors.dtype}"
    alone = position.encode(index[1:, 3:], like[1:, 3:])
    assert torch.equal(vectors[1:, 3:], alone), "the vector of an index depends on the other indices"


def check_gradients(make: Candidate) -> None:
    """Gradients of what it works on and of its own parameters equal finite differences."""
    if _kind(make) == "embedding":
        position = make().bind(**_SIZES).double()
        parameters = trained(position)
        if not parameters:
            raise SkipTest("fixed vectors have no gradients")
        like, index = torch.randn(6, _SIZES["d_model"], dtype=torch.float64), torch.arange(6)
        check_differences(lambda: position.encode(index, like), parameters)
        return
    attention_checks.check_gradients(_candidate(make))


def check_deterministic(make: Candidate) -> None:
    """The same input gives the same bits, forward and backward."""
    if _kind(make) == "embedding":
        position = make().bind(**_SIZES)
        like, index = torch.randn(6, _SIZES["d_model"], requires_grad=True), torch.arange(6)
        check_repeats(lambda: like + position.encode(index, like), [like, *trained(position).values()])
        return
    attention_checks.check_deterministic(_candidate(make))


def check_state_dict(make: Candidate) -> None:
    """Another layer that loads the state dict computes the same."""
    if _kind(make) == "embedding":
        torch.manual_seed(1)
        first = make().bind(**_SIZES)
        torch.manual_seed(2)
        second = make().bind(**_SIZES)
        second.load_state_dict(first.state_dict())
        index, like = torch.arange(6), torch.randn(6, _SIZES["d_model"])
        same = torch.equal(first.encode(index, like), second.encode(index, like))
        assert same, "the state dict does not hold everything that the position computes with"
        return

    def build() -> Attention:
        """With a position of its own: what one drew while it was built would else be the same in both layers."""
        layer: Attention = _candidate(make)()
        return layer

    attention_checks.check_state_dict(build)


def _inside(check: Callable[[Callable[[], Attention]], None]) -> Callable[[Candidate], None]:
    """A check of attention layers, on softmax attention with this position."""

    def run(make: Candidate) -> None:
        check(partial(_candidate(make)))

    return run


def _kind(make: Candidate) -> str | None:
    return getattr(make.part, "acts_on", None)


def _candidate(make: Candidate) -> Candidate:
    if _kind(make) == "embedding":
        raise SkipTest("it acts on the embedding; see what the decoder promises")
    return Candidate(SoftmaxAttention, {**_SIZES, "position": make()})


_PROMISES = (
    ARGUMENTS,
    Promise(
        "kind",
        "Says what it acts on, and has a hook of its own for it",
        "The owner of the position would call nothing, and train a model without positions.",
        "Set acts_on on the class to query_key, score, embedding or nothing, and override transform(), score_bias() or "
        "encode() accordingly.",
        check_kind,
    ),
    Promise(
        "binding",
        "One template serves many layers, which share nothing",
        "Layers would train each other's positions, or a second model the first one's.",
        "Create what depends on the sizes in configure(), not in __init__; leave bind() alone.",
        check_binding,
    ),
    Promise(
        "shape",
        "Gives the shape and type asked for; rows one by one equal all at once",
        "The model fails at its first step, or generates other text than it was trained for.",
        "transform() places row r at index start + r and ends with .to(x.dtype); score_bias() is (H, Tq, Tk) or "
        "(H, 1, Tk), float64 where like is and else float32; encode() is (..., d) in the type of like.",
        check_shape,
    ),
    Promise(
        "defined",
        "Beyond the training length it is finite, or raises an ArgumentError that says so",
        "lmzoo extrapolate would score a model on nonsense.",
        "Compute angles in float64; raise ArgumentError('max_length', ...) where a table ends.",
        check_defined,
    ),
    Promise(
        "causality",
        "In softmax attention no row depends on a later token",
        "The model sees the token that it has to predict: perplexity in training is wrong, and too good.",
        "Use each row's own index and nothing of the other rows.",
        _inside(attention_checks.check_causality),
    ),
    Promise(
        "padding",
        "In softmax attention real tokens do not depend on padding, left or right",
        "A batch of prompts of unlike lengths gives other text than the same prompts alone.",
        "Left padding shifts the absolute indices of a sequence: scores may depend on distances alone.",
        _inside(attention_checks.check_padding),
    ),
    Promise(
        "cache",
        "In softmax attention cached equals full: chunked prefill and single steps",
        "Generated text is not what the trained model would say.",
        "transform() has to obey start; the last rows of score_bias(n_queries, n_keys) have to be the same for every "
        "n_queries.",
        _inside(attention_checks.check_cache),
    ),
    Promise(
        "finite",
        "No NaN or infinity, forward and backward, for zeros, large, tiny and equal inputs",
        "One unlucky batch ends a training run.",
        "Clamp what a logarithm, a power or a division meets.",
        _inside(attention_checks.check_finite),
    ),
    Promise(
        "gradients",
        "Gradients equal finite differences in float64",
        "The position trains towards something other than the loss.",
        "Look at detach() and at backward() of your autograd.Function; keep float64 as float64.",
        check_gradients,
    ),
    Promise(
        "half_precision",
        "In half precision the errors of softmax attention stay within twice those without position",
        "Training in bfloat16 learns less than it could.",
        "Compute sines, cosines and distances in float32 or more and round once.",
        _inside(attention_checks.check_half_precision),
    ),
    Promise(
        "memory",
        "Memory in training grows with T, not with T squared",
        "Long contexts run out of memory that they need not.",
        "A bias (H, Tq, Tk) is asked for in strips of rows, so never make more than the rows asked for; one that "
        "depends on the key alone, (H, 1, Tk), is cheaper still.",
        _inside(attention_checks.check_memory),
    ),
    Promise(
        "state_dict",
        "Its state dict holds everything that it computes with",
        "A model that was saved and loaded is another model.",
        "What is learned or drawn is a Parameter or a persistent buffer.",
        check_state_dict,
    ),
    Promise(
        "deterministic",
        "The same input gives the same bits twice",
        "Runs cannot be repeated, and resumed runs differ from uninterrupted ones.",
        "Draw nothing in the hooks.",
        check_deterministic,
    ),
)

POSITION_PROMISES = {promise.name: promise for promise in _PROMISES}
"""By name. Those of attention are tried on softmax attention with the position, unless it acts on the embedding."""
