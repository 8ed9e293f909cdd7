"""What a sample is, in training and in evaluation."""

import pickle

import numpy as np
import pytest
import torch
from lmzoo.train.data.corpus import CorpusError
from lmzoo.train.data.encode import prepare_split
from lmzoo.train.data.windows import EvaluationWindows, TrainingWindows, window_shift


@pytest.fixture
def prepared(list_corpus, tokenizer, small_texts, tmp_path):
    corpus = list_corpus("whitespace+eol", train=small_texts * 3, validation=small_texts * 3)
    return {split: prepare_split(corpus, split, tokenizer, tmp_path) for split in ("train", "validation")}


@pytest.mark.parametrize("T", [1, 2, 7, 16])
@pytest.mark.parametrize("epoch", [0, 1, 2, 11])
def test_training_windows_are_slices_at_the_epochs_shift(prepared, T, epoch):
    train = prepared["train"]
    windows = TrainingWindows(train, T, seed=4)
    shift = window_shift(4, epoch, T)
    assert len(windows) == windows.samples == (train.length - T) // T
    for i in range(len(windows)):
        ids = windows[(epoch, i)]["input_ids"]
        assert ids.dtype == torch.int64
        assert ids.tolist() == train.tokens[shift + i * T : shift + i * T + T + 1].tolist()
        assert len(ids) == T + 1


def test_every_target_of_epoch_0_is_trained_on_once(prepared):
    train = prepared["train"]
    windows = TrainingWindows(train, 7, seed=0)
    targets = np.concatenate([windows[(0, i)]["input_ids"][1:].numpy() for i in range(len(windows))])
    np.testing.assert_array_equal(targets, train.tokens[1 : 1 + len(targets)])
    assert train.length - len(targets) <= 14


def test_the_training_split_can_be_too_short(prepared):
    length = prepared["train"].length
    assert len(TrainingWindows(prepared["train"], length // 2, 0)) == 1
    with pytest.raises(CorpusError, match=rf"has {length} tokens, fewer than two windows of context_length={length}"):
        TrainingWindows(prepared["train"], length, 0)


@pytest.mark.parametrize("T", [1, 2, 7, 16, 100, 10_000])
def test_every_token_but_separators_is_scored_once(prepared, T):
    split = prepared["validation"]
    windows = EvaluationWindows(split, T)
    tokens, size, words, positions = 0, 0, 0, []
    for k in range(len(windows)):
        window = windows[k]
        assert window["input_ids"].shape == (T + 1,)
        for name, dtype in (("scored", torch.bool), ("bytes", torch.int64), ("words", torch.int64)):
            assert window[name].shape == (T,)
            assert window[name].dtype == dtype
        scored = window["scored"]
        assert not window["bytes"][~scored].any()
        assert not window["words"][~scored].any()
        places = (torch.nonzero(scored)[:, 0] + k * T + 1).numpy()
        own = window["document"].numpy()[scored.numpy()]
        assert own.tolist() == [int((split.separators < place).sum()) - 1 for place in places]
        assert window["input_ids"][1:][scored].tolist() == split.tokens[places].tolist()
        assert window["input_ids"][:-1][scored].tolist() == split.tokens[places - 1].tolist()
        positions.extend(places.tolist())
        tokens += int(scored.sum())
        size += int(window["bytes"].sum())
        words += int(window["words"].sum())
    assert positions == sorted(set(range(split.length)) - set(split.separators.tolist()))
    assert (tokens, size, words) == (split.scored_tokens, split.meta["bytes"], split.meta["words"])


def test_what_fills_the_last_window_is_not_scored(prepared):
    split = prepared["validation"]
    T = split.length + 5
    window = EvaluationWindows(split, T)[0]
    assert window["input_ids"][split.length :].tolist() == [split.separator] * (T + 1 - split.length)
    assert not window["scored"][split.length - 1 :].any()


def test_a_window_past_the_last_scores_nothing(prepared):
    windows = EvaluationWindows(prepared["validation"], 7)
    for k in (len(windows), len(windows) + 3):
        window = windows[k]
        assert window["input_ids"].tolist() == [prepared["validation"].separator] * 8
        assert not window["scored"].any()
        assert not window["bytes"].any()


def test_windows_travel_to_workers(prepared):
    windows = pickle.loads(pickle.dumps(EvaluationWindows(prepared["validation"], 7)))
    assert windows[0]["bytes"].tolist() == EvaluationWindows(prepared["validation"], 7)[0]["bytes"].tolist()
