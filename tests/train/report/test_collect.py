"""Comparisons without weights: nothing that a report is made from is lost, nothing that names a machine remains."""

from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
from pathlib import Path

import pytest
import yaml
from lmzoo.errors import ConfigError
from lmzoo.train.cli import main
from lmzoo.train.report.claims.claim import read_claims, shipped_claims
from lmzoo.train.report.claims.results import read_results
from lmzoo.train.report.claims.verdicts import verdicts
from lmzoo.train.report.collect import Portable, collect, portable_environment
from lmzoo.train.report.repeat import Repeats
from lmzoo.train.report.write import write_report
from lmzoo.train.runs.load import load_comparison, read_archive

PASSPORT = {"train_length": 128, "commit": "c"}


def lines(file, *records):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def extrapolated(length, nll, commit="c"):
    settings = dict.fromkeys(("stride", "longest", "within", "targets", "intervention"))
    return {"protocol": "sliding", "length": length, **settings, "nll": nll, "passport": PASSPORT | {"commit": commit}}


def evaluate(run):
    """One record of every evaluation."""
    lines(run / "extrapolation.jsonl", extrapolated(128, 3.25), extrapolated(256, 1 / 3))
    lines(run / "numbers.jsonl", {"probe": "exact_match", "right": 3, "passport": PASSPORT})
    lines(run / "analysis.jsonl", {"kind": "deciles", "passport": PASSPORT})
    lines(run / "probe" / "probes.jsonl", {"probe": "copy", "seed": 0, "passport": PASSPORT})


def as_read(output):
    """The runs as a report has them, without where they lie."""
    return [dataclasses.replace(run, folder=Path(), environment={}) for run in load_comparison(output).runs]


def asked(output):
    return yaml.safe_load((output / "comparison.yaml").read_text())


def test_everything_a_report_reads_is_there(three_by_two, tmp_path):
    evaluate(three_by_two / "alibi" / "seed-1")
    speed = {"variant": "alibi", "baseline": "rotary", "environment": {"torch_threads": 1, "command": ["/home/me/x"]}}
    lines(three_by_two / "speed.jsonl", speed)
    done = collect(three_by_two, tmp_path / "results")
    assert done.folder == tmp_path / "results" / "three positions"
    assert (len(done.added), done.replaced, done.kept, done.left_out, done.changed) == (6, [], [], [], [])
    assert as_read(done.folder) == as_read(three_by_two)
    assert load_comparison(done.folder).speed == [speed | {"environment": {"torch_threads": 1}}]
    (run,) = [run for run in load_comparison(done.folder).runs if run.extrapolation]
    assert (run.variant, run.seed, run.extrapolation[1]["nll"], run.numbers[0]["right"]) == ("alibi", 1, 1 / 3, 3)
    assert len(run.analysis) == len(run.probes) == 1
    assert run.environment == {"versions": {"torch": "2.13.0"}, "processor": "x86_64", "cores": 2, "torch_threads": 2,
                               "gpus": []}  # fmt: skip
    files = sorted(file.name for file in done.folder.iterdir())
    assert files == ["comparison.yaml", "seed-0.jsonl.gz", "seed-1.jsonl.gz", "speed.jsonl"]
    assert done.size == sum(file.stat().st_size for file in done.folder.iterdir())


def test_the_report_is_the_same_but_for_its_commands(three_by_two, tmp_path):
    folder = collect(three_by_two, tmp_path / "results").folder
    texts = []
    for output in (three_by_two, folder):
        write_report(output)
        text = (output / "report" / "report.md").read_text()
        texts.append([line for line in text.splitlines() if "lmzoo " not in line])
    assert texts[0] == texts[1]
    assert len(texts[0]) > 50
    for file in three_by_two.glob("report/*.png"):
        assert (folder / "report" / file.name).read_bytes() == file.read_bytes()
    records = "report/records.jsonl"
    assert (three_by_two / records).read_bytes() == (folder / records).read_bytes()
    rows = Repeats(load_comparison(folder)).rows
    again = f"--output {'runs/three positions-again'!r}"
    file = f"{str(folder / 'comparison.yaml')!r}"
    assert rows[1].command == f"lmzoo compare {file} --variants alibi --seeds 0,1 {again}"
    assert rows[1].runs[1] == ("seed 1", f"lmzoo compare {file} --variants alibi --seeds 1 {again}")


def test_verdicts_are_the_same(claimed, tmp_path):
    runs = claimed[1].parent.parent
    collect(runs, tmp_path / "results")
    files = [read_claims(file) for file in shipped_claims()]
    of_runs, of_records = (
        [dataclasses.replace(outcome, place="").as_row() for outcome in verdicts(files, read_results([folder]))]
        for folder in (runs, tmp_path / "results")
    )
    assert of_runs == of_records
    assert [row["verdict"] for row in of_runs].count("supported") == 2


def test_the_command(three_by_two, tmp_path, capsys):
    words = ["compare", str(three_by_two), "--report_only", "--collect", str(tmp_path / "results")]
    assert main(words) == 0
    folder = tmp_path / "results" / "three positions"
    assert f"collected into {folder} (" in capsys.readouterr().out
    assert main(["compare", str(folder), "--report_only"]) == 0
    assert (folder / "report" / "report.html").is_file()


def test_seeds_and_variants_come_together_and_nothing_is_lost(make_comparison, make_run, tmp_path):
    target = tmp_path / "results"
    first = make_comparison(["a", "b"], [0], folder="first")
    evaluate(make_run(first, "a", 0, loss=5.0))
    make_run(first, "b", 0, state="failed")
    folder = collect(first, target).folder
    of_seed_0 = (folder / "seed-0.jsonl.gz").read_bytes()
    second = make_comparison(["a", "c"], [1, 2], folder="second")
    make_run(second, "a", 1)
    make_run(second, "c", 1)
    make_run(second, "c", 2, state="unfinished")
    done = collect(second, target)
    assert (done.added, done.kept) == (["a/seed-1", "c/seed-1"], ["a/seed-0", "b/seed-0"])
    assert done.left_out == ["c/seed-2"]
    assert (folder / "seed-0.jsonl.gz").read_bytes() == of_seed_0
    assert (list(asked(folder)["variants"]), asked(folder)["seeds"]) == (["a", "c", "b"], [0, 1, 2])
    found = load_comparison(folder)
    assert [(run.variant, run.seed) for run in found.runs] == [("a", 0), ("a", 1), ("c", 1), ("b", 0)]
    assert found.runs[3].reason == "step 17: the loss is nan (first seen in blocks.1.attention)"


def test_of_the_same_run_evaluations_add_up(make_comparison, make_run, tmp_path):
    output = make_comparison(["a"], [0])
    run = make_run(output, "a", 0)
    evaluate(run)
    collect(output, tmp_path)
    lines(run / "extrapolation.jsonl", extrapolated(512, 9.0), extrapolated(128, 3.5))
    shutil.rmtree(run / "probe")
    (run / "analysis.jsonl").unlink()
    lines(run / "numbers.jsonl", {"probe": "exact_match", "right": 4, "passport": PASSPORT})
    done = collect(output, tmp_path)
    assert (done.added, done.replaced, done.kept) == ([], [], [])
    (found,) = load_comparison(done.folder).runs
    assert [(r["length"], r["nll"]) for r in found.extrapolation] == [(128, 3.5), (256, 1 / 3), (512, 9.0)]
    assert (found.numbers[0]["right"], len(found.analysis), len(found.probes)) == (4, 1, 1)


def test_another_run_takes_the_place_and_is_told_a_failed_one_does_not(make_comparison, make_run, tmp_path):
    output = make_comparison(["a", "b"], [0])
    for variant in "ab":
        evaluate(make_run(output, variant, 0, loss=5.0))
    collect(output, tmp_path)
    for variant in "ab":
        shutil.rmtree(output / variant)
    make_run(output, "a", 0, loss=4.0)
    make_run(output, "b", 0, state="failed")
    done = collect(output, tmp_path)
    assert done.replaced == ["a/seed-0"]
    assert "these took the place of other runs of the same variant and seed: a/seed-0" in done.sentences()
    first, second = load_comparison(done.folder).runs
    assert first.results["records"][0]["cross_entropy"] == pytest.approx(4.0)
    assert (first.extrapolation, len(second.extrapolation), second.state) == ([], 2, "finished")


def test_collecting_again_gives_the_same_bytes(three_by_two, tmp_path):
    folder = collect(three_by_two, tmp_path / "results").folder
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    collect(three_by_two, tmp_path / "results")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_runs_of_other_settings_are_refused(make_comparison, make_run, tmp_path):
    output = make_comparison(["a"], [0])
    make_run(output, "a", 0)
    folder = collect(output, tmp_path / "results").folder
    before = (folder / "comparison.yaml").read_bytes()
    (output / "comparison.yaml").write_text(yaml.safe_dump(asked(output) | {"base": {"trainer": {"max_steps": 7}}}))
    with pytest.raises(ConfigError, match=r"other settings \(differing in base, base\.trainer\.max_steps\)"):
        collect(output, tmp_path / "results")
    assert (folder / "comparison.yaml").read_bytes() == before
    with pytest.raises(ConfigError, match="holds what was collected already"):
        collect(folder, tmp_path / "again")


def test_a_figure_without_its_passport_is_refused(make_comparison, make_run, tmp_path):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0, passport={"commit": None})
    assert collect(output, tmp_path / "results").changed == ["a/seed-0"]
    file = make_run(output, "b", 0) / "results.json"
    results = json.loads(file.read_text())
    del results["records"][1]["passport"]["tokenizer_sha256"]
    file.write_text(json.dumps(results))
    with pytest.raises(ConfigError, match=r"b/seed-0/results\.json.*expected tokenizer_sha256 beside every figure"):
        collect(output, tmp_path / "results")


def test_no_path_of_the_machine_remains(make_comparison, make_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = make_comparison(["a", "b"], [0])
    run = make_run(output, "a", 0, passport={"init_from": str(tmp_path / "runs" / "full")})
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"init_from": "/home/someone/full"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "environment.json").write_text(json.dumps({"command": ["/home/someone/lmzoo"], "platform": "Linux-secret"}))
    failed = make_run(output, "b", 0, state="failed")
    (failed / "failure.json").write_text(json.dumps({"reason": "no space in '/home/someone/my runs/b'."}))
    folder = collect(output, tmp_path / "results").folder
    text = gzip.decompress((folder / "seed-0.jsonl.gz").read_bytes()).decode()
    assert str(tmp_path) not in text
    assert "someone" not in text
    assert "secret" not in text
    first, second = load_comparison(folder).runs
    assert first.results["records"][0]["passport"]["init_from"] == "runs/full"
    assert first.config["init_from"] == ".../full"
    assert second.reason == "no space in '.../b'."


@pytest.mark.parametrize(
    ("text", "portable"),
    [
        ("/data/corpus/a.txt", "corpus/a.txt"),
        ("/data", "."),
        ("/database/a.txt", ".../a.txt"),
        ("~/models/full", ".../full"),
        ("C:\\Users\\someone\\full", ".../full"),
        ("cannot read /etc/x/y.json, line 3", "cannot read .../y.json, line 3"),
        ("wikitext-2", "wikitext-2"),
        ("runs/full/seed-0", "runs/full/seed-0"),
        ("../wikitext-2/1m.yaml", "../wikitext-2/1m.yaml"),
        ("tokens/s", "tokens/s"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("hub:owner/name", "hub:owner/name"),
        ("a / b", "a / b"),
    ],
)
def test_paths_within_texts(text, portable):
    assert Portable(Path("/data"))({"key": [text]}) == {"key": [portable]}


def test_of_an_environment_remains_what_figures_depend_on():
    kept = {"versions": {"torch": "2"}, "commit": None, "cores": 2}
    assert portable_environment(kept | {"platform": "Linux-box", "command": ["/x/y"]}) == kept


def test_what_is_no_archive_is_an_error_with_its_place(tmp_path):
    file = tmp_path / "seed-0.jsonl.gz"
    file.write_bytes(b"plain")
    with pytest.raises(ConfigError, match=r"seed-0\.jsonl\.gz.*expected gzipped JSON Lines"):
        read_archive(file)
    file.write_bytes(gzip.compress(b'{"variant": "a"}\n'))
    with pytest.raises(ConfigError, match=r"seed-0\.jsonl\.gz:1.*expected a run with its variant, seed"):
        read_archive(file)
