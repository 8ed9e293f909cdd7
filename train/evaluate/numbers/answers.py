"""What a model answers to arithmetic problems, and how often that is right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ....errors import require
from ....layers.attention.cache import KeyCache
from ....models import Decoder
from ....tokenization.arithmetic import KINDS, OPERATIONS, Problem
from ....tokenization.arithmetic_problems import ArithmeticProblems
from ...data.encode import separator_id, text_pipeline
from ...figures.statistics.spread import share_interval
from ...storage import Record


def probe_problems(problems: ArithmeticProblems, longest: int, count: int) -> list[Problem]:
    """Up to ``count`` problems of the test split for each operation, length up to ``longest`` and kind.

    Of a kind that a length has too few of, all there are; see :meth:`ArithmeticProblems.stratum`.
    """
    return [
        problem
        for operation in OPERATIONS
        for digits in range(1, longest + 1)
        for kind in KINDS[operation]
        for problem in problems.stratum("test", operation, digits, kind, count)
    ]


def problems_sha256(problems: Sequence[Problem]) -> str:
    """SHA-256 of the problems' lines in their order."""
    return hashlib.sha256("".join(problem.text for problem in problems).encode("ascii")).hexdigest()


@torch.no_grad()
def are_right(
    network: Decoder,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    batch_size: int,
    advance: Callable[[int], None],
) -> list[bool]:
    """Whether the model ends each line as it should be: exact match of the answer and of the line's end.

    Every problem begins a document, as the first line of 16 does in training, and is continued with the likeliest
    token each time. Problems of equally many tokens are continued together, so that none is padded.

    Args:
        network: in evaluation mode.
        tokenizer: its own.
        problems: in any order.
        batch_size: problems continued together.
        advance: told the number of problems done.

    Raises:
        ArgumentError: the tokenizer joins characters of the prompt with some of the answer.
    """
    pipeline = text_pipeline(tokenizer)
    separator = separator_id(tokenizer)
    lines = [pipeline.encode(problem.text, add_special_tokens=False).ids for problem in problems]
    prompts = [pipeline.encode(problem.prompt, add_special_tokens=False).ids for problem in problems]
    by_length: dict[int, list[int]] = {}
    for i, (line, prompt) in enumerate(zip(lines, prompts, strict=True)):
        expected = "one that cuts a line after its sign '='"
        require(line[: len(prompt)] == prompt, "tokenizer", expected, problems[i].text)
        by_length.setdefault(len(prompt), []).append(i)
    ends = torch.tensor([i == separator or "\n" in tokenizer.decode([i]) for i in range(len(tokenizer))])
    right = [False] * len(problems)
    for group in by_length.values():
        for first in range(0, len(group), batch_size):
            batch = group[first : first + batch_size]
            # an answer may be spelt in smaller tokens than the tokenizer would choose: down to its single bytes
            most = max(max(len(lines[i]) - len(prompts[i]), len(problems[i].answer) + 1) for i in batch)
            given = torch.tensor([[separator, *prompts[i]] for i in batch])
            for i, ids in zip(batch, _continued(network, given, most, ends).tolist(), strict=True):
                right[i] = tokenizer.decode(prompts[i] + ids).startswith(problems[i].text)
            advance(len(batch))
    return right


def strata_records(problems: Sequence[Problem], right: Sequence[bool], train_digits: int | None) -> list[Record]:
    """A record for each (operation, digits, kind), then one for each (operation, digits, carries).

    The second kind counts the same problems again, by the number of places that carry.

    Args:
        problems: what was asked.
        right: whether the answers were right.
        train_digits: the longest operands in training; None where the model was not trained on such problems.
    """
    by_kind: dict[tuple[str, int, str], list[bool]] = {}
    by_carries: dict[tuple[str, int, int], list[bool]] = {}
    for problem, one in zip(problems, right, strict=True):
        by_kind.setdefault((problem.operation, problem.digits, problem.kind), []).append(one)
        if problem.operation in ("addition", "subtraction"):
            by_carries.setdefault((problem.operation, problem.digits, problem.carries), []).append(one)

    def record(probe: str, operation: str, digits: int, **stratum: Any) -> Record:
        trained = None if train_digits is None else digits <= train_digits
        return {"probe": probe, "operation": operation, "digits": digits, "trained_length": trained, **stratum}

    return [
        *(
            record("exact_match", operation, digits, kind=kind) | share(sum(answers), len(answers))
            for (operation, digits, kind), answers in by_kind.items()
        ),
        *(
            record("exact_match_by_carries", operation, digits, carries=carries) | share(sum(answers), len(answers))
            for (operation, digits, carries), answers in sorted(by_carries.items())
        ),
    ]


def share(right: int, problems: int) -> Record:
    """The share of right answers with Wilson's 95 % interval, which also holds near 0 and 1."""
    low, high = share_interval(right / problems, problems)
    return {"problems": problems, "right": right, "exact_match": right / problems, "low": low, "high": high}


def _continued(network: Decoder, ids: Tensor, most: int, ends: Tensor) -> Tensor:
    """Up to ``most`` further tokens of (B, T) ids, fewer where every row has met an end before; (B, n)."""
    cache = KeyCache()
    tokens: list[Tensor] = []
    ended = torch.zeros(ids.size(0), dtype=torch.bool)
    while len(tokens) < most and not bool(ended.all()):
        ids = network.head(network.hidden(ids, None, cache)[:, -1:]).argmax(dim=-1)
        tokens.append(ids)
        ended |= ends[ids[:, 0]]
    return torch.cat(tokens, dim=1)
