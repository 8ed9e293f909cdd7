"""The share of training documents that settings are chosen by."""

import pytest
from lmzoo.errors import ArgumentError
from lmzoo.train.data import TextDataModule
from lmzoo.train.data.corpus import CorpusError, MissingSplitError, text_facts
from lmzoo.train.data.sources import Withheld

TEXTS = [f"document {i} says {i * i % 97}\n" for i in range(41)]


@pytest.mark.parametrize(("fraction", "kept_back"), [(0.001, 1), (0.05, 3), (0.5, 21), (0.97, 40)])
def test_training_and_validation_part_the_training_documents(list_corpus, fraction, kept_back):
    corpus = Withheld(list_corpus(train=TEXTS, validation=["never"], test=["never"]), fraction)
    training, validation = list(corpus.documents("train")), list(corpus.documents("validation"))
    assert len(validation) == kept_back
    assert sorted(training + validation) == sorted(TEXTS)
    assert training == [text for text in TEXTS if text in training], "in their order"
    assert validation == [text for text in TEXTS if text in validation]
    assert not corpus.has("test")
    with pytest.raises(MissingSplitError):
        corpus.documents("test").__next__()


def test_which_documents_does_not_hang_on_their_order(list_corpus):
    forth = Withheld(list_corpus(train=TEXTS), 0.2).documents("validation")
    back = Withheld(list_corpus(train=TEXTS[::-1]), 0.2).documents("validation")
    assert set(forth) == set(back)


def test_a_larger_share_holds_the_smaller_and_equal_documents_stay_together(list_corpus):
    small, large = (set(Withheld(list_corpus(train=TEXTS), f).documents("validation")) for f in (0.1, 0.4))
    assert small < large
    doubled = Withheld(list_corpus(train=TEXTS * 2), 0.1)
    assert not set(doubled.documents("train")) & set(doubled.documents("validation"))


@pytest.mark.parametrize("texts", [["alone"], ["same", "same"]])
def test_a_text_too_small_to_part(list_corpus, texts):
    with pytest.raises(CorpusError, match="nothing would be left to train on"):
        list(Withheld(list_corpus(train=texts), 0.05).documents("train"))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_share_is_between_nothing_and_all(list_corpus, fraction):
    with pytest.raises(ArgumentError, match="tuning_fraction"):
        Withheld(list_corpus(train=TEXTS), fraction)


def test_facts_remembered_by_stamp_are_of_this_share(tmp_path):
    for name in ("train", "validation", "test"):
        (tmp_path / f"{name}.txt").write_text("".join(f'<doc id="{i}">\n{name} {i}\n</doc>\n' for i in range(20)))
    data = {f: TextDataModule(str(tmp_path), vocab_size=260, tuning_fraction=f) for f in (None, 0.1, 0.4)}
    found = {f: text_facts(d.corpus, "train", tmp_path / "cache").documents for f, d in data.items()}
    assert found == {None: 20, 0.1: 18, 0.4: 12}
    assert text_facts(data[0.4].corpus, "validation", tmp_path / "cache").documents == 8


def test_the_tokenizer_is_that_of_the_whole_training_text(python_docs, tmp_path):
    whole, part = (
        TextDataModule("python-docs", vocab_size=300, context_length=16, cache_dir=str(tmp_path), tuning_fraction=f)
        for f in (None, 0.05)
    )
    assert part.passport("validation")["tokenizer_sha256"] == whole.passport("validation")["tokenizer_sha256"]
    texts = {d.passport(split)["text_sha256"] for d in (whole, part) for split in ("train", "validation")}
    assert len(texts) == 4
    assert part.passport("validation")["corpus"] == "python-docs, 5 % of train withheld"
    documents = [
        d.passport(split)["documents"] for d, split in ((whole, "train"), (part, "train"), (part, "validation"))
    ]
    assert documents[0] == documents[1] + documents[2]
    assert part.splits == ("train", "validation")
