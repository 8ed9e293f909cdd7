"""What a comparison asks the probes of its runs, and whether a run has answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import nearest, require
from ..records import Record
from .copy_probe import CopyProbe
from .passkey_probe import PasskeyProbe
from .run import PROBES

PROBES_FILE = Path("probe") / "probes.jsonl"
"""Where ``lmzoo probe RUN`` leaves its records, below the run's folder."""


@dataclass(frozen=True)
class ProbesSettings:
    """A comparison file's ``probes:``.

    Args:
        names: which of :data:`PROBES`.
        lengths: of the sequences, in tokens. What a probe needs at least depends on the tokenizer: some 100 tokens are
            enough for ``passkey``, 33 for ``copy``.
        samples: sequences of each place.

    Raises:
        ArgumentError: a value is out of range.
    """

    names: Sequence[str] = (CopyProbe.name, PasskeyProbe.name)
    lengths: Sequence[int] = ()
    samples: int = 32

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

    def as_dict(self) -> dict[str, Any]:
        """As the file has it."""
        return {"names": list(self.names), "lengths": list(self.lengths), "samples": self.samples}

    def as_words(self) -> list[str]:
        """The options of ``lmzoo probe`` that ask for the same."""
        lengths = ",".join(map(str, self.lengths))
        return ["--probe", ",".join(self.names), "--lengths", lengths, "--samples", str(self.samples)]

    def answered(self, records: Sequence[Record], code: Mapping[str, Any]) -> bool:
        """Whether these records are of all that is asked, made by this code (versions and commit)."""
        found = {
            (record["probe"], record["length"])
            for record in records
            if record["samples"] == self.samples
            and record["intervention"] is None
            and all(record["passport"][key] == value for key, value in code.items())
        }
        return found >= {(name, length) for name in self.names for length in self.lengths}
