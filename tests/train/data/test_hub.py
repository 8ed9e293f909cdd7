"""Data sets of the hub, with the download replaced by tables in memory."""

import datasets
import pytest
from lmzoo.train.data.errors import CorpusError, MissingSplitError
from lmzoo.train.data.sources import load_source
from lmzoo.train.data.splitting import split_of


@pytest.fixture
def hub(monkeypatch):
    """Calls made, and what to answer: split -> columns, or an error."""
    state = {"calls": [], "answer": {}}

    def load_dataset(path, config=None, *, split=None):
        state["calls"].append((path, config, split))
        if isinstance(state["answer"], Exception):
            raise state["answer"]
        tables = {name: datasets.Dataset.from_dict(columns) for name, columns in state["answer"].items()}
        return tables[split] if split else datasets.DatasetDict(tables)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.delenv("LMZOO_DATA", raising=False)
    return state


def test_splits_of_a_data_set(hub):
    hub["answer"] = {"train": {"text": ["a", "", "b"]}, "dev": {"text": ["c"]}}
    corpus = load_source("hub:owner/name:config")
    assert list(corpus.documents("train")) == ["a", "b"]
    assert list(corpus.documents("validation")) == ["c"]
    with pytest.raises(MissingSplitError, match="hub:owner/name:config has no split test; it has train, dev"):
        list(corpus.documents("test"))
    assert hub["calls"] == [("owner/name", "config", None)]


def test_a_data_set_with_train_alone_is_split_by_text(hub):
    rows = [f"row {i}" for i in range(300)]
    hub["answer"] = {"train": {"text": rows}}
    corpus = load_source("hub:owner/name")
    documents = {split: list(corpus.documents(split)) for split in ("train", "validation", "test")}
    assert sorted(text for texts in documents.values() for text in texts) == sorted(rows)
    assert all(documents.values())
    assert all(split_of(text) == split for split, texts in documents.items() for text in texts)


def test_the_only_column_of_strings_is_the_text(hub):
    hub["answer"] = {"train": {"id": [1], "content": ["x"]}, "test": {"id": [2], "content": ["y"]}}
    assert list(load_source("hub:o/n").documents("test")) == ["y"]
    hub["answer"] = {"train": {"a": ["x"], "b": ["y"]}, "test": {"a": ["x"], "b": ["y"]}}
    with pytest.raises(CorpusError, match="no column named text; its columns of strings are a, b"):
        list(load_source("hub:o/n").documents("test"))


def test_wikitext_rows_become_the_official_file(hub):
    official = " \n = A = \n \n text , here . \n \n = = S = = \n \n \n = B = \n \n more \n"
    rows = [line if line.strip() else "" for line in official.splitlines(keepends=True)]
    hub["answer"] = {"test": {"text": rows}}
    documents = list(load_source("wikitext-103", raw=True).documents("test"))
    assert "".join(documents) == official
    assert len(documents) == 2
    assert hub["calls"] == [("Salesforce/wikitext", "wikitext-103-raw-v1", "test")]


def test_offline_and_without_a_copy_the_error_says_how_to_go_on(hub, tmp_path, monkeypatch):
    hub["answer"] = ConnectionError("no route")
    corpus = load_source("wikitext-103")
    with pytest.raises(MissingSplitError) as error:
        list(corpus.documents("train"))
    for part in (
        "wikitext-103, split train",
        "LMZOO_DATA is not set",
        "ConnectionError: no route",
        "source: python-docs",
    ):
        assert part in str(error.value)

    folder = tmp_path / "wikitext-103"
    folder.mkdir()
    (folder / "wiki.train.head.tokens.xz").write_bytes(b"")
    monkeypatch.setenv("LMZOO_DATA", str(tmp_path))
    with pytest.raises(MissingSplitError) as error:
        list(corpus.documents("train"))
    for part in ("wiki.train.tokens or train.txt", str(folder), "wiki.train.head.tokens.xz", "set LMZOO_DATA"):
        assert part in str(error.value)
    assert not corpus.has("train")


def test_a_data_set_that_cannot_be_loaded(hub):
    hub["answer"] = FileNotFoundError("no such repository")
    with pytest.raises(CorpusError, match="the hub's o/n could not be loaded: FileNotFoundError: no such repository"):
        list(load_source("hub:o/n").documents("train"))
