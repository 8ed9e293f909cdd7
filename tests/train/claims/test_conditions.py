"""What is said beside the verdicts of how their runs were trained."""

from __future__ import annotations

import json

import pytest
import yaml
from lmzoo.train.claims.conditions import conditions
from lmzoo.train.claims.publish import verdict_block
from lmzoo.train.claims.read import read_claims, shipped_claims
from lmzoo.train.claims.report import markdown
from lmzoo.train.claims.results import read_results
from lmzoo.train.claims.verdicts import verdicts


@pytest.fixture
def trained(tmp_path, extra_record):
    """``trained({"rotary": {"parameters": 7}}, tuning=...)``: finished runs of two seeds of ``attention``."""

    def write(variants, *, name="attention", passport=None, **asked):
        folder = tmp_path / name
        for variant, card in variants.items():
            for seed in (0, 1):
                record = extra_record(variant, seed, 4.0 + seed, passport={**card, **(passport or {})})
                record = {key: value for key, value in record.items() if key not in ("variant", "seed")}
                run = folder / variant / f"seed-{seed}"
                run.mkdir(parents=True)
                content = {"finished": True, "steps": 3, "train_tokens": 192000, "records": [record]}
                (run / "results.json").write_text(json.dumps(content))
        shape = {"name": name, "base": {}, "variants": dict.fromkeys(variants), "baseline": next(iter(variants))}
        (folder / "comparison.yaml").write_text(yaml.safe_dump(shape | {"seeds": [0, 1]} | asked, sort_keys=False))
        results = read_results([folder])
        return verdicts([read_claims(file) for file in shipped_claims()], results), results

    return write


def test_a_row_says_size_text_amount_and_that_nothing_else_was_made_equal(trained):
    outcomes, results = trained({"rotary": {"parameters": 1000}, "complex": {"parameters": 1384}, "alibi": {}})
    assert conditions(outcomes, results) == [
        ("attention", "c", "1,000 to 1,384", "192,000 tokens", "64", "32-true", "steps and tokens", "one for all")
    ]


def test_only_variants_that_a_claim_names_count(trained):
    outcomes, results = trained({"rotary": {}, "complex": {}, "alibi": {"parameters": 5, "dtype": "bf16-mixed"}})
    ((_, _, parameters, _, _, precision, *_),) = conditions(outcomes, results)
    assert (parameters, precision) == ("1,000", "32-true")


def test_matching_tuning_and_a_trained_start_are_said(trained):
    outcomes, results = trained(
        {"full": {}, "vq-1-kmeans": {}},
        name="heads-fine-tune",
        passport={"init_from": "runs/heads/full/seed-0", "detokenize": True},
        match={"budget": "parameters", "of": "body", "by": "feed_forward"},
        tuning={"learning_rates": [0.001, 0.003], "seed": 9, "fraction": 0.1, "max_steps": None},
    )
    ((_, text, _, amount, *_, equal, rate),) = conditions(outcomes, results)
    assert text == "c, detokenised"
    assert amount == "192,000 tokens, from a trained model"
    assert equal == "steps and tokens, parameters of the body"
    assert rate == "each variant's best of 0.001, 0.003"


def test_of_json_lines_alone_it_is_not_known_what_was_made_equal(results):
    folder = results("attention", {"rotary": [5.0, 5.1], "complex": [4.9, 5.0]})
    found = read_results([folder])
    outcomes = verdicts([read_claims(file) for file in shipped_claims()], found)
    assert conditions(outcomes, found) == [("attention", "c", "1,000", "–", "64", "32-true", "–", "–")]


def test_the_readme_and_the_claims_page_show_them(trained):
    outcomes, results = trained({"rotary": {}, "complex": {}})
    rows = conditions(outcomes, results)
    files = {file.stem: str(file) for file in shipped_claims()}
    shown = "| attention | c | 1,000 | 192,000 tokens | 64 | 32-true | steps and tokens | one for all |"
    assert shown in markdown(outcomes, "", rows)
    assert conditions([], results) == []
    assert [one.claim.name for one in outcomes if one.verdict == "supported"] == ["parameter-efficiency"]
    assert shown in verdict_block(outcomes, files, "x", rows)
