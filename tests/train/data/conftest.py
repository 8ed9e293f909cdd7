"""Small corpora and a real one, read once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from lmzoo.tokenization import train_tokenizer
from lmzoo.train.data.corpus import Corpus, MissingSplitError
from lmzoo.train.data.python_docs import PythonDocs


class ListCorpus(Corpus):
    """Documents in memory."""

    name = "list"

    def __init__(self, word_rule: str = "whitespace", **splits: list[str]) -> None:
        self.splits = splits
        self.word_rule = word_rule
        self.reads = 0

    def documents(self, split: str) -> Iterator[str]:
        if split not in self.splits:
            raise MissingSplitError(split)
        self.reads += 1
        return iter(self.splits[split])

    def stamp(self, split: str):
        return None


@pytest.fixture(scope="session")
def list_corpus():
    """The class itself, since tests cannot import it from here."""
    return ListCorpus


@pytest.fixture(scope="session")
def small_texts() -> list[str]:
    """Documents with all that makes counting hard: shared characters, line ends, look-alikes of the separator."""
    return [
        "A first document, quite plain.\nWith two lines.\n",
        "日本語 and 👩\u200d👧 share bytes \u00a0 here",
        " \n = Title = \n \n one @-@ two <|endoftext|> three \r\n",
        "x",
        "   \n",
    ]


@pytest.fixture(scope="session")
def tokenizer(small_texts):
    return train_tokenizer([*small_texts, "a plain document with two lines of plain words"], 290)


@pytest.fixture(scope="session")
def python_docs() -> PythonDocs:
    corpus = PythonDocs()
    list(corpus.documents("test"))  # parses the library, which takes seconds, for all tests
    return corpus


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real corpora."""
    root = Path(os.environ.get("LMZOO_DATA") or Path(__file__).parents[4] / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no real corpora: {root} is no folder; set LMZOO_DATA")
    return root
