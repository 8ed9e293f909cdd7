"""Records on the disk, what is made again, and intervals."""

import json
import math

import numpy as np
import pytest
from lmzoo.train import extrapolate
from lmzoo.train.evaluate.extrapolate.sums import interval
from lmzoo.train.figures.statistics.bootstrap import UNITS, resampled_sums
from lmzoo.train.runs.evaluation_files import read_records


@pytest.fixture
def run(make_decoder, tokenizer, documents, tmp_path):
    """Evaluate into one file; returns the records and which of them were made now."""
    decoder = make_decoder()

    def go(model=decoder, **options):
        made = []
        records = extrapolate(
            model,
            tokenizer,
            documents,
            **({"lengths": [8, 16], "protocol": "sliding"} | options),
            output=tmp_path / "records.jsonl",
            on_record=lambda record, new: made.append(new),
        )
        return records, made

    return go


def test_only_what_is_missing_is_made(run, make_decoder, tmp_path):
    file = tmp_path / "records.jsonl"
    first, made = run()
    assert made == [True, True]
    again, made = run(lengths=[16, 8, 24])
    assert made == [False, False, True]
    assert json.dumps(again[:2]) == json.dumps(first)
    assert run(stride=4)[1] == [False, True], "the default stride of 8 is 4"
    assert run(protocol="fixed_target", lengths=[8, 16])[1] == [True, True]
    assert run(protocol="fixed_target", lengths=[8, 24])[1] == [True, True], "other targets: the longest differs"
    assert run(seed=3)[1] == [True, True], "another passport"
    assert run(model=make_decoder(init_std=0.2))[1] == [True, True], "other weights"
    lines = file.read_text().splitlines()
    assert len(lines) == len(read_records(file)) == 2 + 1 + 1 + 2 + 2 + 2 + 2


def test_half_a_line_is_made_again_and_told(run, tmp_path, capsys):
    file = tmp_path / "records.jsonl"
    run()
    whole = file.read_text()
    file.write_text(whole[: len(whole) - 40])
    assert run()[1] == [False, True]
    assert f"{file}:2: no whole record, left out" in capsys.readouterr().out.replace("\n", "")
    assert len(read_records(file)) == 2
    assert run()[1] == [False, False]


def test_a_record_is_ready_for_json_and_says_what_it_is_of(run, documents, tokenizer):
    record = run(lengths=[16])[0][0]
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    names = ("protocol", "length", "stride", "nll", "tokens", "words", "bytes", "token_perplexity", "word_perplexity")
    assert {*names, "bits_per_byte"} <= set(record)
    flat = {k: v for k, v in record.items() if k not in ("passport", "loss_by_position", "by_document")}
    assert all(value is None or isinstance(value, str | int | float) for value in flat.values())
    card = ("corpus", "text_sha256", "tokenizer_sha256", "train_length", "dtype", "seed", "parameters", "versions")
    assert {*card, "embedding_parameters", "head_parameters", "commit"} <= set(record["passport"])
    assert record["passport"]["documents"] == len(documents)


def test_the_interval_is_the_percentiles_of_resampled_documents():
    sums = {
        "nll": [30.0, 4.0, 55.0, 12.0, 20.0],
        "tokens": [10, 2, 21, 5, 6],
        "words": [6, 1, 11, 3, 3],
        "bytes": [31, 7, 60, 15, 20],
    }
    totals = resampled_sums(sums, resamples=500)
    # the same draws, spelt out document by document
    counts = np.random.default_rng(0).multinomial(5, [0.2] * 5, size=500)
    for row, drawn in zip(totals, counts, strict=True):
        assert counts.sum(axis=1).tolist() == [5] * 500
        for value, unit in zip(row, UNITS, strict=True):
            assert value == pytest.approx(sum(n * x for n, x in zip(drawn, sums[unit], strict=True)))
    found = interval(sums)
    whole = resampled_sums(sums)
    for name, unit, figure in (
        ("cross_entropy", "tokens", lambda x: x),
        ("token_perplexity", "tokens", math.exp),
        ("word_perplexity", "words", math.exp),
        ("bits_per_byte", "bytes", lambda x: x / math.log(2)),
    ):
        ratios = [figure(nll / n) for nll, n in zip(whole[:, 0], whole[:, UNITS.index(unit)], strict=True)]
        assert found[f"{name}_low"] == pytest.approx(np.percentile(ratios, 2.5), rel=1e-3)
        assert found[f"{name}_high"] == pytest.approx(np.percentile(ratios, 97.5), rel=1e-3)
        assert found[f"{name}_low"] < figure(sum(sums["nll"]) / sum(sums[unit])) < found[f"{name}_high"]


def test_the_interval_covers_what_it_should():
    draw = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        tokens = draw.integers(50, 400, size=60)
        nll = tokens * draw.normal(5.0, 0.4, size=60)
        found = interval({"nll": nll, "tokens": tokens, "words": tokens, "bytes": tokens})
        hits += found["cross_entropy_low"] < 5.0 < found["cross_entropy_high"]
    assert 0.89 < hits / 200 < 0.99


def test_one_document_has_no_interval(make_decoder, tokenizer, documents):
    record = extrapolate(make_decoder(), tokenizer, "".join(documents), lengths=[16], protocol="sliding")[0]
    assert record["documents"] == 1
    assert {record[f"bits_per_byte_{end}"] for end in ("low", "high")} == {None}
