"""Losses that weigh tokens: what a run logs, records, resumes and takes back."""

import json
import math
from collections import Counter
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lmzoo.layers import CrossEntropy, LinearHead, PowerLawDecay
from lmzoo.layers.functional import power_law_weights
from lmzoo.layers.head import linear_head
from lmzoo.models import Decoder
from lmzoo.train.cli import main
from lmzoo.train.fit.module import LanguageModule
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

DECAY = {"class_path": "PowerLawDecay", "init_args": {"alpha": 1.0}}


def fit(config, folder, *words):
    return main(["fit", "--config", str(config), "--run_dir", str(folder), *words])


def rows(folder, split="train"):
    every = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in every if row["split"] == split]


def records(folder):
    return json.loads((folder / "results.json").read_text())["records"]


@pytest.fixture
def decayed(tiny, write, tmp_path):
    """A run under PowerLawDecay, long enough to have learned the words' frequencies."""
    tiny["model"]["loss"] = DECAY
    tiny["trainer"] |= {"max_steps": 60, "val_check_interval": 30}
    folder = tmp_path / "decayed"
    assert fit(write(tiny), folder) == 0
    return folder


def windows(folder, text, length=16):
    ids = AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    ids = [AutoTokenizer.from_pretrained(folder).bos_token_id, *ids]
    return [torch.tensor(ids[i : i + length + 1]) for i in range(0, len(ids) - 1, length)]


def test_a_run_is_scored_plain_and_debiased(decayed, corpus):
    tokenizer = AutoTokenizer.from_pretrained(decayed)
    model = AutoModelForCausalLM.from_pretrained(decayed, dtype=torch.float64).eval()
    counts = Counter(tokenizer((corpus / "train.txt").read_text())["input_ids"])  # the first token is the separator
    weights = power_law_weights(torch.tensor([counts[i] for i in range(270)]), 1.0)
    assert torch.equal(load_file(decayed / "loss.safetensors")["log_weight"], weights.log())
    record = records(decayed)[1]
    plain = shifted = 0.0
    with torch.no_grad():
        for window in windows(decayed, (corpus / "test.txt").read_text()):
            logits = model(window[None, :-1]).logits[0]
            plain += F.cross_entropy(logits, window[1:], reduction="sum").item()
            shifted += F.cross_entropy(logits - weights.log(), window[1:], reduction="sum").item()
    assert record["nll"] == pytest.approx(plain, rel=1e-5)
    assert record["debiased_nll"] == pytest.approx(shifted, rel=1e-5)
    assert record["debiased_word_perplexity"] == pytest.approx(math.exp(shifted / record["words"]), rel=1e-4)
    assert {k.removeprefix("debiased_") for k in record if k.startswith("debiased_")} <= record.keys()


def test_debiasing_recovers_the_perplexity_of_cross_entropy():
    """A small decoder on a Markov chain of skewed frequencies, whose best cross-entropy is known."""
    generator = torch.Generator().manual_seed(0)
    chain = torch.softmax(1.5 * torch.randn(12, 12, generator=generator) - 0.4 * torch.arange(12), dim=1)
    text = [0]
    for draw in torch.rand(20_000, generator=generator):
        text.append(min(int(torch.searchsorted(chain[text[-1]].cumsum(0), draw)), 11))
    tokens = torch.tensor(text[:-1]).view(-1, 16)
    counts = torch.bincount(tokens[:, 1:].flatten(), minlength=12)
    loss = PowerLawDecay(counts, 1.0)

    def train(weighted):
        torch.manual_seed(0)
        decoder = Decoder(12, 16, 1, 2)
        optimizer = torch.optim.AdamW(decoder.parameters(), lr=0.01)
        for batch in tokens.split(64) * 6:
            nll, target = decoder.nll(batch).flatten(), batch[:, 1:].flatten()
            optimizer.zero_grad()
            (loss(nll, target) if weighted else nll.mean()).backward()
            optimizer.step()
        return decoder

    def score(decoder):
        with torch.no_grad():
            return decoder.nll(tokens).mean().item()

    plain, decayed = train(weighted=False), train(weighted=True)
    best, shifted = score(plain), score(decayed)
    decayed.head = decayed.head.debias(loss.log_weight())
    assert shifted - best > 0.2, "the loss has shifted what was learned"
    assert abs(score(decayed) - best) < 0.1 * (shifted - best)


def test_plain_cross_entropy_is_logged_beside_the_loss(tiny, write, tmp_path):
    for name, loss in (("decay", DECAY), ("focal", {"class_path": "Focal", "init_args": {"gamma": 1.0}})):
        tiny["model"]["loss"] = loss
        folder = tmp_path / name
        assert fit(write(tiny), folder) == 0
        assert all(abs(row["loss"] - row["cross_entropy"]) > 1e-4 for row in rows(folder)[1:])
        assert rows(folder, "validation")[-1]["cross_entropy"] == records(folder)[0]["cross_entropy"]
        assert ("debiased_nll" in records(folder)[0]) == (name == "decay")


def test_the_same_batches_under_no_weighting_train_the_same_model(tiny, write, tmp_path):
    weights = []
    for loss in ("CrossEntropy", {"class_path": "PowerLawDecay", "init_args": {"alpha": 0.0}}):
        tiny["model"]["loss"] = loss
        folder = tmp_path / str(len(weights))
        assert fit(write(tiny), folder) == 0
        weights.append((folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_validate_repeats_and_debiases_on_request(decayed, capsys):
    assert main(["validate", "--run_dir", str(decayed)]) == 0
    assert "debiased" not in capsys.readouterr().out
    assert main(["validate", "--run_dir", str(decayed), "--debias"]) == 0
    assert "validation, debiased" in capsys.readouterr().out
    first, second = (json.loads(line) for line in (decayed / "evaluations.jsonl").read_text().splitlines())
    recorded = records(decayed)[0]
    assert second == recorded
    assert first == {k: v for k, v in recorded.items() if not k.startswith("debiased_")}


def test_nothing_to_debias(tiny, write, tmp_path, capsys):
    folder = tmp_path / "run"
    assert fit(write(tiny), folder) == 0
    assert not (folder / "loss.safetensors").exists()
    assert main(["test", "--run_dir", str(folder), "--debias"]) == 2
    assert "loss.safetensors" in capsys.readouterr().err
    assert main(["fit", "--config", str(write(tiny)), "--debias"]) == 2, "only what is trained can be debiased"


@pytest.fixture
def told(monkeypatch):
    """Linear heads note what they are told of the corpus."""
    told = []
    monkeypatch.setattr(LinearHead, "use_corpus", lambda self, statistics: told.append(statistics), raising=False)
    return told


@pytest.fixture
def interrupted(monkeypatch):
    """Make the next run break off at its eighth batch."""

    def stop() -> None:
        step = LanguageModule.training_step

        def training_step(self, batch, batch_idx):
            if batch_idx == 7:
                monkeypatch.setattr(LanguageModule, "training_step", step)
                raise RuntimeError("broken off")
            return step(self, batch, batch_idx)

        monkeypatch.setattr(LanguageModule, "training_step", training_step)

    return stop


def test_resuming_changes_nothing(tiny, write, tmp_path, interrupted, told):
    tiny["model"]["loss"] = DECAY
    tiny["checkpoint_every_n_steps"] = 5
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert fit(write(tiny), whole) == 0
    assert len(told) == 1
    interrupted()
    with pytest.raises(RuntimeError, match="broken off"):
        fit(write(tiny), broken)
    assert len(told) == 2
    assert fit(write(tiny), broken) == 0
    assert len(told) == 2, "what a head knows of the corpus is in its checkpoint"
    for name in ("model.safetensors", "loss.safetensors"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes()
    assert [r["debiased_nll"] for r in records(whole)] == [r["debiased_nll"] for r in records(broken)]
    assert main(["test", "--run_dir", str(whole), "--debias"]) == 0
    assert len(told) == 2, "a finished run needs no corpus to be evaluated"


def test_what_parts_are_told_and_what_they_know_then(tiny, write, tmp_path, told, corpus, monkeypatch):
    monkeypatch.setattr(LinearHead, "matmul_weights", lambda self: 10 if told else 1_000_000)
    folder = tmp_path / "run"
    assert fit(write(tiny), folder) == 0
    (statistics,) = told
    ids = AutoTokenizer.from_pretrained(folder)((corpus / "train.txt").read_text())["input_ids"]
    assert torch.equal(statistics.token_counts, torch.bincount(torch.tensor(ids), minlength=270))
    assert statistics.embedding is None
    results = json.loads((folder / "results.json").read_text())
    assert results["flops_per_token"] - results["body_flops_per_token"] == 6 * 10


def test_the_health_of_a_head_is_logged(tiny, write, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(LinearHead, "health", lambda self: {"dead_codes": 3}, raising=False)
    folder = tmp_path / "run"
    assert fit(write(tiny), folder) == 0
    assert [row["head_dead_codes"] for row in rows(folder, "validation")] == [3.0, 3.0]
    assert "head dead codes 3" in capsys.readouterr().out


def test_the_loss_follows_the_precision_of_the_model_nowhere():
    module = LanguageModule(vocab_size=50, d_model=16, n_layers=1, n_heads=2, loss=PowerLawDecay)
    module.loss._count(torch.arange(50) ** 3)
    before = module.loss.log_weight()
    assert torch.equal(module.to(torch.bfloat16).loss.log_weight(), before)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.loss", "PowerLawDecay", "--model.loss.init_args.alpha", "7"], "0 to 1.5"),
        (["--model.loss", "PowerLawDekay"], "PowerLawDecay"),
        (["--model.loss", "Focal", "--model.loss.init_args.gamma", "-1"], "gamma"),
        (["--model.loss", "LinearHead"], "does not fit"),
    ],
)
def test_bad_losses_are_told_at_once(tiny, write, tmp_path, capsys, words, message):
    folder = tmp_path / "run"
    assert fit(write(tiny), folder, *words) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize("told", [True, False])
def test_the_head_is_told_what_the_loss_weighs(told, monkeypatch):
    counts, seen = torch.arange(1, 41), []
    loss = partial(PowerLawDecay, counts, 1.0) if told else CrossEntropy
    module = LanguageModule(40, 16, 1, 2, loss=loss)
    module.configure_model()
    nll = linear_head.linear_nll
    monkeypatch.setattr(linear_head, "linear_nll", lambda *a, **k: seen.append(k["row_weight"]) or nll(*a, **k))
    ids = torch.randint(40, (3, 9), generator=torch.Generator().manual_seed(0))
    module.training_step({"input_ids": ids}, 0).backward()
    weight = 1 / (counts[ids[:, 1:]].flatten().double() + 1 + 1e-7)
    assert len(seen) == 1
    assert torch.allclose(seen[0].double(), weight, rtol=1e-6) if told else seen[0] is None
