"""The worked examples of heads and losses in others' training loops: they learn, and never make all logits."""

import runpy
from pathlib import Path

import pytest
import torch
from lmzoo.layers import AdaptiveSoftmaxHead, CrossEntropy, Focal, LinearHead, PowerLawDecay, VQLogitsHead
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GPT2Config, GPT2LMHeadModel, TrainingArguments

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
ROWS, VOCABULARY = 16 * 23, 1000  # of the smaller batch of the two examples

HEADS = {
    "adaptive": (AdaptiveSoftmaxHead, {"div_value": 2.0}),
    "codes": (VQLogitsHead, {"codebook_size": 128}),
    "classes": (VQLogitsHead, {"codebook_size": 64, "tail_codes": 60, "within_code": "class_softmax", "rows": "own"}),
    "linear": (LinearHead, {"chunk_size": 32}),
}


class Largest(TorchDispatchMode):
    """The size of the largest tensor that any operator gives."""

    entries = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        made = function(*arguments, **(keywords or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.entries = max(self.entries, tensor.numel())
        return made


def example(name):
    """What the file of an example defines."""
    return runpy.run_path(str(FOLDER / f"{name}.py"))


def test_the_examples_are_short():
    files = sorted(FOLDER.glob("heads_*.py"))
    assert len(files) == 2
    assert all(len(file.read_text().splitlines()) <= 80 for file in files)


def test_logits_would_be_noticed():
    with Largest() as largest:
        LinearHead(32, VOCABULARY)(torch.zeros(ROWS, 32))
    assert largest.entries == ROWS * VOCABULARY


def test_the_trainer_example_learns_without_logits(capsys, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    pytest.importorskip("accelerate")
    main = example("heads_in_trainer")["main"]
    with Largest() as largest:
        before, after = main()
    assert after < before - 0.5
    assert largest.entries < ROWS * VOCABULARY
    assert "comes" in capsys.readouterr().out


def test_the_loop_example_learns_without_logits(capsys):
    with Largest() as largest:
        first, last = example("heads_in_a_loop")["main"]()
    assert last < first - 0.5
    assert largest.entries < ROWS * VOCABULARY
    assert "comes" in capsys.readouterr().out


@pytest.mark.parametrize("loss", [CrossEntropy, Focal, PowerLawDecay])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_under_every_loss(head, loss):
    head_class, arguments = HEADS[head]
    first, last = example("heads_in_a_loop")["main"](head_class, loss(), steps=12, **arguments)
    assert last < first


@pytest.mark.parametrize("loss", ["plain", "decay"])
def test_the_trainer_adds_up_gradients_as_if_of_one_batch(loss, tmp_path):
    pytest.importorskip("accelerate")
    trainer_class = example("heads_in_trainer")["HeadTrainer"]
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(40, (8, 10), generator=generator)
    labels = torch.where(torch.arange(10)[None] < torch.arange(8).clamp(min=1)[:, None], -100, ids)
    rows = [{"input_ids": a, "labels": b} for a, b in zip(ids, labels)]
    losses = {"plain": CrossEntropy(), "decay": PowerLawDecay(torch.arange(40))}
    weights = []
    for size, steps in ((8, 1), (2, 4)):
        torch.manual_seed(0)
        sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
        dropouts = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=40, tie_word_embeddings=False, **sizes, **dropouts))
        model.lm_head = AdaptiveSoftmaxHead(16, 40, cutoffs=[10, 20], div_value=2.0)
        settings = TrainingArguments(
            str(tmp_path),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            max_steps=3,
            learning_rate=0.1,
            optim="sgd",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            save_strategy="no",
        )
        trainer_class(model, settings, train_dataset=rows, loss=losses[loss]).train()
        weights.append([p.detach().clone() for p in model.parameters()])
        with torch.no_grad():
            logits = model(ids).logits[:, :-1]
        nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none")
        mean = float(nll.sum() / (labels[:, 1:] != -100).sum())
        evaluated = trainer_class(model, settings, eval_dataset=rows, loss=losses[loss]).evaluate()
        assert evaluated["eval_loss"] == pytest.approx(mean, rel=1e-5)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(*weights))
