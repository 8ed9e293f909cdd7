"""``lmzoo extrapolate`` on runs and saved models, and inside ``lmzoo compare``."""

import json
import math
import shutil
import subprocess
import sys
from functools import partial
from io import StringIO

import pytest
import torch
import yaml
from lmzoo.layers import Rotary, SoftplusAttention
from lmzoo.layers.attention.visibility import Visibility
from lmzoo.models import Decoder
from lmzoo.train.cli import main
from lmzoo.train.compare.comparison import PlannedRun, read_comparison
from lmzoo.train.compare.evaluations import evaluate_all, evaluations_of
from lmzoo.train.evaluate.extrapolate.protocols import PROTOCOLS, fixed_target
from lmzoo.train.evaluate.extrapolate.stream import text_stream
from lmzoo.train.evaluate.subject import load_subject, load_text
from lmzoo.train.runs.evaluation_files import read_records, unchanged
from lmzoo.train.runs.load import load_comparison
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
    sizes["max_position_embeddings"] = 16  # made for as many tokens as the run, or the two would not share a figure
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


@pytest.fixture
def asked(tiny, write):
    """``asked(lengths)``: what a comparison with these lengths asks of its runs."""

    def make(lengths):
        comparison = {"name": "one", "base": tiny, "variants": {"rotary": None}, "baseline": "rotary"}
        return evaluations_of(read_comparison(write(comparison | {"lengths": lengths}, "one.yaml")))

    return make


def test_a_comparison_evaluates_its_runs_once(fitted, asked):
    text = StringIO()
    console = Console(file=text, width=200)
    runs = [PlannedRun("rotary", 3, {}, fitted)]
    assert evaluate_all(runs, asked([16, 32]), console) == []
    assert "[1/1] rotary, seed 3, lmzoo extrapolate: done in" in text.getvalue()
    assert len(read_records(fitted / "extrapolation.jsonl")) == 6
    assert "non_overlapping 16: " in (fitted / "log.txt").read_text()
    refuse = [sys.executable, "-c", "import sys; sys.exit('never to be started')"]
    assert evaluate_all(runs, asked([32, 16]), console, program=refuse) == []
    (trouble,) = evaluate_all(runs, asked([16, 64]), console, program=refuse)
    reason = "the process ended with exit code 1: never to be started"
    assert trouble == f"rotary, seed 3: lmzoo extrapolate failed: {reason}"


def by_rows(attend, window):
    """``attend`` row by row, each on its own window of keys."""

    def one_by_one(query, key, value, visibility):
        rows = []
        for i in range(key.size(2) - query.size(2), key.size(2)):
            seen = slice(max(0, i + 1 - window), i + 1)
            row = query[:, :, i - key.size(2) :][:, :, :1]
            own = Visibility(1, seen.stop - seen.start, None, query.device)
            rows.append(attend(row, key[:, :, seen], value[:, :, seen], own))
        return torch.cat(rows, dim=2)

    return one_by_one


CHANGES = {
    None: ([], {}),
    "window=64": (["--window", "64"], {}),
    "power=7": (["--power", "7"], {"attention": partial(SoftplusAttention, power=7.0)}),
    "rotary_extension=yarn:4": (
        ["--rotary_extension", "yarn:4"],
        {"position": Rotary(extension="yarn", factor=4.0, train_length=16)},
    ),
}


def test_changes_of_a_run_are_exact_and_their_records_kept_apart(tiny, write, tmp_path, brute):
    attention = {"class_path": "SoftplusAttention", "init_args": {"power": 3.0}}
    tiny["model"] |= {"attention": attention, "position": "Rotary", "init_std": 0.3}
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder)]) == 0
    words = ["extrapolate", str(folder), "--lengths", "72,96", "--protocol", "fixed_target", "--dtype", "float64"]
    words += ["--targets", "8", "--stride", "4"]
    for change, (options, _) in CHANGES.items():
        assert main([*words, *options, *([] if change == "window=64" else ["--no_figure"])]) == 0
    assert main([*words, "--window", "64", "--no_figure"]) == 0
    records = read_records(folder / "extrapolation.jsonl")
    assert sorted((str(r["intervention"]), r["length"]) for r in records) == sorted(
        (str(change), length) for change in CHANGES for length in (72, 96)
    )
    # the figure has a name of its own, and beside the changed model in it stands the model as it is
    assert (folder / "extrapolation-window-64.png").is_file()
    assert not (folder / "extrapolation.png").exists()
    plain, limited = ([r for r in records if r["intervention"] == change] for change in (None, "window=64"))
    assert unchanged(folder / "extrapolation.jsonl", limited) == plain

    subject = load_subject(str(folder), label="run")
    stream = text_stream(subject.tokenizer, load_text(subject))
    ids = stream.tokens.tolist()
    sums = {}
    for record in records:
        own = {"attention": partial(SoftplusAttention, power=3.0)} | CHANGES[record["intervention"]][1]
        model = Decoder(len(subject.tokenizer), 16, 2, 2, **own)
        model.load_state_dict(subject.model.decoder.state_dict())
        model = model.double().eval()
        if record["intervention"] == "window=64":
            for block in model.blocks:
                block.attention.attend = by_rows(block.attention.attend, 64)
        windows = fixed_target(stream, record["length"], 96, stride=4, targets=8)
        places = zip(windows.begin.tolist(), windows.first.tolist(), windows.end.tolist())
        contexts = {j: j - begin for begin, first, end in places for j in range(first, end + 1) if stream.scored[j]}
        nll = brute(model, ids, contexts)
        assert record["tokens"] == len(nll) > 4
        assert record["nll"] == pytest.approx(math.fsum(nll.values()), rel=1e-9), record["intervention"]
        sums[record["intervention"], record["length"]] = record["nll"]
    assert len({round(nll, 6) for nll in sums.values()}) == len(sums)


@pytest.mark.slow
def test_compare_with_lengths_and_probes(tiny, write, tmp_path, lmzoo):
    variants = {"rotary": None, "alibi": {"model": {"position": "ALiBi"}}}
    comparison = {"name": "two", "base": tiny, "variants": variants, "baseline": "rotary", "seeds": [0]}
    asked = {"lengths": [16, 64], "probes": {"names": ["copy", "start"], "lengths": [40], "samples": 2}}
    file = write(comparison | asked, "two.yaml")
    lmzoo("compare", file, "--output", tmp_path / "out")
    page = (tmp_path / "out" / "report" / "report.md").read_text()
    assert "## Beyond the training length" in page
    assert "### Sliding windows: token perplexity by window length" in page
    assert "### Copying from the far end: share copied" in page
    for name in ("extrapolation", "copy-accuracy", "copy-gain", "start-loss"):
        assert (tmp_path / "out" / "report" / f"{name}.png").is_file()
    rows = [json.loads(line) for line in (tmp_path / "out" / "report" / "records.jsonl").read_text().splitlines()]
    assert sum(row["protocol"] == "fixed_target" for row in rows) == 2 * 2
    assert all(len(run.extrapolation) == 6 for run in load_comparison(tmp_path / "out").runs)


def test_importing_train_loads_nothing():
    code = "import sys, lmzoo.train as t; assert 'torch' not in sys.modules; print(t.extrapolate.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "extrapolate\n", done.stderr
