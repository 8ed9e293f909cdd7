"""Whether a model finds a number that it was told once, by depth and length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ....errors import require
from ...data.encode import separator_id
from ...figures.statistics.spread import mean_interval, share_interval
from ...storage import Record
from ..frame import Advance
from .probe import Probe, ProbeModel, Scores, stream, with_interval

_FILLER = (
    " The river runs past the old mill.",
    " A cart stands in the yard.",
    " Somebody has left the gate open.",
    " It is a mild and quiet day.",
    " Two boats lie on the bank.",
)
_TOLD = (" Keep this number in mind: the code of the safe is", ". It will be asked for later.")
_ASKED = " What is the code of the safe? The code of the safe is"
# Numbers that are tokenised to find out into how many tokens most of them fall.
_TRIED = 200


class PasskeyProbe(Probe):
    """A text of T tokens: filler, a sentence that tells a number, filler, a question, and the number as the answer.

    The sentence stands at depth 0 right after the document separator, at depth 1 right before the question. All parts
    are tokenised by themselves and joined as tokens, so the answer is, token for token, what the sentence held, and the
    text with its answer is T tokens long. Numbers are drawn evenly among those of ``digits`` digits that fall into the
    number of tokens that is the most common.

    Two scores, because a small model cannot answer and may still know. ``accuracy``: the greedy continuation is the
    number, all of it; chance is one over the numbers there are. ``ranked_first``: the number is likelier, whole, than
    every one of ``distractors`` other numbers, which were not told; chance is 1 / (distractors + 1), and among those
    that share the first place each counts its part. ``margin`` is the mean loss of the distractors less the loss of the
    number, in nats for the whole number.

    Args:
        samples: texts of each length and depth.
        depths: where the sentence stands.
        digits: of the number.
        distractors: other numbers that it is compared with.

    Raises:
        ArgumentError: a number is out of range.
    """

    name: ClassVar[str] = "passkey"

    def __init__(
        self,
        samples: int = 32,
        *,
        depths: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
        digits: int = 5,
        distractors: int = 4,
    ) -> None:
        require(samples >= 1, "samples", "1 or more", samples)
        inside = len(depths) > 0 and all(0.0 <= depth <= 1.0 for depth in depths)
        require(inside, "depths", "at least one number, each in [0, 1]", list(depths))
        require(2 <= digits <= 9, "digits", "2 to 9", digits)
        require(1 <= distractors <= 16, "distractors", "1 to 16", distractors)
        self.samples = samples
        self.depths = tuple(depths)
        self.digits = digits
        self.distractors = distractors

    def prepare(self, tokenizer: PreTrainedTokenizerBase, lengths: list[int]) -> None:
        self._tokenizer = tokenizer
        self.separator = separator_id(tokenizer)
        self._filler = [self._encode(sentence) for sentence in _FILLER]
        self._told = [self._encode(part) for part in _TOLD]
        self._asked = self._encode(_ASKED)
        numbers = torch.randint(10**self.digits, (_TRIED,), generator=stream(0, "key tokens")).tolist()
        answers = {tuple(self._encode(self._answer(number))) for number in numbers}
        self.key_tokens, different = Counter(map(len, answers)).most_common(1)[0]
        expected = f"one that tells more than {self.distractors} numbers of {self.digits} digits apart"
        require(different > self.distractors, "tokenizer", expected, f"{different} of {len(set(numbers))}")
        least = 1 + len(self._asked) + sum(map(len, self._told)) + 2 * self.key_tokens
        require(min(lengths) >= least, "lengths", f"at least {least} tokens for the passkey probe", min(lengths))

    def tokens(self, length: int) -> int:
        return len(self.depths) * self.samples * length

    def texts(self, length: int, depth: float, seed: int) -> tuple[Tensor, Tensor]:
        """Texts without their answers, (samples, T - n), and the numbers, (1 + distractors, samples, n).

        The first number is the one that was told.
        """
        generator = stream(seed, self.name, length, depth)
        prefixes, answers = [], []
        for _ in range(self.samples):
            numbers = self._numbers(generator)
            told = [*self._told[0], *numbers[0], *self._told[1]]
            room = length - 1 - len(told) - len(self._asked) - self.key_tokens
            filler = self._fill(room, generator)
            cut = round(depth * room)
            prefixes.append([self.separator, *filler[:cut], *told, *filler[cut:], *self._asked])
            answers.append(numbers)
        return torch.tensor(prefixes), torch.tensor(answers).transpose(0, 1)

    def measure(self, model: ProbeModel, length: int, seed: int, advance: Advance) -> list[Record]:
        return [self._record(model, length, depth, seed, advance) for depth in self.depths]

    def _record(self, model: ProbeModel, length: int, depth: float, seed: int, advance: Advance) -> Record:
        prefixes, answers = self.texts(length, depth, seed)
        rows = model.rows(length)
        parts = []
        for prefix, answer in zip(prefixes.split(rows), answers.split(rows, dim=1)):
            parts.append(model.continuations(prefix, answer))
            advance(len(prefix) * length)
        scores = Scores(*(torch.cat(part, dim=1) for part in zip(*parts)))
        nll = scores.nll.sum(dim=-1)  # (1 + distractors, samples)
        accuracy = float(scores.hit[0].all(dim=-1).double().mean())
        best = nll == nll.amin(dim=0)
        ranked = float((best[0].double() / best.sum(dim=0)).mean())
        return {
            "probe": self.name,
            "length": length,
            "depth": depth,
            "samples": self.samples,
            "digits": self.digits,
            "key_tokens": self.key_tokens,
            "distractors": self.distractors,
            **with_interval("accuracy", accuracy, *share_interval(accuracy, self.samples)),
            "chance_accuracy": 10.0**-self.digits,
            **with_interval("ranked_first", ranked, *share_interval(ranked, self.samples)),
            "chance_ranked_first": 1.0 / (1 + self.distractors),
            "key_loss": math.fsum(nll[0].tolist()) / self.samples,
            **with_interval("margin", *mean_interval((nll[1:].mean(dim=0) - nll[0]).tolist())),
            "seed": seed,
        }

    def _numbers(self, generator: torch.Generator) -> list[list[int]]:
        """Tokens of 1 + distractors different numbers, all equally long."""
        found: dict[int, list[int]] = {}
        while len(found) <= self.distractors:
            number = int(torch.randint(10**self.digits, (), generator=generator))
            ids = self._encode(self._answer(number))
            if len(ids) == self.key_tokens and ids not in found.values():
                found[number] = ids
        return list(found.values())

    def _answer(self, number: int) -> str:
        return f" {number:0{self.digits}d}"

    def _fill(self, room: int, generator: torch.Generator) -> list[int]:
        """``room`` tokens of filler: the sentences in turn, the first one drawn, the last one cut."""
        turn = int(torch.randint(len(self._filler), (), generator=generator))
        filler: list[int] = []
        while len(filler) < room:
            filler += self._filler[turn % len(self._filler)]
            turn += 1
        return filler[:room]

    def _encode(self, text: str) -> list[int]:
        encoded: Any = self._tokenizer(text, add_special_tokens=False)
        return list(encoded["input_ids"])
