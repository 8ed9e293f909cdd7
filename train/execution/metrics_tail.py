"""Following a run from outside, by the rows it writes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class MetricsTail:
    """The newest rows of a ``metrics.jsonl`` that another process is writing.

    Half a line is left until its end has come; a file that was replaced (a resumed run cuts off rows later than its
    checkpoint) is read from its beginning.

    Attributes:
        train: the newest training row.
        validation: the newest validation row.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.train: Row | None = None
        self.validation: Row | None = None
        self._first: Row | None = None
        self._inode = -1
        self._offset = 0

    def poll(self) -> None:
        """Read what is new."""
        try:
            with self.file.open("rb") as stream:
                inode = self.file.stat().st_ino
                if inode != self._inode:
                    self._inode, self._offset, self._first = inode, 0, None
                stream.seek(self._offset)
                new = stream.read()
        except FileNotFoundError:
            return
        complete = new[: new.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            self._take(line)

    def seconds_left(self, steps: int | None) -> float:
        """Training time until ``steps`` at the pace of the rows seen, validation not counted; NaN if not known."""
        if steps is None or self.train is None or self._first is None:
            return math.nan
        done = self.train["step"] - self._first["step"]
        if done <= 0:
            return math.nan
        return float((self.train["seconds"] - self._first["seconds"]) / done * (steps - self.train["step"]))

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            split = row["split"]
        except (ValueError, KeyError, TypeError):
            return  # cut off by a kill; the report counts such lines
        if split == "train":
            self._first = self._first or row
            self.train = row
        elif split == "validation":
            self.validation = row
