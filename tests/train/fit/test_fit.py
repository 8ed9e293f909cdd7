"""A run from YAML to records: what it leaves, and that its perplexity is what a brute-force scorer finds."""

import hashlib
import json
import math
import signal
import subprocess
import sys

import pandas as pd
import pytest
import torch
import yaml
from lmzoo.train.cli import main
from lmzoo.train.fit.lightning_cli import TrainingCLI
from lmzoo.train.runs.folder import RunFolder
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer


@pytest.fixture(scope="module")
def corpus_text(corpus):
    return {split: (corpus / f"{split}.txt").read_text() for split in ("train", "validation", "test")}


@pytest.fixture
def run(tiny, write, tmp_path):
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder)]) == 0
    return folder


def brute_force_nll(folder, texts, context_length):
    """Sum, in float64, of -log p of each token of each text, computed one target at a time from plain logits.

    The stream is separator, document, separator, document, ...; cut into windows of ``context_length`` targets.
    """
    import lmzoo.models  # noqa: F401 - registers the architecture

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    stream, scored = [], []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        stream += [tokenizer.bos_token_id, *ids]
        scored += [False, *[True] * len(ids)]
    total, tokens = 0.0, 0
    with torch.no_grad():
        for i in range(1, len(stream)):
            if not scored[i]:
                continue
            start = (i - 1) // context_length * context_length  # the window's first input
            logits = model(torch.tensor([stream[start:i]])).logits[0, -1]
            total -= torch.log_softmax(logits, -1)[stream[i]].item()
            tokens += 1
    return total, tokens


def test_perplexity_equals_a_brute_force_scorer(run, corpus_text):
    record = json.loads((run / "results.json").read_text())["records"][1]
    text = corpus_text["test"]
    nll, tokens = brute_force_nll(run, [text], context_length=16)
    assert record["split"] == "test"
    assert record["tokens"] == tokens
    assert record["nll"] == pytest.approx(nll, rel=1e-5)  # the run is in float32
    assert record["bytes"] == len(text.encode())
    assert record["words"] == len(text.split())
    assert record["token_perplexity"] == pytest.approx(math.exp(nll / tokens), rel=1e-4)
    assert record["word_perplexity"] == pytest.approx(math.exp(nll / len(text.split())), rel=1e-3)
    assert record["bits_per_byte"] == pytest.approx(nll / math.log(2) / len(text.encode()), rel=1e-5)


@pytest.fixture
def of_documents(tiny, write, tmp_path):
    """A run whose validation and test text are problems of arithmetic, 16 a document."""
    tiny["data"] |= {"source": "arithmetic", "arithmetic": {"train_problems": 600, "test_problems": 100}}
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder)]) == 0
    return folder


def test_final_records_hold_the_sums_of_each_document(of_documents):
    for record in json.loads((of_documents / "results.json").read_text())["records"]:
        sums = record["by_document"]
        assert sums["document"] == list(range(record["passport"]["documents"]))
        assert len(sums["document"]) > 1
        for name in ("tokens", "words", "bytes"):
            assert sum(sums[name]) == record[name]
            assert min(sums[name]) > 0
        assert math.fsum(sums["nll"]) == pytest.approx(record["nll"], rel=1e-12)


def test_what_a_run_leaves(run, tiny):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    train = [r for r in rows if r["split"] == "train"]
    assert [r["step"] for r in train] == list(range(1, 13))
    assert [r["tokens"] for r in train] == [4 * 16 * s for s in range(1, 13)]
    assert train[-1]["cross_entropy"] < train[0]["cross_entropy"] < math.log(270) + 0.1
    assert [r["step"] for r in rows if r["split"] == "validation"] == [6, 12]
    peak = max(r["learning_rate"] for r in train)
    assert peak == pytest.approx(0.01, rel=0.02), "warm-up ends at the peak"

    results = json.loads((run / "results.json").read_text())
    weights = load_file(run / "model.safetensors")
    assert results["parameters"]["total"] == sum(w.numel() for w in weights.values())
    assert results["parameters"]["embedding"] == 270 * 16
    assert (results["parameters"]["head"], results["parameters"]["tied"]) == (0, 270 * 16)
    assert results["parameters"]["head_table_bytes"] == 0
    assert results["train_tokens"] == 12 * 64
    assert results["records"][0]["cross_entropy"] == rows[-1]["cross_entropy"]

    passport = results["records"][0]["passport"]
    expected = "corpus text_sha256 tokenizer_sha256 train_length dtype seed parameters embedding_parameters".split()
    assert {
        *expected,
        "head_parameters",
        "tied_parameters",
        "head_table_bytes",
        "versions",
        "commit",
    } <= passport.keys()
    assert (passport["seed"], passport["train_length"], passport["dtype"]) == (3, 16, "32-true")
    assert len(passport["text_sha256"]) == len(hashlib.sha256().hexdigest())

    csv = pd.read_csv(next((run / "logs" / "csv").rglob("metrics.csv")))
    assert csv["train/cross_entropy"].dropna().tolist() == pytest.approx([r["cross_entropy"] for r in train])
    assert list((run / "logs" / "tensorboard").glob("events.*"))
    assert not list(run.rglob("*.tmp"))


def test_validate_and_test_commands_repeat_the_records(run, capsys):
    results = json.loads((run / "results.json").read_text())
    assert main(["validate", "--run_dir", str(run)]) == 0
    assert main(["test", "--run_dir", str(run)]) == 0
    again = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    assert [r["nll"] for r in again] == [r["nll"] for r in results["records"]]
    assert [r["passport"] for r in again] == [r["passport"] for r in results["records"]]
    assert [r["by_document"] for r in again] == [r["by_document"] for r in results["records"]]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["--model.position", "ALiBi"], "model.position"),
        (["--model.d_model", "32"], "model.d_model"),
        (["--seed_everything", "9"], "seed_everything"),
        (["--data.context_length", "32"], "data.context_length"),
    ],
)
def test_a_trained_model_cannot_be_evaluated_as_another(run, capsys, words, key):
    assert main(["test", "--run_dir", str(run), *words]) == 2
    assert key in capsys.readouterr().err


def test_other_text_is_split_with_the_tokenizer_of_the_run(run, tmp_path, capsys):
    (tmp_path / "other.txt").write_text("quite other words stand here, zebra quartz 12345.\n" * 30)
    source = {split: str(tmp_path / "other.txt") for split in ("train", "validation", "test")}
    assert main(["test", "--run_dir", str(run), f"--data.source={json.dumps(source)}"]) == 0
    record = json.loads((run / "evaluations.jsonl").read_text())
    trained = json.loads((run / "results.json").read_text())["records"][0]["passport"]
    assert record["passport"]["tokenizer_sha256"] == trained["tokenizer_sha256"]
    nll, tokens = brute_force_nll(run, [(tmp_path / "other.txt").read_text()], context_length=16)
    assert record["tokens"] == tokens
    assert record["nll"] == pytest.approx(nll, rel=1e-5)


def test_longer_evaluation_windows(run, capsys):
    assert main(["test", "--run_dir", str(run), "--data.eval_context_length", "64"]) == 0
    record = json.loads((run / "evaluations.jsonl").read_text())
    assert record["length"] == 64
    assert record["passport"]["train_length"] == 16


def test_limits_during_training_do_not_reach_the_records(tiny, write, tmp_path):
    folder = tmp_path / "run"
    words = ["--run_dir", str(folder), "--trainer.limit_val_batches", "1"]
    assert main(["fit", "--config", str(write(tiny)), *words]) == 0
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    assert stored["trainer"]["limit_val_batches"] == 1
    assert isinstance(stored["trainer"]["limit_val_batches"], int), "one batch, not all of them"
    cli = TrainingCLI("fit", ["--config", str(folder / "config.yaml")])
    assert isinstance(cli.trainer.limit_val_batches, int), "also when the stored configuration is read again"
    record = json.loads((folder / "results.json").read_text())["records"][0]
    assert record["tokens"] == record["passport"]["tokens"]


def test_no_validation_is_no_record(tiny, write, tmp_path):
    folder = tmp_path / "run"
    assert (
        main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder), "--trainer.limit_val_batches", "0"]) == 0
    )
    assert [r["split"] for r in json.loads((folder / "results.json").read_text())["records"]] == ["test"]
    assert '"validation"' not in (folder / "metrics.jsonl").read_text()


def test_a_run_that_ends_early_is_not_finished(tiny, write, tmp_path, capsys):
    folder = tmp_path / "run"
    words = ["fit", "--config", str(write(tiny)), "--run_dir", str(folder), "--trainer.max_time", "00:00:00:00"]
    assert main(words) == 1
    assert not (folder / "results.json").exists()
    assert "of 12" in json.loads((folder / "failure.json").read_text())["reason"]


def test_early_stopping_has_something_to_watch(tiny, write, tmp_path):
    stop = {"monitor": "validation/cross_entropy", "patience": 1, "min_delta": 100.0}
    path = "lightning.pytorch.callbacks.EarlyStopping"
    tiny["trainer"] |= {"callbacks": [{"class_path": path, "init_args": stop}], "val_check_interval": 2}
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder)]) == 0
    results = json.loads((folder / "results.json").read_text())
    assert results["steps"] == 4 < results["planned_steps"] == 12


def test_the_last_steps_of_a_run_are_logged(tiny, write, tmp_path):
    tiny["trainer"] |= {"max_steps": 10, "accumulate_grad_batches": 3, "log_every_n_steps": 1000}
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder)]) == 0
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if r["split"] == "train"] == [10]
    assert json.loads((folder / "results.json").read_text())["train_tokens"] == 10 * 3 * 64


def test_a_start_that_failed_can_be_mended(tiny, write, tmp_path, capsys):
    folder = tmp_path / "run"
    words = ["fit", "--config", str(write(tiny)), "--run_dir", str(folder)]
    assert main([*words, "--data.batch_size", "100000"]) == 2
    message = capsys.readouterr().err
    assert "command line: data.batch_size: expected at most" in message
    assert main(words) == 0


def test_two_processes_do_not_share_a_run(tiny, write, tmp_path, capsys):
    folder = tmp_path / "run"
    with RunFolder(folder).held():
        assert main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder)]) == 2
    assert "another process" in capsys.readouterr().err


def test_an_interval_longer_than_the_run_validates_at_its_end(tiny, write, tmp_path):
    folder = tmp_path / "run"
    words = ["--run_dir", str(folder), "--trainer.val_check_interval", "1000"]
    assert main(["fit", "--config", str(write(tiny)), *words]) == 0
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if r["split"] == "validation"] == [12]


INTERRUPT = """
import os, signal, sys
from lmzoo.train.cli import main
from lmzoo.train.fit.module import LanguageModule
step = LanguageModule.training_step
def training_step(self, batch, batch_idx):
    if batch_idx == 7:
        os.kill(os.getpid(), {signal})
    return step(self, batch, batch_idx)
LanguageModule.training_step = training_step
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_a_checkpoint_of_its_last_step(lmzoo, tiny, write, tmp_path, number):
    folder = tmp_path / "run"
    words = ["fit", "--config", write(tiny), "--run_dir", folder]
    done = lmzoo(*words, program=INTERRUPT.format(signal=int(number)), code=130)
    assert "run the same command again" in done.stdout
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["step-00000008.ckpt"]
    assert "resuming from step-00000008.ckpt" in lmzoo(*words).stdout


INTERRUPT_SCORING = """
import os, signal, sys
from lmzoo.train.cli import main
from lmzoo.train.fit.module import LanguageModule
step = LanguageModule.test_step
def test_step(self, batch, batch_idx):
    assert batch_idx == 0, "it went on after the batch at hand"
    os.kill(os.getpid(), {signal})
    return step(self, batch, batch_idx)
LanguageModule.test_step = test_step
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_being_scored_can_be_stopped(lmzoo, tiny, write, tmp_path, number):
    tiny["checkpoint_every_n_steps"] = 6
    folder = tmp_path / "run"
    words = ["fit", "--config", write(tiny), "--run_dir", folder]
    done = lmzoo(*words, program=INTERRUPT_SCORING.format(signal=int(number)), code=130)
    assert "run the same command again" in done.stdout
    assert not (folder / "results.json").exists()
    assert not (folder / "failure.json").exists()
    lmzoo(*words)
    assert (folder / "results.json").is_file()


def test_generate_continues_a_prompt(run, capsys):
    assert main(["generate", str(run), "--prompt", "the model", "--max_new_tokens", "8", "--seed", "1"]) == 0
    first = capsys.readouterr().out
    assert first.startswith("the model")
    assert main(["generate", str(run), "--prompt", "the model", "--max_new_tokens", "8", "--seed", "1"]) == 0
    assert capsys.readouterr().out == first, "the same seed gives the same text"
    assert main(["generate", str(run / "nothing")]) == 2
    assert "model.safetensors" in capsys.readouterr().err
    assert main(["generate", str(run), "--temperature", "-1"]) == 2


def test_same_seed_same_run_and_another_seed_another(tiny, write, tmp_path):
    hashes = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        folder = tmp_path / name
        assert (
            main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder), "--seed_everything", str(seed)]) == 0
        )
        hashes.append(hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())
    assert hashes[0] == hashes[1] != hashes[2]


def test_accumulated_batches_take_the_same_steps_as_large_ones(tiny, write, tmp_path):
    nlls = []
    for name, batch, accumulate in (("large", 8, 1), ("small", 4, 2)):
        tiny["data"]["batch_size"] = batch
        tiny["trainer"] |= {"accumulate_grad_batches": accumulate, "max_steps": 10, "val_check_interval": 10}
        folder = tmp_path / name
        assert main(["fit", "--config", str(write(tiny, f"{name}.yaml")), "--run_dir", str(folder)]) == 0
        nlls.append(json.loads((folder / "results.json").read_text())["records"][0]["nll"])
    assert nlls[0] == pytest.approx(nlls[1], rel=1e-5)


def test_epochs_are_passes_over_the_text(tiny, write, tmp_path):
    tiny["trainer"] |= {"max_steps": -1, "max_epochs": 2, "log_every_n_steps": 10, "val_check_interval": 0.5}
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder)]) == 0
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = json.loads((folder / "results.json").read_text())["steps"]
    validations = [r["step"] for r in rows if r["split"] == "validation"]
    assert steps % 2 == 0
    assert validations == [steps // 2, steps]
    assert {r["epoch"] for r in rows if r["split"] == "train"} == {0, 1}


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision_stays_near_the_full(tiny, write, tmp_path, run, precision):
    folder = tmp_path / "half"
    code = main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder), "--trainer.precision", precision])
    assert code == 0
    full, half = (json.loads((f / "results.json").read_text())["records"][0] for f in (run, folder))
    assert half["passport"]["dtype"] == precision
    assert half["cross_entropy"] == pytest.approx(full["cross_entropy"], rel=0.03)


@pytest.mark.slow
def test_compiled_training_equals_eager(tiny, write, tmp_path, run):
    folder = tmp_path / "compiled"
    assert main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder), "--model.compile", "true"]) == 0
    eager, compiled = (json.loads((f / "results.json").read_text())["records"][0]["nll"] for f in (run, folder))
    assert compiled == pytest.approx(eager, rel=1e-4)


@pytest.mark.slow
def test_two_processes_train_and_score_like_one(lmzoo, tiny, write, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    lmzoo("fit", "--config", write(tiny), "--run_dir", one)
    ddp = ["--trainer.devices", 2, "--trainer.strategy", "ddp", "--data.batch_size", 2]
    lmzoo("fit", "--config", write(tiny), "--run_dir", two, *ddp)
    outcomes = []
    for folder in (one, two):
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        results = json.loads((folder / "results.json").read_text())
        outcomes.append(([r["cross_entropy"] for r in rows], [r["tokens"] for r in results["records"]]))
        assert results["train_tokens"] == 12 * 64
    assert outcomes[1][0] == pytest.approx(outcomes[0][0], rel=1e-5), "every row, training and validation"
    assert outcomes[1][1] == outcomes[0][1], "every token is scored once, by one of the two"


def test_failures_leave_word(tiny, write, tmp_path, capsys):
    tiny["model"] |= {"learning_rate": 1e4, "warmup_steps": 0}
    tiny["trainer"] |= {"max_steps": 80, "gradient_clip_val": None}
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder)]) == 1
    failure = json.loads((folder / "failure.json").read_text())
    assert 1 <= failure["step"] <= 80
    assert failure["layer"]
    assert "loss" in failure["reason"] or "diverged" in failure["reason"] or "gradient" in failure["reason"]
    assert not (folder / "results.json").exists()
    assert f"stopped at step {failure['step']}" in " ".join(capsys.readouterr().out.split())


def test_overview_and_help():
    done = subprocess.run([sys.executable, "-m", "lmzoo.train"], capture_output=True, text=True, check=True)
    for command in ("fit", "compare", "generate", "bench", "tokenizer"):
        assert f"lmzoo {command}" in done.stdout
