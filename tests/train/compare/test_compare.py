"""A whole comparison through the command line, with real training runs."""

import json

import pytest
from lmzoo.train.config import load_yaml
from lmzoo.train.figures.formats import perplexity_digits, plain


@pytest.mark.slow
def test_a_comparison_from_file_to_report_and_again(tiny, write, lmzoo, tmp_path):
    tiny["trainer"]["max_steps"] = 60
    file = write(
        {
            "name": "small",
            "base": tiny,
            "variants": {
                "rotary": None,
                "alibi": {"model": {"position": "ALiBi"}},
                "wild": {"model": {"learning_rate": 1.0e30}},
            },
            "baseline": "rotary",
            "seeds": [3],
        },
        "small.yaml",
    )
    output = tmp_path / "out"
    first = lmzoo("compare", file, "--output", output, code=1)
    assert "[1/3] rotary, seed 3: finished" in first.stdout
    assert "[3/3] wild, seed 3: FAILED: " in first.stdout
    assert "One seed: no verdict." in first.stdout
    records = [json.loads(line) for line in (output / "report" / "records.jsonl").read_text().splitlines()]
    assert [(row["variant"], row["split"]) for row in records] == [
        ("rotary", "validation"),
        ("rotary", "test"),
        ("alibi", "validation"),
        ("alibi", "test"),
    ]
    stored = json.loads((output / "alibi" / "seed-3" / "results.json").read_text())
    assert records[2]["nll"] == stored["records"][0]["nll"]
    assert records[0]["passport"]["text_sha256"] == records[2]["passport"]["text_sha256"]
    page = (output / "report" / "report.html").read_text()
    alibi = stored["records"][1]["token_perplexity"]
    assert plain(alibi, perplexity_digits(alibi)) in page
    assert "<b>wild, seed 3</b> failed: " in page
    assert load_yaml(output / "rotary" / "seed-3" / "config.yaml")["seed_everything"] == 3

    before = {p: p.stat().st_mtime_ns for p in output.glob("*/seed-3/results.json")}
    again = lmzoo("compare", output / "comparison.yaml", "--output", output, "--variants", "rotary,alibi")
    assert "rotary, seed 3: finished already" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in output.glob("*/seed-3/results.json")} == before

    refused = lmzoo("compare", file, "--output", output, "--set", "model.d_model=32", code=2)
    assert "differs in model.d_model" in refused.stderr
    report = lmzoo("compare", output, "--report-only")
    assert "report:" in report.stdout


@pytest.mark.slow
def test_finished_runs_are_analysed_where_the_file_asks_for_it(tiny, write, lmzoo, tmp_path):
    asked = {"split": "validation", "prompts": 4, "prompt_tokens": 4, "new_tokens": 8}
    variants = {"rotary": None, "alibi": {"model": {"position": "ALiBi"}}}
    content = {"name": "small", "base": tiny, "variants": variants, "baseline": "rotary", "seeds": [3]}
    output = tmp_path / "out"
    file = write(content | {"analyze": asked}, "small.yaml")
    first = lmzoo("compare", file, "--output", output)
    assert "[2/2] alibi, seed 3, lmzoo analyze: done in 0:" in first.stdout
    rows = [json.loads(line) for line in (output / "report" / "analysis.jsonl").read_text().splitlines()]
    kinds = ["settings", "deciles", "continuations", "continuations", "continuations"]
    assert [(row["variant"], row["kind"]) for row in rows] == [(v, k) for v in variants for k in kinds]
    assert rows[1]["passport"]["text_sha256"] == rows[6]["passport"]["text_sha256"]
    page = (output / "report" / "report.html").read_text()
    assert f"{rows[3]['distinct_2']:.3f}" in page
    assert (output / "report" / "loss-by-decile-difference.png").is_file()

    again = lmzoo("compare", file, "--output", output)
    assert "lmzoo analyze" not in again.stdout

    many = write(content | {"analyze": asked | {"prompts": 10**6}}, "many.yaml")
    wrong = lmzoo("compare", many, "--output", output, "--variants", "rotary", code=1)
    assert "rotary, seed 3, lmzoo analyze: FAILED" in wrong.stdout
    said = " ".join(wrong.stdout.split())  # as wide as the terminal
    reason = "the process ended with exit code 2: error: prompts: expected at most"
    assert f"rotary, seed 3: lmzoo analyze failed: {reason}" in said


def test_the_help_names_every_argument(lmzoo):
    said = lmzoo("compare", "--help").stdout
    for option in ("--output", "--seeds", "--variants", "--set", "--report_only", "--allow_classes"):
        assert option in said
