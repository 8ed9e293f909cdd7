"""``lmzoo extrapolate`` on runs and saved models, and inside ``lmzoo compare``."""

import json
import shutil
import subprocess
import sys
from io import StringIO

import pytest
import torch
import yaml
from lmzoo.train.cli import main
from lmzoo.train.comparison import PlannedRun
from lmzoo.train.extrapolation.children import extrapolate_runs
from lmzoo.train.extrapolation.protocols import PROTOCOLS
from lmzoo.train.extrapolation.records import read_records
from lmzoo.train.report.load import load_comparison
from rich.console import Console
from transformers import LlamaConfig, LlamaForCausalLM


@pytest.fixture(scope="module")
def trained(corpus, cache, tmp_path_factory):
    """A finished run, trained once for all tests of this file."""
    folder = tmp_path_factory.mktemp("trained")
    source = {split: str(corpus / f"{split}.txt") for split in ("train", "validation", "test")}
    config = {
        "seed_everything": 3,
        "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "warmup_steps": 1},
        "data": {"source": source, "vocab_size": 270, "context_length": 16, "batch_size": 4, "cache_dir": str(cache)},
        "trainer": {"max_steps": 4, "accelerator": "cpu"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(folder / "config.yaml"), "--run_dir", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def fitted(trained, tmp_path):
    """A copy of that run, as the run of a comparison."""
    return shutil.copytree(trained, tmp_path / "runs" / "rotary" / "seed-3")


def test_a_run_by_all_protocols(fitted, capsys, tmp_path):
    words = ["extrapolate", str(fitted), "--lengths", "8,16,64", "--targets", "100"]
    assert main(words) == 0
    records = read_records(fitted / "extrapolation.jsonl")
    assert [(r["protocol"], r["length"]) for r in records] == [(p, n) for p in PROTOCOLS for n in (8, 16, 64)]
    results = json.loads((fitted / "results.json").read_text())
    (test,) = (r for r in results["records"] if r["split"] == "test")
    (ours,) = (r for r in records if (r["protocol"], r["length"]) == ("non_overlapping", 16))
    assert ours["nll"] == pytest.approx(test["nll"], rel=1e-5)
    for name in ("tokens", "words", "bytes"):
        assert ours[name] == test[name]
    same = ("corpus", "split", "text_sha256", "tokenizer_sha256", "train_length", "seed", "parameters", "word_rule")
    for name in same:
        assert ours["passport"][name] == test["passport"][name], name
    assert (fitted / "extrapolation.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().out.count("known already") == 9
    assert len(read_records(fitted / "extrapolation.jsonl")) == 9


def test_a_saved_model_of_transformers_beside_a_run(fitted, corpus, tmp_path, capsys):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(fitted)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    folder = tmp_path / "llama"
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    words = ["--lengths", "16,32", "--protocol", "sliding", "--source", str(corpus / "test.txt"), "--split", "train"]
    assert main(["extrapolate", str(fitted), str(folder), *words, "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "extrapolation.png").is_file()
    assert not (folder / "extrapolation.jsonl").exists()
    lines = (tmp_path / "out" / "extrapolation-records.jsonl").read_text().splitlines()
    assert [json.loads(line)["model"] for line in lines] == ["rotary/seed-3"] * 2 + ["llama"] * 2
    said = capsys.readouterr().out
    assert "Sliding windows" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lengths", "8;16"], "such as 256,512,1024"),
        (["--lengths", "8", "--protocol", "slide"], "nearest: sliding"),
        (["--lengths", "8", "--split", "dev"], "split: expected"),
        (["--lengths", "8", "--as", "lm_eval"], "as: expected lm-eval or fairseq"),
        (["--lengths", "8", "--dtype", "half"], "dtype: expected"),
        (["--lengths", "8", "--source", "nowhere"], "source: expected"),
        (["--lengths", "100000", "--protocol", "fixed_target"], "lengths: expected at most"),
    ],
)
def test_what_cannot_be_used_is_refused(fitted, words, said, capsys):
    assert main(["extrapolate", str(fitted), *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_what_is_no_model_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["extrapolate", str(tmp_path / "empty"), "--lengths", "8"]) == 2
    assert "expected a folder with model.safetensors" in " ".join(capsys.readouterr().err.split())


def planned(folder) -> PlannedRun:
    return PlannedRun(folder.parent.name, 3, {}, folder)


def test_a_comparison_evaluates_its_runs_once(fitted):
    text = StringIO()
    console = Console(file=text, width=200)
    assert extrapolate_runs([planned(fitted)], [16, 32], console) == []
    assert "[1/1] rotary, seed 3: evaluated in" in text.getvalue()
    assert len(read_records(fitted / "extrapolation.jsonl")) == 6
    assert "non_overlapping 16: " in (fitted / "log.txt").read_text()
    refuse = [sys.executable, "-c", "import sys; sys.exit('never to be started')"]
    assert extrapolate_runs([planned(fitted)], [32, 16], console, command=refuse) == []
    ((label, reason),) = extrapolate_runs([planned(fitted)], [16, 64], console, command=refuse)
    assert (label, reason) == ("rotary, seed 3", "the process ended with exit code 1: never to be started")
    assert extrapolate_runs([planned(fitted)], [], console, command=refuse) == []


@pytest.mark.slow
def test_compare_with_lengths(tiny, write, tmp_path, lmzoo):
    variants = {"rotary": None, "alibi": {"model": {"position": "ALiBi"}}}
    comparison = {"name": "two", "base": tiny, "variants": variants, "baseline": "rotary", "seeds": [0]}
    file = write(comparison | {"lengths": [16, 64]}, "two.yaml")
    lmzoo("compare", file, "--output", tmp_path / "out")
    page = (tmp_path / "out" / "report" / "report.md").read_text()
    assert "## Beyond the training length" in page
    assert "### Sliding windows: token perplexity by window length" in page
    assert (tmp_path / "out" / "report" / "extrapolation.png").is_file()
    rows = [json.loads(line) for line in (tmp_path / "out" / "report" / "records.jsonl").read_text().splitlines()]
    assert sum(row["protocol"] == "fixed_target" for row in rows) == 2 * 2
    assert all(len(run.extrapolation) == 6 for run in load_comparison(tmp_path / "out").runs)


def test_importing_train_loads_nothing():
    code = "import sys, lmzoo.train as t; assert 'torch' not in sys.modules; print(t.extrapolate.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "extrapolate\n", done.stderr
