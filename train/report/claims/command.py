"""``lmzoo claims``: what our runs say of what the papers claim."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from ....errors import ConfigError
from ...arguments import ExampleFormatter, console, say
from .claim import read_claims, shipped_claims
from .judge import RULE
from .publish import publish, verdict_block, write_pictures
from .report import conditions, conditions_table, summary, terminal_table, write_claims
from .results import Results, holds_results, read_results
from .verdicts import verdicts

_RUNS = Path("runs")
_DESCRIPTION = f"""Hold the claims of papers against finished comparisons. A claims file states sentence, source,
metric, protocol, direction, size and the runs that decide; nothing is trained or evaluated here.

{RULE}

Examples:
  lmzoo claims
  lmzoo claims configs/claims/vq-logits.yaml --runs runs/heads-fine-tune
  lmzoo claims --runs notebooks/results --output notebooks/results/verdicts --publish README.md"""


def main(arguments: Sequence[str]) -> int:
    """Read claims and results, print the verdicts and write them."""
    parser = ArgumentParser(prog="lmzoo claims", description=_DESCRIPTION, formatter_class=ExampleFormatter)
    parser.add_argument("files", type=str, nargs="*", help="claims files; those shipped with lmzoo if none is given")
    parser.add_argument(
        "--runs",
        type=str,
        nargs="+",
        default=None,
        help="folders of comparisons, or of the JSON Lines of their reports, or folders of such; runs if not given",
    )
    parser.add_argument("--output", type=str, default="runs/claims", help="folder of claims.md, .jsonl and .png")
    parser.add_argument(
        "--publish",
        type=str | None,
        default=None,
        metavar="README.md",
        help="also write the claims with a verdict, with the commands that repeat each, between the marks of this "
        "Markdown file; --output has to lie below its folder",
    )
    a = parser.parse_args(list(arguments))
    files = [read_claims(file) for file in a.files or shipped_claims()]
    names = [file.paper.file for file in files]
    if len(set(names)) < len(names):
        raise ConfigError(f"expected different claims files, got {', '.join(names)}", key="files", place="command line")
    results = read_results(a.runs) if a.runs else _default_results()
    outcomes = verdicts(files, results)
    trained = conditions(outcomes, results)
    console.print(terminal_table(outcomes))
    if trained:
        console.print(conditions_table(trained))
    say(summary(outcomes))
    output = Path(a.output)
    if a.publish:
        details = _below(output, Path(a.publish))
        typed = dict(zip(names, a.files or [f"configs/claims/{name}.yaml" for name in names], strict=True))
        publish(Path(a.publish), verdict_block(outcomes, typed, details, trained))
        write_pictures(output, outcomes)
        say(f"{a.publish} says what is decided")
    say(f"written to {write_claims(output, outcomes, trained)}, claims.jsonl and claims.png")
    return 0


def _below(output: Path, file: Path) -> str:
    """The output as a link in the file has it."""
    try:
        return output.resolve().relative_to(file.resolve().parent).as_posix()
    except ValueError:
        message = f"expected a folder below that of {file}, which links to it, got {output}"
        raise ConfigError(message, key="--output", place="command line") from None


def _default_results() -> list[Results]:
    """The comparisons below ``runs``; none where there are none, so that a first call shows what could be tested."""
    below = _RUNS.iterdir() if _RUNS.is_dir() else ()
    if any(map(holds_results, (_RUNS, *below))):
        return read_results([_RUNS])
    say(f"there is no comparison in the folder {_RUNS}; --runs names another one")
    return []
