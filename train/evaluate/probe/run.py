"""Probes of what a model does with its context, run together, and whether a run has answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn
from transformers import PreTrainedTokenizerBase

from ....errors import ArgumentError, nearest, require
from ...runs.evaluation_files import ORIGIN, PROBES_FILE
from ...storage import Record, read_lines
from ..extrapolate.evaluate import evaluating
from ..extrapolate.passport import check_lengths
from ..frame import KnownTexts, Reads, Settings, progress_bar
from ..interventions import Intervention
from .copy_probe import CopyProbe
from .passkey_probe import PasskeyProbe
from .probe import Probe, ProbeModel
from .start_probe import StartProbe

VERSION = 1
"""Of the figures: raised by hand when the code gives others, so that comparisons make theirs anew."""

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
    total = sum(p.tokens(n) for p in chosen for n in ordered)
    with evaluating(model, intervention), progress_bar("", total) as advance:
        for probe in chosen:
            for length in ordered:
                advance(0, f"{probe.name} at {length:,} tokens")
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


@dataclass(frozen=True)
class ProbeSettings(Settings):
    """A comparison file's ``probes:``.

    Args:
        names: which of :data:`PROBES`.
        lengths: of the sequences, in tokens. What a probe needs at least depends on the tokenizer: some 100 tokens are
            enough for ``passkey``, 33 for ``copy``.
        samples: sequences of each place.
        seed: of what is drawn.

    Raises:
        ArgumentError: a value is out of range.
    """

    command: ClassVar[str] = "probe"
    version: ClassVar[int] = VERSION
    names: Sequence[str] = (CopyProbe.name, PasskeyProbe.name)
    lengths: Sequence[int] = ()
    samples: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        listed = isinstance(self.names, list | tuple) and len(self.names) > 0
        require(listed, "names", f"a list of some of {', '.join(PROBES)}", self.names)
        for name in self.names:
            near = nearest(str(name), PROBES)[0]
            require(name in PROBES, "names", f"some of {', '.join(PROBES)} (nearest: {near})", name)
        whole = isinstance(self.lengths, list | tuple) and all(type(n) is int and n >= 1 for n in self.lengths)
        expected = "a list of different whole numbers, such as [256, 512]"
        require(whole and 0 < len(self.lengths) == len(set(self.lengths)), "lengths", expected, self.lengths)
        if CopyProbe.name in self.names:
            CopyProbe().check_lengths(self.lengths)
        require(type(self.samples) is int and self.samples >= 1, "samples", "1 or more", self.samples)
        require(type(self.seed) is int and self.seed >= 0, "seed", "0 or more", self.seed)

    def as_words(self) -> list[str]:
        words = ["--probe", ",".join(self.names), "--lengths", ",".join(map(str, self.lengths))]
        return [*words, "--samples", str(self.samples), "--seed", str(self.seed), "--no_figure"]

    def missing(self, run: Path, texts: KnownTexts | None = None) -> int:
        """1 unless a run's records are of all that is asked."""
        reads: Reads = lambda data, known: {known.usual_split(data): data}  # noqa: E731
        stands = self.standing(run, reads if StartProbe.name in self.names else None, texts)
        found = {
            (record["probe"], record["length"])
            for record in read_lines(run / PROBES_FILE)
            if (record["samples"], record["seed"], record["intervention"]) == (self.samples, self.seed, None)
            and record["passport"]["dtype"] == "float32"
            and stands(record["passport"].get(ORIGIN))
        }
        return int(not found >= {(name, length) for name in self.names for length in self.lengths})
