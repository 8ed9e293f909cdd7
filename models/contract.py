"""What a part promises inside a model, as checks that run on any of them; see :mod:`lmzoo.layers.testing`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from functools import partial
from typing import Any
from unittest import SkipTest

import torch
from torch import Tensor, nn

from ..layers import Loss
from ..layers.attention.cache import KeyCache
from ..layers.testing import Candidate, Promise, slot_of
from ..layers.testing.corpus import introduce
from ..layers.testing.loss_checks import ready
from .decoder import Decoder
from .huggingface import LMZooForCausalLM
from .parts import Described, describe

_VOCABULARY = 61
# targets of a batch, at most
_TARGETS = 1024
_STEPS = 30


def own_arguments(candidate: Candidate) -> dict[str, Any]:
    """The arguments that a configuration of the part has to hold: those that its owner does not give."""
    slot = slot_of(candidate.part)
    return {name: value for name, value in candidate.arguments.items() if name not in slot.sizes}


def described(candidate: Candidate) -> Described:
    """The part as a configuration names it."""
    return describe(partial(candidate.part, **own_arguments(candidate)))


def sizes_of(candidate: Candidate) -> tuple[int, int]:
    """d_model and n_heads of a model that the part fits into."""
    width, heads = (candidate.arguments.get(name) for name in ("d_model", "n_heads"))
    d_model = 32 if width is None else int(width)
    return d_model, int(heads) if heads is not None else 4 if d_model % 8 == 0 else 1


def decoder_with(slot: str, candidate: Candidate, vocab_size: int | None = None) -> Decoder:
    """A decoder of two layers with the part in its slot, built from the description of it."""
    d_model, heads = sizes_of(candidate)
    size = vocab_size or int(candidate.arguments.get("vocab_size", _VOCABULARY))
    part: Mapping[str, Any] = {} if slot == "loss" else {slot: described(candidate)}
    decoder = Decoder(size, d_model, 2, heads, **part, allow_foreign=True)
    introduce(decoder.head, size, d_model)
    return decoder


def check_learning(slot: str, candidate: Candidate) -> None:
    """Thirty steps on one batch lower its loss, and every parameter of the part gets a finite gradient."""
    part, size = ready(candidate) if slot == "loss" else (None, None)
    decoder = decoder_with(slot, candidate, size)
    ids = _every_token(decoder.vocab_size)
    trained = [p for p in decoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    losses = []
    for step in range(_STEPS):
        nll, target = decoder.nll(ids).flatten(), ids[:, 1:].flatten()
        loss: Tensor = nll.mean() if part is None else part(nll, target)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            _check_gradients(decoder, candidate.part)
        losses.append(float(nll.detach().double().mean()))
        optimizer.step()
    first, last = losses[0], losses[-1]
    assert all(map(math.isfinite, losses)), f"the loss went {', '.join(f'{x:.3g}' for x in losses)}"
    assert last < 0.8 * first, f"{_STEPS} steps on one batch took its loss from {first:.3f} to {last:.3f} nats only"


def _every_token(vocab_size: int) -> Tensor:
    """Four rows in which every token is a target once, so that every row of a head takes part; 1024 of a large V."""
    order = torch.randperm(vocab_size)[:_TARGETS]
    length = -(-len(order) // 4)
    round_about = torch.cat([order, order])
    return torch.stack([round_about[b * length : (b + 1) * length + 1] for b in range(4)])


def _check_gradients(decoder: Decoder, part: type[nn.Module]) -> None:
    for path, module in decoder.named_modules():
        if not isinstance(module, part):
            continue
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            assert parameter.grad is not None, f"{path}.{name} has no gradient"
            assert bool(parameter.grad.isfinite().all()), f"the gradient of {path}.{name} is not finite"


def check_generation(slot: str, candidate: Candidate) -> None:
    """Hidden states with the key cache, token by token, equal those of the whole text, with left padding."""
    if issubclass(candidate.part, Loss):
        raise SkipTest("a loss has no part in generation")
    decoder = decoder_with(slot, candidate).double().eval()
    ids = torch.randint(decoder.vocab_size, (2, 17))
    mask = torch.arange(17)[None] >= torch.tensor([[0], [6]])
    with torch.no_grad():
        whole = decoder(ids, mask)
        cache, steps = KeyCache(), []
        for a, b in ((0, 9), *((t, t + 1) for t in range(9, 17))):
            steps.append(decoder(ids[:, a:b], mask[:, :b], cache))
        cached = torch.cat(steps, dim=1)
    difference = float((cached - whole)[mask].abs().max() / whole[mask].abs().max().clamp(min=1e-30))
    assert difference < 1e-5, f"logits with the key cache differ from those without by {difference:.3g} of the largest"


def check_saving(slot: str, candidate: Candidate) -> None:
    """A Hugging Face folder of the model, loaded again, gives the same logits."""
    if issubclass(candidate.part, Loss):
        raise SkipTest("a saved model has no loss")
    decoder = decoder_with(slot, candidate).eval()
    ids = torch.randint(decoder.vocab_size, (2, 9))
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        LMZooForCausalLM.from_decoder(decoder).save_pretrained(folder)
        # the class is one that the user has named already
        loaded = LMZooForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
        given, expected = loaded(ids).logits, decoder(ids)
    difference = float((given - expected).abs().max())
    assert difference == 0.0, f"the logits of the loaded model differ by {difference:.3g}"


def model_promises(slot: str) -> dict[str, Promise]:
    """What a part of this slot promises inside a model, by name."""
    promises = (
        Promise(
            "learning",
            "In a tiny decoder the loss of a batch falls, and every parameter gets a gradient",
            "A model with this part trains badly, or parts of it not at all.",
            "Look for a detach(), for a parameter that is not used, and at the scale of the output: a part that begins "
            "with values far from 1 needs an initialise(std, generator) of its own.",
            partial(check_learning, slot),
        ),
        Promise(
            "generation",
            "In a tiny decoder the key cache changes nothing, with left padding",
            "Generated text is not what the trained model would say.",
            "See the promises about cache and padding; a position on the embedding has to obey the index it is given.",
            partial(check_generation, slot),
        ),
        Promise(
            "saving",
            "A saved model, loaded again, gives the same logits to the last bit",
            "A finished run could not be used.",
            "Arguments have to be plain values (or parts), and what is learned or drawn a Parameter or a buffer.",
            partial(check_saving, slot),
        ),
    )
    return {promise.name: promise for promise in promises}
