"""AdamW with decay groups, linear warm-up and cosine decay, and the guard that stops a run gone wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ...layers.common.part import Part


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters in two groups: matrices decay; embeddings, norms, biases and other vectors do not.

    A part keeps further parameters of its own from decaying by naming them in a ``no_weight_decay`` attribute
    (a collection of parameter names). A parameter that several modules share is counted once.
    """
    decay: dict[int, nn.Parameter] = {}
    keep: dict[int, nn.Parameter] = {}
    for module in model.modules():
        exempt = getattr(module, "no_weight_decay", Part.no_weight_decay)
        for name, parameter in module.named_parameters(recurse=False):
            decays = parameter.ndim >= 2 and name not in exempt and not isinstance(module, nn.Embedding)
            (decay if decays else keep)[id(parameter)] = parameter
    for shared in decay.keys() & keep.keys():  # a head tied to the embedding is the embedding
        del decay[shared]
    return [
        {"params": list(decay.values()), "weight_decay": weight_decay},
        {"params": list(keep.values()), "weight_decay": 0.0},
    ]


def warmup_cosine(total_steps: int, warmup_steps: int, min_ratio: float) -> Callable[[int], float]:
    """The factor on the learning rate at each optimizer step.

    Rises linearly to 1 over ``warmup_steps``, then follows half a cosine to ``min_ratio`` at ``total_steps``.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def adamw(
    model: nn.Module, *, learning_rate: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW over :func:`decay_groups`, in the fused form: one pass over memory on the CPU and on a GPU."""
    return torch.optim.AdamW(decay_groups(model, weight_decay), lr=learning_rate, betas=betas, eps=1e-8, fused=True)


# -- when to stop -----------------------------------------------------------------------------------------------


class TrainingStopped(RuntimeError):
    """A run's numbers are no longer usable.

    Args:
        step: the optimizer step that failed, counted from 1.
        layer: the module or parameter where it shows first.
        reason: what was seen there.
    """

    def __init__(self, step: int, layer: str, reason: str) -> None:
        self.step, self.layer, self.reason = step, layer, reason
        super().__init__(f"stopped at step {step}: {reason} (first seen in {layer})")


class DivergenceGuard:
    """Watches the cross-entropy: not finite, or worse than guessing, is the end of a run.

    ``check`` raises once the running mean of the cross-entropy (decay 0.9, after ``patience`` steps) exceeds
    ``tolerance`` times log V, the loss of a uniform guess over V tokens.
    """

    def __init__(self, vocab_size: int, *, tolerance: float = 1.5, patience: int = 20) -> None:
        self.limit = tolerance * math.log(vocab_size)
        self.patience = patience
        self.mean: float | None = None
        self.seen = 0

    def check(self, cross_entropy: float, step: int, model: nn.Module, batch: dict[str, Tensor]) -> None:
        """Raise :class:`TrainingStopped` when the run has gone wrong at this step."""
        if not math.isfinite(cross_entropy):
            layer, what = first_non_finite(model, batch)
            raise TrainingStopped(step, layer, f"the loss is {cross_entropy} ({what})")
        self.seen += 1
        self.mean = cross_entropy if self.mean is None else 0.9 * self.mean + 0.1 * cross_entropy
        if self.seen > self.patience and self.mean > self.limit:
            layer, norm = largest_gradient(model)
            raise TrainingStopped(
                step,
                layer,
                f"the run diverged: the mean cross-entropy {self.mean:.2f} exceeds {self.limit:.2f}, "
                f"1.5 times that of guessing; the largest gradient norm there is {norm:.3g}",
            )

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean, self.seen = state["mean"], state["seen"]


def check_gradients(norm: float, step: int, model: nn.Module) -> None:
    """Raise :class:`TrainingStopped` unless the total gradient norm is finite, naming the parameter nearest the loss.

    The backward pass runs from the last layer to the first, so the last parameter with a bad gradient is where
    it began.
    """
    if math.isfinite(norm):
        return
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    layer = bad[-1] if bad else "the gradient norm itself (it overflows; every gradient is finite)"
    raise TrainingStopped(step, layer, f"the gradient norm is {norm}; {len(bad)} parameters have bad gradients")


def first_non_finite(model: nn.Module, batch: dict[str, Tensor]) -> tuple[str, str]:
    """The first parameter, or else the first module in order of execution, that is not finite on this batch."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            return name, "its weights are not finite"
    found: list[tuple[str, str]] = []

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not found and any(not torch.isfinite(t).all() for t in _tensors(output)):
                found.append((name, "its output is not finite"))

        return hook

    handles = [
        module.register_forward_hook(watch(name))
        for name, module in model.named_modules()
        if name and not any(module.children())
    ]
    try:
        with torch.no_grad():
            model.nll(batch["input_ids"])  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else ("the loss", "every layer's output is finite")


def largest_gradient(model: nn.Module) -> tuple[str, float]:
    """The parameter with the largest gradient norm."""
    norms = {n: float(p.grad.norm()) for n, p in model.named_parameters() if p.grad is not None}
    if not norms:
        return "no gradient was kept", math.nan
    name = max(norms, key=norms.__getitem__)
    return name, norms[name]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
