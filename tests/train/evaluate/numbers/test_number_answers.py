"""Exact match: played by models whose answers are known, and by a real one whose cache must not matter."""

import math

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.models import Decoder
from lmzoo.tokenization import train_tokenizer
from lmzoo.tokenization.arithmetic import KINDS, addition, subtraction
from lmzoo.tokenization.arithmetic_problems import ArithmeticProblems
from lmzoo.train.evaluate.numbers.answers import (
    _continued,
    are_right,
    probe_problems,
    problems_sha256,
    share,
    strata_records,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

PROBLEMS = [addition(12, 34), addition(999, 1), subtraction(40, 8), addition(7, 5)]


@pytest.fixture(scope="module")
def tokenizer():
    problems = ArithmeticProblems(0, 3)
    return train_tokenizer([problems.problem("train", i).text for i in range(2000)], 400)


class Played:
    """Says ``answers[prompt]`` in single bytes or in the tokenizer's tokens, then a line end, then nonsense."""

    def __init__(self, tokenizer, answers, *, by_byte=False):
        self.tokenizer, self.answers, self.by_byte = tokenizer, answers, by_byte
        self.calls = 0

    def hidden(self, ids, mask, cache):
        self.calls += 1
        past = getattr(cache, "played", None)
        cache.played = ids if past is None else torch.cat([past, ids], dim=1)
        assert mask is None
        assert (cache.played[:, 0] == self.tokenizer.bos_token_id).all()
        return torch.stack([self.next(row.tolist()[1:]) for row in cache.played])[:, None]

    def head(self, hidden):
        return hidden

    def next(self, ids):
        text = self.tokenizer.decode(ids)
        prompt, equals, said = text.partition("=")
        full = self.answers[prompt + equals] + "\n+"
        rest = full[len(said) :] or "+"
        encoded = self.tokenizer(rest[0] if self.by_byte else rest)["input_ids"]
        return torch.nn.functional.one_hot(torch.tensor(encoded[0]), len(self.tokenizer)).float()


def answered(tokenizer, answers, **how) -> list[bool]:
    done = []
    played = Played(tokenizer, answers, **how)
    right = are_right(played, tokenizer, PROBLEMS, batch_size=2, advance=done.append)
    assert sum(done) == len(PROBLEMS)
    return right


def test_right_answers_are_right_however_they_are_spelt(tokenizer):
    answers = {problem.prompt: problem.answer for problem in PROBLEMS}
    assert answered(tokenizer, answers) == [True] * 4
    assert answered(tokenizer, answers, by_byte=True) == [True] * 4


@pytest.mark.parametrize("wrong", [" 47", " 460", " 4", "46", " 46 ", "", " 46 + 1"])
def test_anything_else_is_wrong(tokenizer, wrong):
    answers = {problem.prompt: problem.answer for problem in PROBLEMS} | {PROBLEMS[0].prompt: wrong}
    assert answered(tokenizer, answers) == [False, True, True, True]


def test_continuing_ends_with_the_last_line_end(tokenizer):
    played = Played(tokenizer, {"1 + 1 =": " 2", "1 + 2 =": " 3"})
    ids = torch.tensor([[0, *tokenizer(prompt)["input_ids"]] for prompt in played.answers])
    ends = torch.tensor(["\n" in tokenizer.decode([i]) for i in range(len(tokenizer))])
    tokens = _continued(played, ids, 50, ends)
    assert [tokenizer.decode(row) for row in tokens] == [" 2\n", " 3\n"]
    assert played.calls == tokens.size(1)


def test_the_cache_changes_nothing():
    torch.manual_seed(0)
    network = Decoder(40, 32, 2, 4, init_std=0.3).eval()
    ids = torch.randint(40, (3, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = _continued(network, ids, 8, torch.zeros(40, dtype=torch.bool))
        whole = ids
        for _ in range(8):
            whole = torch.cat([whole, network(whole)[:, -1:].argmax(dim=-1)], dim=1)
    assert torch.equal(tokens, whole[:, 9:])
    assert len(set(tokens.flatten().tolist())) > 4


def test_a_tokenizer_that_joins_prompt_and_answer_is_refused():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator([PROBLEMS[0].text] * 50, BpeTrainer(vocab_size=300, special_tokens=["<|end|>"]))
    joined = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")
    with pytest.raises(ArgumentError, match="tokenizer: expected one that cuts a line after its sign '='"):
        are_right(Played(joined, {}), joined, PROBLEMS[:1], batch_size=1, advance=lambda n: None)


def test_strata_count_every_problem_once_by_kind_and_once_by_carries():
    problems = probe_problems(ArithmeticProblems(0), 3, 8)
    right = [len(problem.prompt) % 3 > 0 for problem in problems]
    records = strata_records(problems, right, 2)
    by_kind = [record for record in records if record["probe"] == "exact_match"]
    assert sum(record["problems"] for record in by_kind) == len(problems)
    assert sum(record["right"] for record in by_kind) == sum(right)
    assert {(r["operation"], r["kind"]) for r in by_kind} == {(o, k) for o, kinds in KINDS.items() for k in kinds}
    assert all(record["trained_length"] == (record["digits"] <= 2) for record in records)
    one = next(r for r in by_kind if (r["operation"], r["digits"], r["kind"]) == ("addition", 3, "carry"))
    own = [
        ok
        for p, ok in zip(problems, right, strict=True)
        if (p.operation, p.digits, p.kind) == tuple(one[key] for key in ("operation", "digits", "kind"))
    ]
    assert (one["problems"], one["right"]) == (len(own), sum(own)) == (8, sum(own))
    by_carries = [r for r in records if r["probe"] == "exact_match_by_carries"]
    for operation in ("addition", "subtraction"):
        asked = sum(problem.operation == operation for problem in problems)
        assert sum(r["problems"] for r in by_carries if r["operation"] == operation) == asked
    carried = {r["carries"] for r in by_carries if r["operation"] == "addition" and r["digits"] == 3}
    assert carried <= {0, 1, 2, 3}
    assert len(carried) > 2
    assert strata_records(problems, right, None)[0]["trained_length"] is None


def test_wilsons_interval():
    z = 1.959963984540054
    for right, n in ((0, 10), (7, 10), (10, 10), (63, 100)):
        p = right / n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        found = share(right, n)
        assert (found["right"], found["problems"], found["exact_match"]) == (right, n, p)
        assert (found["low"], found["high"]) == pytest.approx((centre - half, centre + half), abs=1e-12)


def test_the_hash_is_of_the_problems_in_their_order():
    assert problems_sha256(PROBLEMS) == problems_sha256(list(PROBLEMS))
    assert problems_sha256(PROBLEMS) != problems_sha256(PROBLEMS[::-1])
