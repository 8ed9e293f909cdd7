"""The table of verdicts in a README, and the commands that stand in it."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil

import pytest
import yaml
from lmzoo.errors import ConfigError
from lmzoo.train.cli import main
from lmzoo.train.compare.comparison import read_comparison
from lmzoo.train.figures.statistics.paired import paired
from lmzoo.train.report.claims.claim import read_claims, shipped_claims
from lmzoo.train.report.claims.publish import (
    BEGIN,
    END,
    commands,
    publish,
    verdict_block,
)
from lmzoo.train.report.claims.results import read_results
from lmzoo.train.report.claims.verdicts import verdicts
from lmzoo.train.report.repeat import comparison_file


@pytest.fixture
def published(results, monkeypatch, tmp_path):
    """``published("attention", {"a": [5.0]}, base={...})``: results beside the settings of the shipped comparison."""
    monkeypatch.chdir(tmp_path)

    def write(name, records, **changes):
        folder = results(name, records)
        asked = read_comparison(f"configs/compare/{name}.yaml").as_yaml()
        (folder / "comparison.yaml").write_text(yaml.safe_dump(asked | changes, sort_keys=False))
        return folder.relative_to(tmp_path)

    return write


def outcomes(folder):
    """What the shipped claims' files say of the report's lines in a folder, as if they were archived runs."""
    settings = (folder / "comparison.yaml").read_text()
    (folder / "comparison.yaml").unlink()
    try:
        return verdicts([read_claims(file) for file in shipped_claims()], read_results([folder]))
    finally:
        (folder / "comparison.yaml").write_text(settings)


def decided(folder, name):
    return next(one for one in outcomes(folder) if one.claim.name == name and one.verdict != "not tested")


def test_a_row_has_the_commands_that_make_it(published):
    folder = published("attention", {"rotary": [5.0, 5.01, 5.02], "complex": [4.9, 4.92, 4.91]})
    assert commands(decided(folder, "perplexity"), "configs/claims/complexformer.yaml") == [
        "lmzoo compare configs/compare/attention.yaml --variants rotary,complex --seeds 0,1,2",
        "lmzoo claims configs/claims/complexformer.yaml --runs runs/attention",
    ]


def test_where_the_shipped_comparison_asks_for_other_runs_the_published_one_is_typed(published):
    base = read_comparison("configs/compare/attention.yaml").base
    folder = published("attention", {"rotary": [5.0, 5.01], "complex": [4.9, 4.92]}, base=base | {"trainer": {}})
    assert comparison_file(folder) == "results/attention/comparison.yaml"
    folder = published("attention", {"rotary": [5.0]}, seeds=[0, 1, 2], effect=0.5)
    assert comparison_file(folder) == "configs/compare/attention.yaml", "neither seeds nor effect change a run"
    folder = published("attention", {"rotary": [5.0]}, lengths=[256])
    assert comparison_file(folder) == "results/attention/comparison.yaml"


def test_what_fine_tuning_started_from_is_trained_first(published):
    folder = published("heads-fine-tune", {"full": [5.0, 5.01], "vq-1-kmeans": [5.5, 5.52]})
    first, second, _ = commands(decided(folder, "perplexity"), "configs/claims/vq-logits.yaml")
    assert first == "lmzoo compare configs/compare/heads.yaml --variants full --seeds 0,1"
    assert second == "lmzoo compare configs/compare/heads-fine-tune.yaml --variants full,vq-1-kmeans --seeds 0,1"


def test_the_table(published):
    folder = published("attention", {"rotary": [5.0, 5.01, 5.02], "complex": [4.9, 4.92, 4.91]})
    found = outcomes(folder)
    files = {file.stem: f"configs/claims/{file.name}" for file in shipped_claims()}
    block = verdict_block(found, files, "results/verdicts")
    rows = [line for line in block.splitlines() if line.startswith("| ")]
    own = [one for one in found if one.verdict != "not tested"]
    assert len(rows) == 2 + len(own)
    assert {row.count(" | ") for row in rows} == {6}
    (row,) = [row for row in rows if "significantly lower" in row]
    assert "| [complexformer](https://arxiv.org/abs/2505.10222) | **supported** | −9.5 % [" in row
    assert "| lower | 0, 1, 2 | `lmzoo compare" in row
    assert f"Of {len(found)} claims: " in block
    assert 'srcset="results/verdicts/decided-dark.png"' in block


def test_without_a_verdict_there_is_no_table():
    found = verdicts([read_claims(file) for file in shipped_claims()], [])
    assert (
        verdict_block(found, {}, "x")
        == f"None of {len(found)} claims is decided yet: no comparison has been published."
    )


def test_figures_of_one_seed_are_counted_and_not_shown_as_verdicts():
    found = verdicts([read_claims(file) for file in shipped_claims()], [])
    outcome = dataclasses.replace(found[0], differences=paired({0: 1.0}, {0: 2.0}))
    assert verdict_block([outcome, *found[1:]], {}, "x").endswith(
        " claims is decided yet: 1 were measured, but with too few seeds for a verdict. Their figures: "
        "[x/claims.md](x/claims.md)."
    )


def test_publishing_changes_nothing_outside_of_the_marks(published_block, tmp_path):
    file = tmp_path / "README.md"
    file.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n")
    for _ in range(2):
        publish(file, "new\nlines")
        assert file.read_text() == f"# Title\n\n{BEGIN}\n\nnew\nlines\n\n{END}\n\nThe end.\n"
    assert published_block(file) == "new\nlines"


@pytest.mark.parametrize(
    "text", ["", "# Title", f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{END}", f"{BEGIN}\n{BEGIN}\n{END}"]
)
def test_a_file_without_the_marks_is_refused(text, tmp_path):
    file = tmp_path / "README.md"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"README\.md.*expected the lines <!-- verdicts"):
        publish(file, "new")
    assert file.read_text() == text


def test_the_output_has_to_lie_where_the_readme_can_link_to_it(results, tmp_path, capsys):
    folder = results("attention", {"rotary": [5.0]})
    (tmp_path / "docs").mkdir()
    words = ["claims", "--runs", str(folder), "--output", str(tmp_path / "out")]
    assert main([*words, "--publish", str(tmp_path / "docs" / "README.md")]) == 2
    assert "--output: expected a folder below that of" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_printed_commands_make_the_same_row(lmzoo_in, corpus, published_block, tmp_path):
    """From runs to records, to a README, and by the commands printed there from nothing to the same figures."""
    tiny = {
        "model": {"d_model": 16, "n_layers": 1, "n_heads": 2},
        "data": {
            "source": {split: f"texts/{split}.txt" for split in ("train", "validation", "test")},
            "vocab_size": 270,
            "context_length": 16,
            "batch_size": 4,
        },
        "trainer": {"max_steps": 8, "limit_val_batches": 0, "accelerator": "cpu"},
    }
    variants = {"rotary": None, "alibi": {"model": {"position": "ALiBi"}}}
    asked = {"name": "positions", "base": tiny, "variants": variants, "baseline": "rotary", "seeds": [0, 1]}
    (tmp_path / "positions.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))
    claim = {"sentence": "ALiBi is better.", "source": "here", "metric": "token_perplexity", "direction": "lower"}
    claim["decided_by"] = {"comparison": "positions.yaml", "variant": "alibi", "baseline": "rotary"}
    paper = {"title": "Positions", "arxiv": "0000.00000", "status": "made up"}
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump({"paper": paper, "claims": {"one": claim}}))
    (tmp_path / "README.md").write_text(f"{BEGIN}\n{END}\n")
    shutil.copytree(corpus, tmp_path / "texts")

    lmzoo_in(tmp_path, "compare", "positions.yaml", "--collect", "results")
    publishing = ["--output", "results/verdicts", "--publish", "README.md"]
    lmzoo_in(tmp_path, "claims", "paper.yaml", "--runs", "results", *publishing)
    table = published_block(tmp_path / "README.md")
    (row,) = [line for line in table.splitlines() if "ALiBi is better." in line]
    first = json.loads((tmp_path / "results" / "verdicts" / "claims.jsonl").read_text())
    assert first["seeds"] == [0, 1]
    assert (tmp_path / "results" / "verdicts" / "decided-dark.png").is_file()

    fresh = tmp_path / "fresh"  # a clone: what is published, and nothing else
    fresh.mkdir()
    for folder in ("results", "texts"):
        shutil.copytree(tmp_path / folder, fresh / folder)
    for file in ("paper.yaml", "positions.yaml"):
        shutil.copy(tmp_path / file, fresh)
    printed = [shlex.split(command) for command in re.findall(r"`(lmzoo [^`]*)`", row)]
    assert [words[1] for words in printed] == ["compare", "claims"]
    for words in printed:
        lmzoo_in(fresh, *words[1:])
    again = json.loads((fresh / "runs" / "claims" / "claims.jsonl").read_text())
    for key in ("differences", "mean", "low", "high", "variant_mean", "baseline_mean"):
        assert again[key] == first[key] != []
    assert again["verdict"] == first["verdict"] != "not tested"
