"""Every attention with every head under every loss of lmzoo, through YAML, on real text."""

import inspect
import json

import pytest
import torch
from lmzoo.layers import Attention, Head, Loss
from lmzoo.train.cli import main
from lmzoo.train.config_check import parts_of
from lmzoo.train.data import TextDataModule
from lmzoo.train.fit.corpus_statistics import corpus_statistics
from lmzoo.train.fit.lightning_cli import TrainingCLI

ATTENTIONS, HEADS, LOSSES = (sorted(parts_of(base)) for base in (Attention, Head, Loss))
VOCABULARY = 300
CONTEXT = 16

# what a part's constructor wants and has no default for
REQUIRED = {"codebook_size": 16}


def part(base, name, given):
    """A part's YAML, with the arguments that have no default."""
    parameters = list(inspect.signature(parts_of(base)[name]).parameters.values())[given:]
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = {p.name: REQUIRED[p.name] for p in parameters if p.default is p.empty and p.kind not in several}
    needed |= {p.name: CONTEXT for p in parameters if p.name == "train_length"}
    return {"class_path": name, "init_args": needed} if needed else name


@pytest.fixture(scope="module")
def text(cache):
    """Python's own documentation, as the runs below read it."""
    data = TextDataModule(
        "python-docs", vocab_size=VOCABULARY, context_length=CONTEXT, batch_size=8, cache_dir=str(cache)
    )
    data.setup("fit")
    return data


def config(cache, head, loss, attention):
    return {
        "model": {
            "d_model": 32,
            "n_layers": 1,
            "n_heads": 2,
            "learning_rate": 0.01,
            "warmup_steps": 0,
            "attention": part(Attention, attention, 2),
            "head": part(Head, head, 2),
            "loss": part(Loss, loss, 0),
        },
        "data": {
            "source": "python-docs",
            "vocab_size": VOCABULARY,
            "context_length": CONTEXT,
            "batch_size": 8,
            "cache_dir": str(cache),
        },
        "trainer": {"max_steps": 2, "accelerator": "cpu"},
    }


def test_there_is_something_to_combine():
    assert {"SoftmaxAttention", "ComplexAttention", "SoftplusAttention"} <= {*ATTENTIONS}
    assert {"CrossEntropy", "PowerLawDecay", "Focal"} <= {*LOSSES}
    assert "LinearHead" in HEADS


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_combination_learns(attention, head, loss, cache, text):
    """Four steps on one batch, from the checked configuration: every gradient is finite, cross-entropy falls."""
    cli = TrainingCLI("fit", [], config=config(cache, head, loss, attention))
    assert cli.resolved()["model"]["loss"]["class_path"] == f"lmzoo.layers.{loss}"
    module, statistics = cli.model, corpus_statistics(text)
    network = module.network
    for learner in (*network.modules(), module.loss):
        if hasattr(learner, "use_corpus"):
            learner.use_corpus(statistics)
    ids = next(iter(text.train_dataloader()))["input_ids"]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    fallen = []
    for _ in range(4):
        nll = network.nll(ids)
        loss_value = module.loss(nll.flatten(), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss_value.backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert gradients
        assert all(bool(g.isfinite().all()) for g in gradients)
        optimizer.step()
        fallen.append(nll.mean().item())
    assert fallen[-1] < fallen[0]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("head", HEADS)
def test_a_head_and_a_loss_run_from_yaml_to_records(head, loss, tiny, write, tmp_path):
    tiny["model"] |= {"d_model": 32, "head": part(Head, head, 2), "loss": part(Loss, loss, 0)}
    tiny["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(write(tiny)), "--run_dir", str(folder)]) == 0
    weighs = (folder / "loss.safetensors").exists()
    assert main(["test", "--run_dir", str(folder), *(["--debias"] if weighs else [])]) == 0
    recorded = json.loads((folder / "results.json").read_text())["records"][1]
    assert json.loads((folder / "evaluations.jsonl").read_text()) == recorded
    assert ("debiased_nll" in recorded) == weighs
