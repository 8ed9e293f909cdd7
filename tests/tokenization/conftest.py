"""A tokenizer trained once for all tests of the folder."""

import pytest
from lmzoo.tokenization import train_tokenizer

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog's 1,234 fleas jump too.\n",
    "Naïve café — 日本語のテキスト, 3.14159 and 2.71828.\r\n\tindented   spaces\n",
    "def f(x):\n    return x ** 2 + 10 * x - 100  # a comment\n" * 3,
]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return TEXTS


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(TEXTS, 330)
