"""The ``lmzoo`` command."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..errors import ArgumentError, ConfigError, nearest

# where the ``main`` of each command is and what it does, in the order in which a newcomer meets them
COMMANDS = {
    "fit": ("fit.command", "train a model from a YAML file; run it again to resume"),
    "validate": ("evaluate.split", "perplexity of a run on the validation split"),
    "test": ("evaluate.split", "perplexity of a run on the test split"),
    "compare": ("compare.command", "train variants x seeds, then write the report"),
    "speed": ("compare.speed", "how fast the variants of a comparison train, in turn in one process"),
    "claims": ("report.claims.command", "check the papers' claims against finished runs"),
    "extrapolate": (
        "evaluate.extrapolate.command",
        "perplexity on windows longer than in training, in three protocols",
    ),
    "generate": ("evaluate.generate", "continue a prompt with a trained run"),
    "probe": ("evaluate.probe.command", "what a model does with its context: copying, passkeys, loss by place"),
    "diagnose": ("evaluate.diagnose.command", "plots of what a run's attention layers have learned"),
    "analyze": ("evaluate.analyze.command", "loss by token frequency; diversity of generated text"),
    "numbers": (
        "evaluate.numbers.command",
        "how well a run calculates, and its loss on numbers apart from the rest",
    ),
    "lm-eval": ("evaluate.lm_eval", "the tasks of EleutherAI's evaluation harness on a run"),
    "tokenizer": ("data.tokenizer_command", "train a tokenizer, or look at how one splits a text"),
    "check": ("parts.check", "try everything that a part, ours or your own, promises"),
    "new": ("parts.new", "write a starting file for a part of your own"),
    "bench": ("parts.bench.command", "time our parts against their baselines, interleaved in one process"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 the work failed, 2 the command line or a file is wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        _overview()
        return 0
    if words[0] in ("-V", "--version"):
        print(f"lmzoo {__version__}")
        return 0
    command, rest = words[0], words[1:]
    try:
        if command not in COMMANDS:
            raise ConfigError(f"no command {command!r}; nearest: {', '.join(nearest(command, COMMANDS))}")
        with _own_classes(rest):
            return _implementation(command)(rest)
    except (ConfigError, ArgumentError) as error:
        Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), str(error)))
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def _own_classes(words: Sequence[str]) -> contextlib.AbstractContextManager[None]:
    """With ``--allow_classes`` class paths may lead into the working directory, which is not on Python's path."""
    if not {"--allow_classes", "--allow-classes"} & set(words):
        return contextlib.nullcontext()
    from .own_code import importable

    return importable(Path.cwd())


def _implementation(command: str) -> Callable[[list[str]], int]:
    # imported late: `lmzoo --help` answers at once
    function: Callable[..., int] = import_module(f".{COMMANDS[command][0]}", __package__).main
    return partial(function, command) if command in ("validate", "test") else function


def _overview() -> None:
    console = Console()
    console.print(f"[bold]lmzoo {__version__}[/bold]: train and compare small language models made of parts.\n")
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, (_, text) in COMMANDS.items():
        table.add_row(f"[bold]lmzoo {name}[/bold]", text)
    console.print(table)
    console.print(
        "\nStart here:\n"
        "  lmzoo compare configs/compare/demo.yaml              rotary, complex and softplus attention\n"
        "  lmzoo fit --config configs/python-docs/tiny.yaml     one model; --model.position ALiBi to change a part\n"
        "  lmzoo COMMAND --help                                 what a command takes",
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
