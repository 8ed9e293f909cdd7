"""What was replaced in a model, in words, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from torch import nn

from ...errors import require


@dataclass(frozen=True)
class ReplacedLayer:
    """One layer of a :class:`Replacement`.

    Attributes:
        name: of the module in the model.
        before: the class that was there.
        after: the class that is there.
        positions: how the new layer places tokens.
        carried: what was copied from the old layer.
        new: what starts afresh.
        parameters_before: how many numbers the old layer learned.
        parameters_after: how many the new one learns.
    """

    name: str
    before: str
    after: str
    positions: str
    carried: tuple[str, ...]
    new: tuple[str, ...]
    parameters_before: int
    parameters_after: int


class Replacement:
    """Modules of a model that were exchanged; ``print(replacement)`` is a table of them.

    ``undo()`` puts the old modules back, which nothing has touched since: the model is then bit for bit what it was,
    and what the new ones learned is gone with them. As a context manager it undoes itself. The old modules stay in
    memory until then, outside the model's parameters.

    Args:
        model: the model.
        before: the modules that were there, by name.
        after: those that take their places.
        layers: what the table says about them.
    """

    def __init__(
        self,
        model: nn.Module,
        before: Mapping[str, nn.Module],
        after: Mapping[str, nn.Module],
        layers: Sequence[ReplacedLayer],
    ) -> None:
        self.model = model
        self.layers = tuple(layers)
        self._before = dict(before)
        self._after = dict(after)
        for name, module in self._after.items():
            model.set_submodule(name, module)

    def undo(self) -> None:
        """Put the old modules back, on the device where the new ones are; a second call does nothing.

        Raises:
            ArgumentError: another module has come into the place of one of ours; nothing is changed then.
        """
        for name, module in self._after.items():
            there = self.model.get_submodule(name)
            require(there is module, "model", f"the replaced module at {name}", type(there).__name__)
        for name, module in self._after.items():
            old = self._before[name]
            old.to(next(module.parameters()).device).train(module.training)
            self.model.set_submodule(name, old)
        self._after = {}
        self._before = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()

    def __str__(self) -> str:
        head = ("module", "from", "to", "positions", "carried over", "new", "parameters")
        rows = [
            (
                layer.name,
                layer.before,
                layer.after,
                layer.positions,
                ", ".join(layer.carried),
                ", ".join(layer.new) or "-",
                f"{layer.parameters_before:,} -> {layer.parameters_after:,}",
            )
            for layer in self.layers
        ]
        widths = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in (head, *rows)]
        lines.insert(1, "  ".join("-" * w for w in widths))
        before = sum(layer.parameters_before for layer in self.layers)
        after = sum(layer.parameters_after for layer in self.layers)
        modules = "1 module" if len(rows) == 1 else f"{len(rows)} modules"
        return "\n".join([*lines, f"{modules} replaced; their parameters {before:,} -> {after:,}"])
