"""What is said beside the verdicts of how their runs were trained."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml
from lmzoo.train.figures.statistics.paired import paired
from lmzoo.train.report.claims.claim import read_claims, shipped_claims
from lmzoo.train.report.claims.publish import verdict_block
from lmzoo.train.report.claims.report import COLUMNS, conditions, markdown
from lmzoo.train.report.claims.results import read_results
from lmzoo.train.report.claims.verdicts import verdicts


@pytest.fixture
def trained(tmp_path, extra_record):
    """``trained({"rotary": {"parameters": 7}}, tuning=...)``: finished runs of two seeds of ``attention``.

    What is said of a variant goes to its passports; ``rate``, ``steps`` and ``train_tokens`` to its runs.
    """

    def write(variants, *, name="attention", **asked):
        folder = tmp_path / name
        for variant, card in variants.items():
            amount = {"steps": card.pop("steps", 3), "train_tokens": card.pop("train_tokens", 192000)}
            rate = card.pop("rate", 0.003)
            for seed in (0, 1):
                record = extra_record(variant, seed, 4.0 + seed, passport=card)
                record = {key: value for key, value in record.items() if key not in ("variant", "seed")}
                run = folder / variant / f"seed-{seed}"
                run.mkdir(parents=True)
                (run / "results.json").write_text(json.dumps({"finished": True, "records": [record], **amount}))
                (run / "config.yaml").write_text(yaml.safe_dump({"model": {"learning_rate": rate}}))
        shape = {"name": name, "base": {}, "variants": dict.fromkeys(variants), "baseline": next(iter(variants))}
        (folder / "comparison.yaml").write_text(yaml.safe_dump(shape | {"seeds": [0, 1]} | asked, sort_keys=False))
        results = read_results([folder])
        outcomes = verdicts([read_claims(file) for file in shipped_claims()], results)
        return outcomes, results

    return write


def row_of(found):
    ((row),) = conditions(*found)
    return dict(zip(COLUMNS, row, strict=True))


def test_a_row_says_size_text_amount_and_what_was_equal(trained):
    found = trained({"rotary": {"parameters": 1000}, "complex": {"parameters": 1384}, "alibi": {"parameters": 1}})
    assert conditions(*found) == [
        ("attention", "c", "1,000 to 1,384", "192,000 tokens", "64", "32-true", "steps and tokens", "0.003 for all")
    ]


def test_only_variants_that_a_claim_names_count(trained):
    found = trained({"rotary": {}, "complex": {}, "alibi": {"parameters": 5, "dtype": "bf16-mixed", "rate": 1.0}})
    assert row_of(found)["Parameters"] == "1,000"
    assert row_of(found)["Precision"] == "32-true"
    assert row_of(found)["Learning rate"] == "0.003 for all"


def test_matching_tuning_and_a_trained_start_are_said(trained):
    start = {"init_from": "runs/heads/full/seed-0", "detokenize": True}
    row = row_of(
        trained(
            {"full": dict(start), "vq-1-kmeans": dict(start)},
            name="heads-fine-tune",
            match={"budget": "parameters", "of": "body", "by": "feed_forward"},
            tuning={"learning_rates": [0.001, 0.003], "seed": 9, "fraction": 0.1, "max_steps": None},
        )
    )
    assert row["Text"] == "c, detokenised"
    assert row["Trained on"] == "192,000 tokens, from a trained model"
    assert row["Made equal"] == "steps and tokens, parameters of the body"
    assert row["Learning rate"] == "each variant's best of 0.001, 0.003"


def test_what_was_not_equal_is_not_called_so(trained):
    row = row_of(
        trained(
            {
                "rotary": {"rate": 0.003, "train_tokens": 900, "steps": 9},
                "complex": {"rate": 0.01, "train_tokens": 100, "steps": 9, "init_from": "x"},
            }
        )
    )
    assert row["Trained on"] == "100 to 900 tokens, some from a trained model"
    assert row["Made equal"] == "steps"
    assert row["Learning rate"] == "0.003 to 0.01, not tuned"


def test_equal_tokens_of_unlike_tokenizers_are_called_so(trained):
    found = trained({"bpe": {"tokenizer_sha256": "a"}, "triadic": {"tokenizer_sha256": "b"}}, name="numbers-text")
    outcomes, results = found
    # this claim wants another file of the runs; that there is a figure is enough here
    outcomes = [
        replace(o, differences=paired({0: 1.0}, {0: 2.0})) for o in outcomes if o.claim.name == "numbers-in-text"
    ]
    assert row_of((outcomes, results))["Made equal"] == "steps and tokens of unlike tokenizers"


def test_of_json_lines_alone_little_is_known_and_nothing_made_up(results, extra_record):
    folder = results("attention", {"rotary": [5.0, 5.1], "complex": [4.9, 5.0]})
    found = read_results([folder])
    outcomes = verdicts([read_claims(file) for file in shipped_claims()], found)
    assert conditions(outcomes, found) == [("attention", "c", "1,000", "–", "64", "32-true", "–", "–")]
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    lines = [{key: value for key, value in line.items() if key != "passport"} for line in lines]
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert conditions(outcomes, read_results([folder])) == [("attention", *("–",) * 7)]


def test_the_readme_and_the_claims_page_show_them(trained):
    outcomes, results = trained({"rotary": {}, "complex": {}})
    rows = conditions(outcomes, results)
    files = {file.stem: str(file) for file in shipped_claims()}
    shown = "| attention | c | 1,000 | 192,000 tokens | 64 | 32-true | steps and tokens | 0.003 for all |"
    assert shown in markdown(outcomes, "", rows)
    assert conditions([], results) == []
    assert [one.claim.name for one in outcomes if one.verdict == "supported"] == ["parameter-efficiency"]
    assert shown in verdict_block(outcomes, files, "x", rows)
