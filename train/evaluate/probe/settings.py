"""What a comparison asks the probes of its runs, and whether a run has answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import nearest, require
from ...runs.evaluation_files import PROBES_FILE
from ...storage import read_lines
from .copy_probe import CopyProbe
from .passkey_probe import PasskeyProbe
from .run import PROBES


@dataclass(frozen=True)
class ProbeSettings:
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

    def as_dict(self) -> dict[str, Any]:
        """As the file has it."""
        return {"names": list(self.names), "lengths": list(self.lengths), "samples": self.samples, "seed": self.seed}

    def as_words(self) -> list[str]:
        """The options of ``lmzoo probe`` that ask for the same."""
        words = ["--probe", ",".join(self.names), "--lengths", ",".join(map(str, self.lengths))]
        return [*words, "--samples", str(self.samples), "--seed", str(self.seed)]

    def answered(self, run: Path, code: Mapping[str, Any]) -> bool:
        """Whether a run's records, made by this code (versions and commit), are of all that is asked.

        Records that are older than the run's results are of other weights.
        """
        file, results = run / PROBES_FILE, run / "results.json"
        if not (file.is_file() and results.is_file()) or file.stat().st_mtime_ns < results.stat().st_mtime_ns:
            return False
        found = {
            (record["probe"], record["length"])
            for record in read_lines(file)
            if (record["samples"], record["seed"], record["intervention"]) == (self.samples, self.seed, None)
            and all(record["passport"][key] == value for key, value in code.items())
        }
        return found >= {(name, length) for name in self.names for length in self.lengths}
