"""What an analysis is asked to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ....errors import require

# A full context of a small model is often 128 or 256 tokens; both parts fit into either.
PROMPT_TOKENS = 32
NEW_TOKENS = 96


@dataclass(frozen=True)
class AnalysisSettings:
    """Settings of ``lmzoo analyze``, and of a comparison file's ``analyze:``.

    Args:
        split: text to score and to cut prompts from.
        prompts: how many continuations; 0 leaves them out.
        prompt_tokens: tokens of a prompt; 32 if None, or a quarter of the training length where that is less.
        new_tokens: tokens of a continuation; 96 if None, or what the training length leaves after the prompt where
            that is less, so that a model is not judged at lengths it was not trained for.
        seed: of the prompts' places and of sampling.

    Raises:
        ArgumentError: a value is out of range.
    """

    split: str = "test"
    prompts: int = 64
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.split in ("validation", "test"), "split", "validation or test", self.split)
        require(type(self.prompts) is int and self.prompts >= 0, "prompts", "0 or more", self.prompts)
        for name in ("prompt_tokens", "new_tokens"):
            value = getattr(self, name)
            require(value is None or (type(value) is int and value >= 1), name, "null, or 1 or more", value)
        require(type(self.seed) is int and self.seed >= 0, "seed", "0 or more", self.seed)

    def lengths(self, train_length: int) -> tuple[int, int]:
        """Tokens of a prompt and of its continuation, for a model trained on contexts of ``train_length``."""
        prompt = self.prompt_tokens or max(1, min(PROMPT_TOKENS, train_length // 4))
        return prompt, self.new_tokens or max(1, min(NEW_TOKENS, train_length - prompt))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    def as_words(self) -> list[str]:
        """The options of ``lmzoo analyze`` that ask for the same."""
        return [word for key, value in asdict(self).items() if value is not None for word in (f"--{key}", str(value))]
