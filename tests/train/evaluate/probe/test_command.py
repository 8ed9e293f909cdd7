"""``lmzoo probe`` on a run of ours and on a Hugging Face folder: files, settings and messages."""

from __future__ import annotations

import json
import os
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from lmzoo.errors import ConfigError
from lmzoo.train.cli import main
from lmzoo.train.compare.comparison import ComparisonFile, PlannedRun, read_comparison
from lmzoo.train.compare.evaluations import evaluate_all, evaluations_of
from lmzoo.train.runs.load import load_run
from rich.console import Console
from transformers import GPT2Config, GPT2LMHeadModel

_PNG = b"\x89PNG"


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "probes.jsonl").read_text().splitlines()]


@pytest.fixture
def run(tiny: Any, write: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    words = ["--run_dir", str(folder), "--checkpoint_every_n_steps", "12"]
    assert main(["fit", "--config", str(write(tiny)), *words]) == 0
    return folder


def test_a_run(run: Path, capsys: Any) -> None:
    words = ["probe", str(run), "--lengths", "160,200", "--probe", "copy,passkey,start", "--samples", "2"]
    assert main(words) == 0
    records = lines(run / "probe")
    assert {(r["probe"], r["length"]) for r in records} == {
        (p, n) for p in ("copy", "passkey", "start") for n in (160, 200)
    }
    card = records[0]["passport"]
    assert (card["train_length"], card["seed"], card["dtype"]) == (16, 3, "float32")
    assert len(card["text_sha256"]) == len(card["tokenizer_sha256"]) == 64
    assert card["parameters"] > card["embedding_parameters"] > 0 == card["head_parameters"]
    assert card["split"] == "test"
    for name in ("copy-accuracy", "copy-loss", "passkey-ranked-first", "passkey-accuracy", "start-loss"):
        assert (run / "probe" / f"{name}.png").read_bytes()[:4] == _PNG
    shown = capsys.readouterr().out
    assert "finding a number that was told once" in shown

    assert main([*words[:-2], "--samples", "1", "--window", "8", "--rotary_extension", "yarn:4"]) == 0
    changed = lines(run / "probe-rotary-extension-yarn-4-window-8")
    assert {r["intervention"] for r in changed} == {"rotary_extension=yarn:4, window=8"}
    assert lines(run / "probe") == records


def test_a_folder_of_another_maker(tmp_path: Path, tokenizer: Any, capsys: Any) -> None:
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=128, **ends)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    common = ["probe", str(tmp_path / "gpt2"), "--samples", "2", "--output", str(tmp_path / "out")]
    assert main([*common, "--lengths", "64,128", "--probe", "copy"]) == 0
    records = lines(tmp_path / "out")
    assert {r["passport"]["train_length"] for r in records} == {128}
    capsys.readouterr()

    for words, message in (
        (
            ["--lengths", "256", "--probe", "copy"],
            "lengths: expected at most 128: this model's table of positions ends there",
        ),
        (["--lengths", "64", "--probe", "start", "--source", "nowhere"], "source: expected"),
        (["--lengths", "64", "--probe", "kopy"], "nearest: copy"),
        (["--lengths", "64,a"], "whole numbers with commas"),
        (["--lengths", "64", "--probe", "copy", "--power", "3"], "SoftplusAttention"),
    ):
        assert main([*common, *words]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert lines(tmp_path / "out") == records


@pytest.fixture
def comparison(tiny: Any, write: Any) -> Any:
    """``comparison(probes)``: a comparison that asks so."""

    def make(probes: Any) -> ComparisonFile:
        asked = {"name": "one", "base": tiny, "variants": {"rotary": None}, "baseline": "rotary", "probes": probes}
        return read_comparison(write(asked, "one.yaml"))

    return make


def test_a_comparison_probes_its_runs_once(run: Path, comparison: Any) -> None:
    console = Console(file=StringIO(), width=200)
    runs = [PlannedRun("rotary", 3, {}, run)]
    asked = {"names": ["copy", "start"], "lengths": [64, 40], "samples": 2}
    probes = comparison(asked).probes
    assert comparison(asked).as_yaml()["probes"] == {**asked, "seed": 0}
    assert evaluate_all(runs, evaluations_of(comparison(asked)), console) == []
    records = lines(run / "probe")
    assert {(r["probe"], r["length"], r["samples"]) for r in records} == {
        (name, length, 2) for name in ("copy", "start") for length in (40, 64)
    }
    assert list((run / "probe").iterdir()) == [run / "probe" / "probes.jsonl"]
    assert len(load_run(run.rename(run.with_name("seed-3"))).probes) == len(records)
    run = run.with_name("seed-3")

    refuse = [sys.executable, "-c", "import sys; sys.exit('never to be started')"]
    runs = [PlannedRun("rotary", 3, {}, run)]
    fewer = {**asked, "lengths": [64]}
    assert evaluate_all(runs, evaluations_of(comparison(fewer)), console, program=refuse) == []
    (trouble,) = evaluate_all(runs, evaluations_of(comparison({**asked, "samples": 3})), console, program=refuse)
    assert trouble.startswith("rotary, seed 3: lmzoo probe failed: ")
    assert not probes.missing(run)
    os.utime(run / "results.json")
    assert not probes.missing(run), "a touched file is the same file"


@pytest.mark.parametrize(
    ("probes", "said"),
    [
        (True, "probes.lengths"),
        ({"lengths": [64, 64]}, "a list of different whole numbers"),
        ({"lengths": [20]}, "at least 33 tokens for the copy probe"),
        ({"lengths": [64], "names": ["kopy"]}, "nearest: copy"),
        ({"lengths": [64], "names": "copy"}, "a list of some of copy, passkey, start"),
        ({"lengths": [64], "sample": 3}, "nearest valid keys: samples"),
        ({"lengths": [64], "samples": 0}, "1 or more"),
        ([64], "true, false or a mapping"),
    ],
)
def test_probes_that_cannot_be_asked_for(probes: Any, said: str, comparison: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        comparison(probes)
    assert said in str(caught.value)
    assert "probes" in str(caught.value)


def test_no_probes_are_asked_for(comparison: Any) -> None:
    assert comparison(False).probes is None
    assert evaluations_of(comparison(None)) == []


def test_lengths_beyond_a_table_of_positions_are_refused_before_training(comparison: Any, tiny: Any) -> None:
    tiny["model"]["position"] = {"class_path": "LearnedPosition", "init_args": {"max_length": 40}}
    with pytest.raises(ConfigError, match=r"probes\.lengths: expected at most 40"):
        comparison({"lengths": [33, 64]}).plan("rotary", 0)
