"""Losses, hidden states, recomputed blocks, and transformers' Trainer on our models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lmzoo.errors import ArgumentError
from lmzoo.layers import VQLogitsHead
from lmzoo.models import Decoder, LMZooForCausalLM
from torch import Tensor
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

Make = Callable[..., Decoder]


@pytest.fixture
def labels(ids: Tensor) -> Tensor:
    """Rows with 16, 9 and no wanted labels."""
    return torch.where(torch.arange(17)[None] < torch.tensor([[0], [8], [17]]), -100, ids)


def test_the_loss_is_transformers_own_on_the_same_logits(
    make: Make, arguments: dict[str, Any], ids: Tensor, labels: Tensor
) -> None:
    model = LMZooForCausalLM.from_decoder(make(**arguments).double())
    for more in ({}, {"num_items_in_batch": 40}, {"num_items_in_batch": torch.tensor(40)}):
        output = model(ids, labels=labels, **more)
        expected = model.loss_function(output.logits, labels, vocab_size=53, **more)
        assert output.loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_without_labels_the_loss_is_nothing_and_trains_nothing(make: Make, ids: Tensor) -> None:
    model = LMZooForCausalLM.from_decoder(make())
    for more in ({}, {"num_items_in_batch": 0}):
        loss = model(ids, labels=torch.full_like(ids, -100), **more).loss
        assert float(loss) == 0.0
        loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_a_loss_needs_no_logits(make: Make, ids: Tensor, labels: Tensor) -> None:
    model = LMZooForCausalLM.from_decoder(make())
    output = model(ids, labels=labels, logits_to_keep=1)
    assert output.logits.shape == (3, 1, 53)
    assert torch.equal(output.loss, model(ids, labels=labels).loss)


def test_hidden_states_are_numbered_as_in_transformers(make: Make, arguments: dict[str, Any], ids: Tensor) -> None:
    model = LMZooForCausalLM.from_decoder(make(**arguments).double()).eval()
    output = model(ids, output_hidden_states=True)
    assert [tuple(x.shape) for x in output.hidden_states] == [(3, 17, 32)] * 3
    assert torch.equal(model.decoder.head(output.hidden_states[-1]), output.logits)
    first = model.decoder.blocks[0](output.hidden_states[0], None, None, 0, 0.0)
    assert torch.equal(output.hidden_states[1], first)
    assert model(ids).hidden_states is None
    model.config.output_hidden_states = True
    assert len(model(ids, return_dict=False)) == 2
    sizes = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=53, **sizes))
    theirs = llama(ids, output_hidden_states=True)
    assert len(theirs.hidden_states) == len(output.hidden_states)
    assert torch.equal(llama.lm_head(theirs.hidden_states[-1]), theirs.logits)


def test_attention_maps_are_refused(make: Make, ids: Tensor) -> None:
    model = LMZooForCausalLM.from_decoder(make())
    with pytest.raises(ArgumentError, match="output_attentions"):
        model(ids, output_attentions=True)


@pytest.mark.parametrize("every", [1, 2])
def test_recomputed_blocks_have_the_same_gradients(
    make: Make, arguments: dict[str, Any], ids: Tensor, every: int
) -> None:
    model = LMZooForCausalLM.from_decoder(make(dropout=0.3, **arguments).double()).train()
    calls: list[int] = []
    for i, block in enumerate(model.decoder.blocks):
        block.attention.register_forward_hook(lambda *_, i=i: calls.append(i))

    def gradients() -> list[Tensor]:
        model.zero_grad()
        torch.manual_seed(1)
        model(ids, labels=ids).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    kept = gradients()
    assert calls == [0, 1]
    assert not model.is_gradient_checkpointing
    model._set_gradient_checkpointing(
        True, partial(torch.utils.checkpoint.checkpoint, use_reentrant=False), every_n_layers=every
    )
    assert model.is_gradient_checkpointing
    calls.clear()
    recomputed = gradients()
    assert calls == ([0, 1, 1, 0] if every == 1 else [0, 1, 0])
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(kept, recomputed))
    calls.clear()
    model.eval()(ids, labels=ids).loss.backward()
    assert calls == [0, 1]
    calls.clear()
    # a cache is appended to once
    cached = model.train()(ids, use_cache=True)
    cached.logits.sum().backward()
    assert calls == [0, 1]
    assert cached.past_key_values.get_seq_length() == 17


def test_recomputation_is_switched_as_in_transformers(make: Make) -> None:
    model = LMZooForCausalLM.from_decoder(make())
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


class Rows(Dataset[dict[str, Tensor]]):
    """Rows with different numbers of labels, so that a mean of means is not the mean."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(2)
        self.ids = torch.randint(53, (8, 12), generator=generator)
        # no row's first token, which nothing predicts: older versions of Trainer count it
        first = torch.arange(8).clamp(min=1)[:, None]
        self.labels = torch.where(torch.arange(12)[None] < first, -100, self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


@pytest.mark.parametrize("recompute", [False, True])
def test_the_trainer_adds_up_gradients_as_if_of_one_batch(make: Make, tmp_path: Path, recompute: bool) -> None:
    pytest.importorskip("accelerate")
    weights, losses = [], []
    for size, steps in ((8, 1), (2, 4)):
        model = LMZooForCausalLM.from_decoder(make(head=partial(VQLogitsHead, codebook_size=7, within_code="bias")))
        settings = TrainingArguments(
            str(tmp_path),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            max_steps=2,
            learning_rate=0.1,
            optim="sgd",
            lr_scheduler_type="constant",
            gradient_checkpointing=recompute,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            save_strategy="no",
        )
        trainer = Trainer(model, settings, train_dataset=Rows())
        losses.append(trainer.train().training_loss)
        weights.append([p.detach().clone() for p in model.parameters()])
        evaluated = trainer.evaluate(Rows())["eval_loss"]
        rows = Rows()
        kept = rows.labels[:, 1:] != -100
        with torch.no_grad():
            nll = F.cross_entropy(model(rows.ids).logits[:, :-1].transpose(1, 2), rows.ids[:, 1:], reduction="none")
        assert evaluated == pytest.approx(float(nll[kept].mean()), rel=1e-5)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(*weights))
