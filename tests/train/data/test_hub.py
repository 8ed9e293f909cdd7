"""Data sets of the hub, with the download replaced by tables in memory."""

import logging
import time

import datasets
import huggingface_hub
import pytest
from lmzoo.train.data.corpus import CorpusError, MissingSplitError
from lmzoo.train.data.files import split_of
from lmzoo.train.data.sources import load_source


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
    monkeypatch.setattr("lmzoo.train.data.hub.hub_silence", lambda: None)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("LMZOO_DATA", raising=False)
    return state


def test_splits_of_a_data_set(hub):
    hub["answer"] = {"train": {"text": ["a", "", "b"]}, "dev": {"text": ["c"]}}
    corpus = load_source("hub:owner/name:config")
    assert list(corpus.documents("train")) == ["a", "b"]
    assert list(corpus.documents("validation")) == ["c"]
    with pytest.raises(MissingSplitError, match=r"hub:owner/name:config has no split test; it has train, dev$"):
        list(corpus.documents("test"))
    assert hub["calls"] == [("owner/name", "config", None)]


def test_a_data_set_without_validation_says_how_to_train_all_the_same(hub):
    hub["answer"] = {"train": {"text": ["a"]}, "test": {"text": ["b"]}}
    corpus = load_source("hub:o/n")
    assert not corpus.has("validation")
    with pytest.raises(MissingSplitError, match=r"it has train, test; --trainer\.limit_val_batches 0 trains without"):
        list(corpus.documents("validation"))


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


def test_without_a_connection_nothing_is_known_of_a_split_and_the_error_says_how_to_go_on(hub, tmp_path, monkeypatch):
    hub["answer"] = ConnectionError("no route")
    corpus = load_source("wikitext-103")
    for ask in (lambda: list(corpus.documents("train")), lambda: corpus.has("train")):
        with pytest.raises(CorpusError) as error:
            ask()
        assert not isinstance(error.value, MissingSplitError)
        for part in (
            "wikitext-103, split train",
            "LMZOO_DATA is not set",
            "ConnectionError: no route",
            "set LMZOO_DATA",
            "HF_HUB_OFFLINE=1",
            "source: python-docs",
        ):
            assert part in str(error.value)

    folder = tmp_path / "wikitext-103"
    folder.mkdir()
    (folder / "wiki.train.head.tokens.xz").write_bytes(b"")
    monkeypatch.setenv("LMZOO_DATA", str(tmp_path))
    with pytest.raises(CorpusError) as error:
        corpus.has("train")
    for part in ("wiki.train.tokens or train.txt", str(folder), "wiki.train.head.tokens.xz", "set LMZOO_DATA"):
        assert part in str(error.value)


def test_a_split_is_missing_where_a_local_copy_lacks_it_and_the_hub_is_ruled_out(hub, tmp_path, monkeypatch):
    hub["answer"] = ConnectionError("offline")
    (tmp_path / "wikitext-2").mkdir()
    (tmp_path / "wikitext-2" / "wiki.train.tokens").write_text(" \n = A = \n \n x \n")
    monkeypatch.setenv("LMZOO_DATA", str(tmp_path))
    corpus = load_source("wikitext-2")
    with pytest.raises(CorpusError):
        corpus.has("validation")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert corpus.has("train")
    assert not corpus.has("validation")
    with pytest.raises(MissingSplitError, match=r"--trainer\.limit_val_batches 0 trains without validation"):
        list(corpus.documents("validation"))
    with pytest.raises(CorpusError) as error:  # no local copy of any split: it is the corpus that is out of reach
        load_source("wikitext-103").has("validation")
    assert not isinstance(error.value, MissingSplitError)


def test_a_hub_that_does_not_answer_is_asked_once_and_quietly(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    begin = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(CorpusError) as error:
        load_source("hub:lmzoo-tests/not-there").has("train")
    assert time.monotonic() - begin < 10
    assert "http://127.0.0.1:9 does not answer" in str(error.value)
    assert "HF_HUB_OFFLINE=1" in str(error.value)
    assert not [record for record in caplog.records if record.name.startswith("huggingface_hub")]
    assert datasets.config.HF_HUB_OFFLINE is False


def test_a_data_set_that_cannot_be_loaded(hub):
    hub["answer"] = FileNotFoundError("no such repository")
    with pytest.raises(CorpusError, match="the hub's o/n could not be loaded: FileNotFoundError: no such repository"):
        list(load_source("hub:o/n").documents("train"))
