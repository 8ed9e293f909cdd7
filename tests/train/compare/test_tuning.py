"""Learning rates that trials choose: the rule, the plan, and going on after an interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
import yaml
from lmzoo.errors import ConfigError
from lmzoo.train.compare.comparison import read_comparison
from lmzoo.train.compare.run_all import Interrupted
from lmzoo.train.compare.tune import check_trials, tune, tuned_rates
from lmzoo.train.config import load_yaml
from lmzoo.train.fit.lightning_cli import check
from lmzoo.train.runs.load import load_run
from lmzoo.train.runs.trials import Trial, Tuning, at_edge, best_rate, read_trials
from rich.console import Console

RATES = [0.001, 0.003, 0.01]


@pytest.fixture
def comparison(tiny) -> dict:
    return {
        "name": "tuned",
        "base": tiny,
        "variants": {"rotary": None, "alibi": {"model": {"position": "ALiBi"}}},
        "baseline": "rotary",
        "seeds": [0, 1],
        "tuning": {"learning_rates": RATES, "seed": 9, "fraction": 0.1},
    }


def leave(folder: Path, loss: float | None = None, failure: dict | None = None) -> None:
    """A trial's folder as a run leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    if failure is not None:
        (folder / "failure.json").write_text(json.dumps(failure))
        return
    records = [{"split": "validation", "cross_entropy": loss}]
    (folder / "results.json").write_text(json.dumps({"finished": True, "records": records}))


DIVERGED = {"reason": "the loss is nan", "step": 3, "layer": "blocks.0"}


@pytest.mark.parametrize(
    ("left", "best"),
    [
        ([3.0, 2.0, 2.5], 0.003),
        ([2.0, 2.0, 2.5], 0.001),
        ([3.0, 2.0, 2.0], 0.003),
        ([3.0, None, 2.0], 0.01),
        ([3.0, 2.5, DIVERGED], 0.003),
        ([DIVERGED, DIVERGED, DIVERGED], None),
        ([None, None, None], None),
        ([3.0, 2.5, {"reason": "MemoryError"}], None),
        ([3.0, 2.5, "nothing"], None),
    ],
)
def test_the_lowest_loss_wins_once_all_trials_have_ended(tmp_path, left, best):
    tuning = Tuning(RATES, seed=9)
    for rate, what in zip(RATES, left, strict=True):
        if isinstance(what, dict):
            leave(tuning.folder(tmp_path, "alibi", rate), failure=what)
        elif what != "nothing":
            leave(tuning.folder(tmp_path, "alibi", rate), what)
    trials = read_trials(tuning, tmp_path, "alibi")
    assert best_rate(trials) == best
    assert best is None or at_edge(best, trials) == (best != 0.003)


def test_what_is_said_of_a_trial_without_a_loss(tmp_path):
    said = []
    for place, failure in enumerate((DIVERGED, {"reason": "killed"})):
        leave(tmp_path / f"seed-{place}", failure=failure)
        said.append(Trial("a", 0.1, load_run(tmp_path / f"seed-{place}")).said)
    leave(tmp_path / "seed-2", None)
    said += [Trial("a", 0.1, load_run(tmp_path / f"seed-{place}")).said for place in (2, 3)]
    assert said == ["diverged", "failed", "diverged", "not finished"]


def test_rates_come_in_rising_order():
    assert Tuning([0.01, 1, 0.003]).learning_rates == (0.003, 0.01, 1.0)


def test_a_trial_is_the_run_with_its_rate_its_seed_and_its_validation_text(comparison, write):
    read = read_comparison(write(comparison))
    trial, final = read.plan_trial("alibi", 0.003), read.plan("alibi", 9, learning_rate=0.003)
    assert trial.folder == read.output / "tuning" / "alibi" / "lr-0.003" / "seed-9"
    assert trial.config["data"].pop("tuning_fraction") == 0.1
    assert trial.config["trainer"].pop("limit_val_batches") == 1.0
    assert final.config["trainer"].pop("limit_val_batches") is None
    assert trial.config == final.config
    assert final.config["model"]["learning_rate"] == 0.003
    assert "tuning_fraction" not in final.config["data"]
    assert trial.label == "alibi, learning rate 0.003, seed 9"
    assert check(read.plan_trial("alibi", 0.003).config) == read.plan_trial("alibi", 0.003).config


def test_trials_may_be_shorter_and_validate_where_final_runs_do_not(comparison, write):
    comparison["base"]["trainer"]["limit_val_batches"] = 0
    comparison["tuning"]["max_steps"] = 7
    read = read_comparison(write(comparison))
    trainer = read.plan_trial("rotary", 0.01).config["trainer"]
    assert (trainer["max_steps"], trainer["limit_val_batches"]) == (7, 1.0)
    trainer = read.plan("rotary", 0).config["trainer"]
    assert (trainer["max_steps"], trainer["limit_val_batches"]) == (12, 0)


def test_what_is_written_down_asks_for_the_same_trials(comparison, write):
    read = read_comparison(write(comparison))
    again = read_comparison(write(read.as_yaml(), "again.yaml"))
    assert again.tuning == read.tuning
    assert again.plan_trial("alibi", 0.01).config == read.plan_trial("alibi", 0.01).config
    plain = read_comparison(write({k: v for k, v in comparison.items() if k != "tuning"}, "plain.yaml"))
    assert plain.tuning is None
    assert "tuning" not in plain.as_yaml()
    assert tuned_rates(plain) == {}


def test_a_variant_cannot_have_a_rate_of_its_own(comparison, write):
    with pytest.raises(ConfigError, match=r"command line: model\.learning_rate: tuning chooses it.*--set cannot"):
        read_comparison(write(comparison), settings={"model": {"learning_rate": 0.1}})
    comparison["variants"]["rotary"] = {"model": {"learning_rate": 0.1}}  # neither may the baseline
    with pytest.raises(ConfigError, match=r"variants\.rotary\.model\.learning_rate: tuning chooses it"):
        read_comparison(write(comparison))


def test_trials_that_cannot_run_are_told_before_any_work(comparison, write):
    comparison["variants"]["alibi"]["model"]["positon"] = "ALiBi"
    with pytest.raises(ConfigError, match=r"variant alibi.*positon"):
        check_trials(read_comparison(write(comparison)))


class Played:
    """Takes the place of ``run_all``: leaves a loss for each trial, and is ended by a signal after some."""

    def __init__(self, losses: dict[float, float], until: int | None = None) -> None:
        self.losses, self.until = losses, until
        self.made: list[str] = []

    def __call__(self, runs, progress, *, executor=None, allow_classes=False):
        for run in runs:
            if self.until is not None and len(self.made) == self.until:
                raise Interrupted(signal.SIGTERM)
            self.made.append(run.label)
            run.folder.mkdir(parents=True)
            (run.folder / "config.yaml").write_text(yaml.safe_dump(run.config))
            loss = self.losses[run.config["model"]["learning_rate"]]
            leave(run.folder, loss, None if loss is not None else DIVERGED)
        return []


def carry_out(read, played, monkeypatch, variants=("rotary", "alibi")) -> tuple:
    monkeypatch.setattr("lmzoo.train.compare.tune.run_all", played)
    text = StringIO()
    return (*tune(read, variants, Console(file=text, width=200)), text.getvalue())


def test_an_interrupted_tuning_goes_on_with_the_trials_that_are_missing(comparison, write, tmp_path, monkeypatch):
    read = read_comparison(write(comparison), output=tmp_path / "out")
    losses = {0.001: 3.0, 0.003: 2.0, 0.01: None}
    first, second, third = Played(losses, until=4), Played(losses), Played(losses)
    with pytest.raises(Interrupted):
        carry_out(read, first, monkeypatch)
    assert tuned_rates(read) == {"rotary": 0.003}
    rates, untuned, said = carry_out(read, second, monkeypatch)
    assert (rates, untuned) == ({"rotary": 0.003, "alibi": 0.003}, [])
    assert len(first.made) == 4
    assert sorted(first.made + second.made) == sorted({*first.made, *second.made})
    assert len(first.made + second.made) == 6
    assert "rotary: learning rate 0.003\n" in said
    carry_out(read, third, monkeypatch)
    assert third.made == [], "a trial that diverged has lost for good"


def test_only_the_variants_asked_for_are_tuned(comparison, write, tmp_path, monkeypatch):
    read = read_comparison(write(comparison), output=tmp_path / "out")
    rates, untuned, said = carry_out(read, Played({0.001: 1.0, 0.003: 2.0, 0.01: 3.0}), monkeypatch, ["alibi"])
    assert (rates, untuned) == ({"alibi": 0.001}, [])
    assert "alibi: learning rate 0.001, at the edge of those tried" in said


def test_a_variant_whose_trials_all_diverged_gets_no_final_run(comparison, write, tmp_path, monkeypatch):
    read = read_comparison(write(comparison), output=tmp_path / "out")
    rates, untuned, _ = carry_out(read, Played(dict.fromkeys(RATES)), monkeypatch, ["alibi"])
    assert rates == {}
    assert untuned == [
        "alibi: no learning rate was chosen, so no final run was made: "
        + "; ".join(f"{rate!r} diverged (step 3: the loss is nan (first seen in blocks.0))" for rate in RATES)
    ]


def test_final_runs_of_another_rate_are_refused(comparison, write, tmp_path, monkeypatch):
    read = read_comparison(write(comparison), output=tmp_path / "out")
    final = read.plan("rotary", 5, learning_rate=0.001)
    final.folder.mkdir(parents=True)
    (final.folder / "config.yaml").write_text(yaml.safe_dump(final.config))
    read.refuse_other_runs(tuned_rates(read))  # the rate is not known yet
    with pytest.raises(ConfigError, match=r"rotary/seed-5 holds a run .*differs in model\.learning_rate"):
        carry_out(read, Played({0.001: 3.0, 0.003: 2.0, 0.01: 3.0}), monkeypatch)
    with pytest.raises(ConfigError, match=r"rotary/seed-5 holds a run"):
        read.refuse_other_runs(tuned_rates(read))  # now it is
    read.refuse_other_runs({"rotary": 0.001})


def test_trials_of_another_configuration_are_refused(comparison, write, tmp_path, monkeypatch):
    read = read_comparison(write(comparison), output=tmp_path / "out")
    carry_out(read, Played(dict.fromkeys(RATES, 2.0)), monkeypatch)
    read.refuse_other_runs(tuned_rates(read))
    comparison["tuning"]["fraction"] = 0.2
    other = read_comparison(write(comparison), output=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"tuning/rotary/lr-0.001/seed-9 holds .*differs in data\.tuning_fraction"):
        other.refuse_other_runs(tuned_rates(other))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends a killed parent's children on Linux alone")
def test_a_killed_tuned_and_matched_comparison_goes_on_to_its_report(tiny, write, lmzoo, cache, tmp_path):
    lines = Path(tiny["data"]["source"]["train"]).read_text().splitlines()
    articles = (f'<doc id="{i}">\n' + "\n".join(lines[i : i + 4]) + "\n</doc>\n" for i in range(0, len(lines), 4))
    (tmp_path / "articles.txt").write_text("".join(articles))
    tiny["data"]["source"]["train"] = str(tmp_path / "articles.txt")
    file = write(
        {
            "name": "small",
            "base": tiny,
            "variants": {"rotary": None, "complex": {"model": {"position": None, "attention": "ComplexAttention"}}},
            "baseline": "rotary",
            "seeds": [3],
            "match": "parameters",
            "tuning": {"learning_rates": [0.0001, 0.01, 1.0e30], "seed": 9},
        },
        "small.yaml",
    )
    output = tmp_path / "out"
    command = [sys.executable, "-m", "lmzoo.train", "compare", str(file), "--output", str(output)]
    environment = {**os.environ, "LMZOO_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun = output / "tuning" / "rotary" / "lr-0.01" / "seed-9"
    try:
        end = time.monotonic() + 240
        while not begun.is_dir():
            assert process.poll() is None
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)
    finally:
        process.kill()  # SIGKILL, which leaves it no time to tidy up
        process.wait()
    first = output / "tuning" / "rotary" / "lr-0.0001" / "seed-9" / "results.json"
    written = first.stat().st_mtime_ns
    end = time.monotonic() + 30
    done = lmzoo("compare", file, "--output", output, code=None)
    while "another process is at work" in done.stdout and time.monotonic() < end:
        done = lmzoo("compare", file, "--output", output, code=None)
    assert done.returncode == 0, done.stdout + done.stderr
    assert first.stat().st_mtime_ns == written
    assert "rotary: learning rate 0.01\n" in done.stdout
    trial = json.loads((begun / "results.json").read_text())["records"]
    assert [record["split"] for record in trial] == ["validation"]
    assert trial[0]["passport"]["corpus"] == "files:articles.txt, 5 % of train withheld"
    finals = {name: load_run(output / name / "seed-3") for name in ("rotary", "complex")}
    assert {run.config["model"]["learning_rate"] for run in finals.values()} == {0.01}
    assert len({run.results["train_tokens"] for run in finals.values()}) == 1
    width = finals["complex"].config["model"]["feed_forward"]["init_args"]["hidden"]
    assert finals["complex"].results["sizes"] == {"feed_forward": width, "depth": 2}
    tokenizers = {
        record["passport"]["tokenizer_sha256"] for run in finals.values() for record in run.results["records"]
    }
    assert tokenizers == {trial[0]["passport"]["tokenizer_sha256"]}, "unchanged"
    assert load_yaml(output / "comparison.yaml")["tuning"]["learning_rates"] == [0.0001, 0.01, 1.0e30]
    page = (output / "report" / "report.html").read_text()
    for said in ("Validation loss by learning rate", "diverged", "Feed-forward width", "Matched: parameters"):
        assert said in page
    assert len((output / "report" / "tuning.jsonl").read_text().splitlines()) == 4
    before = (output / "report" / "report.md").read_text()
    lmzoo("compare", output, "--report_only")
    assert (output / "report" / "report.md").read_text() == before
    again = lmzoo("compare", file, "--output", output)
    assert "complex, seed 3: finished already" in again.stdout
    assert "trials of learning rates" not in again.stdout
