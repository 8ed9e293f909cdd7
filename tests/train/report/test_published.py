"""What the notebooks read of a published comparison, and what they get where there is none."""

import json

import pytest
from lmzoo.train.config import write_yaml
from lmzoo.train.report.published import Published
from lmzoo.train.runs.load import write_archive


def passport(**changes):
    return {
        "train_length": 64,
        "dtype": "32-true",
        "text_sha256": "t",
        "tokenizer_sha256": "k",
        "commit": "c",
    } | changes


def scored(length, perplexity, longest=256, **changes):
    settings = {"protocol": "fixed_target", "longest": longest, "stride": None, "within": None, "targets": None}
    settings |= {"length": length, "token_perplexity": perplexity, "intervention": None, "by_document": {"nll": [1.0]}}
    return settings | {"passport": passport()} | changes


def run(variant, seed, nats, **evaluations):
    final = {
        "split": "test",
        "protocol": "non_overlapping",
        "length": 64,
        "cross_entropy": nats,
        "passport": passport(),
    }
    rows = [{"split": "train", "step": s, "tokens": 10 * s, "cross_entropy": 9.0 - s} for s in (1, 2, 3)]
    rows.append({"split": "validation", "step": 3, "tokens_seen": 30, "cross_entropy": 5.5})
    empty = {name: [] for name in ("analysis", "extrapolation", "numbers", "probes")}
    return {
        "variant": variant,
        "seed": seed,
        "config": {},
        "environment": {},
        "metrics": rows,
        "unreadable_lines": 0,
        "results": {"finished": True, "records": [final]},
        "failure": None,
        **empty,
        **evaluations,
    }


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "attention"
    asked = {"name": "attention", "base": {}, "variants": {"rotary": None, "complex": {}}, "baseline": "rotary"}
    folder.mkdir()
    write_yaml(folder / "comparison.yaml", asked | {"seeds": [0, 1]})
    buckets = [{"bucket": "1", "cross_entropy": 2.0}, {"bucket": "unseen", "cross_entropy": 9.0}]
    deciles = {"kind": "deciles", "logits": "plain", "buckets": buckets}
    added = {"probe": "exact_match", "operation": "addition", "digits": 2, "right": 3, "problems": 4}
    rotary = run(
        "rotary",
        0,
        5.0,
        extrapolation=[
            scored(128, 90.0),
            scored(64, 80.0),
            scored(64, 81.0, passport=passport(commit="later")),
            scored(64, 99.0, longest=512),
            scored(64, 70.0, protocol="sliding"),
            scored(64, 10.0, intervention="shuffled"),
        ],
        analysis=[deciles],
        numbers=[added | {"passport": passport()}],
    )
    write_archive(folder / "seed-0.jsonl.gz", [rotary, run("complex", 0, 4.75)])
    return Published("attention", tmp_path)


def test_every_table(published):
    assert str(published) == "attention: 2 finished runs of 2 variants, seeds 0; baseline rotary."
    finals = published.finals("test")
    assert dict(zip(finals["variant"], finals["cross_entropy"])) == {"rotary": 5.0, "complex": 4.75}
    assert published.finals("validation").empty
    lengths = published.lengths("fixed_target")
    assert lengths[["length", "token_perplexity"]].values.tolist() == [[64, 81.0], [128, 90.0]]
    assert published.lengths("sliding")["token_perplexity"].tolist() == [70.0]
    assert published.curves("train").groupby("variant")["raw"].sum().to_dict() == {"rotary": 21.0, "complex": 21.0}
    assert published.curves("validation")["smooth"].tolist() == [5.5, 5.5]
    assert published.deciles()[["decile", "cross_entropy"]].values.tolist() == [[1, 2.0]]
    assert published.deciles("debiased").empty
    assert published.numbers()[["right", "problems"]].values.tolist() == [[3, 4]]
    verdicts = published.verdicts("complexformer")
    assert set(verdicts["seeds"]) <= {0, 1}
    assert all(verdicts["verdict"].str.startswith("not tested"))


def test_where_nothing_is_published(tmp_path):
    nothing = Published("losses", tmp_path)
    assert str(nothing).startswith(
        f"Nothing is published of the comparison losses: {tmp_path / 'losses'} is not there."
    )
    assert (nothing.variants, nothing.baseline, nothing.comparison) == ([], "", None)
    for frame, column in (
        (nothing.finals(), "token_perplexity"),
        (nothing.lengths(), "length"),
        (nothing.curves(), "smooth"),
        (nothing.numbers(), "operation"),
        (nothing.deciles(), "decile"),
    ):
        assert frame.empty
        assert {"variant", "seed", column} <= set(frame.columns)
    verdicts = nothing.verdicts("power-law-decay")
    assert len(verdicts) >= 5
    assert all("there are no results of the comparison losses" in verdict for verdict in verdicts["verdict"])
    assert json.loads(verdicts.to_json(orient="records"))[0]["seeds"] == 0
