"""The embedded corpus: real prose, split without leaks, the same on every machine with this Python."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lmzoo.train.data.corpus import CorpusError
from lmzoo.train.data.python_docs import PythonDocs

SPLITS = ("train", "validation", "test")


def collapsed(text: str) -> str:
    return " ".join(text.split())


def paragraphs(text: str) -> list[str]:
    return [collapsed(p) for p in re.split(r"\n\s*\n", text) if len(collapsed(p)) >= 80]


def test_size_and_shares(python_docs):
    sizes = {split: sum(len(text.encode()) for text in python_docs.documents(split)) for split in SPLITS}
    words = sum(len(text.split()) for split in SPLITS for text in python_docs.documents(split))
    assert 1_500_000 < sum(sizes.values()) < 4_000_000
    assert 200_000 < words < 600_000
    assert 0.85 < sizes["train"] / sum(sizes.values()) < 0.95
    assert min(sizes.values()) > 50_000


def test_no_long_paragraph_of_evaluation_stands_in_another_split(python_docs):
    texts = {split: [collapsed(text) for text in python_docs.documents(split)] for split in SPLITS}
    whole = {split: "\n".join(texts[split]) for split in SPLITS}
    checked = 0
    for split in ("validation", "test"):
        others = [whole[other] for other in SPLITS if other != split]
        for document in python_docs.documents(split):
            for paragraph in paragraphs(document):
                checked += 1
                assert not any(paragraph in other for other in others), paragraph
    assert checked > 300


def test_it_is_prose_about_python(python_docs):
    train = "\n".join(python_docs.documents("train"))
    everything = train + "\n".join(python_docs.documents("validation")) + "\n".join(python_docs.documents("test"))
    assert 'The "assert" statement' in everything
    assert "shallow copy" in everything
    assert all(text.strip() and text.endswith("\n") for text in python_docs.documents("validation"))


def test_split_and_order_do_not_depend_on_how_files_are_listed(tmp_path, monkeypatch):
    for i in range(40):
        (tmp_path / f"module_{i}.py").write_text(f'"""Module number {i} does something that takes a while to say."""\n')
    before = {split: list(PythonDocs(tmp_path).documents(split)) for split in SPLITS}
    listing = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: reversed(list(listing(self, pattern))))
    assert {split: list(PythonDocs(tmp_path).documents(split)) for split in SPLITS} == before
    assert sum(map(len, before.values())) == 40


def test_modules_are_parsed_never_imported(tmp_path):
    (tmp_path / "danger.py").write_text(
        '"""Top.\n\n    Indented.\n"""\nraise SystemExit\n'
        'class A:\n    """Of A."""\n    def f(self):\n        "Of f."\n'
    )
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    for folder in ("test", "site-packages", "idlelib/idle_test"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "t.py").write_text('"""Left out."""\n')
    corpus = PythonDocs(tmp_path)
    documents = [text for split in SPLITS for text in corpus.documents(split)]
    assert documents == ["Top.\n\nIndented.\n\nOf A.\n\nOf f.\n"]


def test_repeated_paragraphs_are_kept_once_and_short_ones_stay(tmp_path):
    long = "This paragraph is long enough to count as one that nobody writes twice by chance, so it is kept once."
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.py").write_text(f'"""Short.\n\n{long}\n\nOf {name}."""\n')
    corpus = PythonDocs(tmp_path)
    documents = {text for split in SPLITS for text in corpus.documents(split)}
    assert documents == {f"Short.\n\n{long}\n\nOf a.\n", "Short.\n\nOf b.\n", "Short.\n\nOf c.\n"}


def test_lone_surrogates_are_written_as_escapes(tmp_path):
    (tmp_path / "a.py").write_text('"""A lone \\udc80 surrogate."""\n')
    corpus = PythonDocs(tmp_path)
    assert [text for split in SPLITS for text in corpus.documents(split)] == ["A lone \\udc80 surrogate.\n"]


def test_an_interpreter_without_sources(tmp_path):
    with pytest.raises(CorpusError, match=r"no docstring found in .*Use another interpreter"):
        list(PythonDocs(tmp_path).documents("train"))


@pytest.mark.slow
def test_the_same_in_another_process(python_docs):
    program = (
        "import hashlib\n"
        "from lmzoo.train.data.python_docs import PythonDocs\n"
        "print(hashlib.sha256('|'.join(PythonDocs().documents('validation')).encode()).hexdigest())\n"
    )
    ours = hashlib.sha256("|".join(python_docs.documents("validation")).encode()).hexdigest()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == ours
