"""Probes of what a model does with its context, run together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from ....errors import ArgumentError, nearest, require
from ...storage import Record
from ..extrapolate.evaluate import evaluating, progress_bar
from ..extrapolate.passport import check_lengths
from ..interventions import Intervention
from .copy_probe import CopyProbe
from .passkey_probe import PasskeyProbe
from .probe import Probe
from .probe_model import ProbeModel
from .start_probe import StartProbe

PROBES: dict[str, str] = {
    CopyProbe.name: "continuing a random segment that came before, by distance",
    PasskeyProbe.name: "finding a number that was told once, by depth and length",
    StartProbe.name: "loss by distance to the document's start",
}


def run_probes(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    *,
    lengths: Sequence[int],
    probes: Sequence[str | Probe] = (CopyProbe.name, PasskeyProbe.name),
    documents: Sequence[str] | None = None,
    samples: int = 32,
    seed: int = 0,
    intervention: Intervention | None = None,
    batch_tokens: int = 1 << 14,
    passport: Mapping[str, Any] | None = None,
) -> list[Record]:
    """Measure each probe at each length; flat JSON-ready records with every setting in them.

    ``length`` is what a sequence holds: the copy and passkey probes count all its tokens, the start probe those after
    the separator. The model's mode and weights are as before afterwards.

    Args:
        model: a :class:`Decoder`, an :class:`LMZooForCausalLM` or any Hugging Face causal model.
        tokenizer: with a bos or eos token, which stands before every sequence.
        lengths: in tokens, different ones.
        probes: names of :data:`PROBES`, or probes with settings of their own.
        documents: the text of the start probe.
        samples: sequences of each place, for probes given by name.
        seed: of everything that is drawn.
        intervention: a change of the model for the time of the probes; its description stands in the records.
        batch_tokens: tokens of a batch; less needs less memory.
        passport: stands in every record under ``passport``, where given.

    Raises:
        ArgumentError: before anything is measured: a length is too short for a probe or too long for the model, a probe
            is unknown, or the start probe has no documents.
    """
    check_lengths(model, lengths)
    require(batch_tokens >= 1, "batch_tokens", "1 or more", batch_tokens)
    require(len(probes) > 0, "probes", f"some of {', '.join(PROBES)}", list(probes))
    chosen = [_made(probe, documents, samples) if isinstance(probe, str) else probe for probe in probes]
    ordered = sorted(lengths)
    for probe in chosen:
        probe.prepare(tokenizer, ordered)
    more: Record = {"intervention": None if intervention is None else intervention.describe()}
    if passport is not None:
        more["passport"] = dict(passport)
    asked = ProbeModel(model, batch_tokens)
    records: list[Record] = []
    with evaluating(model, intervention), progress_bar() as progress:
        task = progress.add_task("", total=sum(p.tokens(n) for p in chosen for n in ordered))
        for probe in chosen:
            for length in ordered:
                progress.update(task, description=f"{probe.name} at {length:,} tokens")
                advance: Callable[[int], None] = lambda n: progress.advance(task, n)  # noqa: E731
                records += [{**r, **more} for r in probe.measure(asked, length, seed, advance)]
    return records


def _made(name: str, documents: Sequence[str] | None, samples: int) -> Probe:
    if name == CopyProbe.name:
        return CopyProbe(samples)
    if name == PasskeyProbe.name:
        return PasskeyProbe(samples)
    if name == StartProbe.name:
        if not documents:
            raise ArgumentError("documents", "the text of the start probe", documents)
        return StartProbe(documents, samples)
    raise ArgumentError("probes", f"one of {', '.join(nearest(name, PROBES))}", name)
