"""``lmzoo compare``: trains variants x seeds and writes the report."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docstring_parser
import yaml
from jsonargparse import ArgumentParser
from rich.console import Console

from ...errors import ConfigError, nearest, require
from ..config import Config, merge, write_yaml
from ..report.claims.report import terminal_table as claims_table
from ..report.collect import collect as collect_records
from ..report.document import Document
from ..report.write import terminal_tables, write_report
from ..runs.load import COMPARISON_FILE
from .comparison import ComparisonFile, PlannedRun, output_of, read_comparison
from .evaluations import evaluate_all, evaluations_of
from .executors import Executor, LocalExecutor
from .run_all import Interrupted, ended_by_signals, run_all, sole_user
from .tune import check_trials, tune, tuned_rates

# How the help of `lmzoo compare` calls the values of its options.
_METAVARS = {
    "seeds": "0,1",
    "variants": "a,b",
    "set": "KEY=VALUE",
    "collect": "FOLDER",
    "jobs": "N",
    "threads": "N",
    "executor": "local|ray",
    "ray_address": "ADDRESS",
}


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0 when every run asked for is finished, 1 when one failed."""
    given = vars(_parser().parse_args(list(arguments)))
    # the lists are read here and not by the parser, whose message would name the function that reads them
    if given["seeds"] is not None:
        given["seeds"] = _numbers(given["seeds"])
    if given["variants"] is not None:
        given["variants"] = [word.strip() for word in given["variants"].split(",")]
    return compare(**given)


def _parser() -> ArgumentParser:
    """The arguments of :func:`compare` as those of a command, explained as its docstring explains them."""
    said = docstring_parser.parse(compare.__doc__ or "")
    description = " ".join((said.description or "").split("\n\n")[:2]).replace("``", "")
    parser = ArgumentParser(prog="lmzoo compare", description=description, exit_on_error=True)
    helps = {word.arg_name: " ".join((word.description or "").split()) for word in said.params}
    for name, parameter in inspect.signature(compare).parameters.items():
        options = [f"--{name}"] + ([f"--{name.replace('_', '-')}"] if "_" in name else [])
        kind = int if name in ("jobs", "threads") else str
        form: dict[str, Any] = {"default": parameter.default, "metavar": _METAVARS.get(name)}
        if name == "file":
            options, form = [name], {}
        elif isinstance(parameter.default, bool):
            form = {"action": "store_true"}
        elif name == "set":
            form |= {"action": "append", "default": []}
        else:
            form["type"] = kind | None if parameter.default is None else kind
        if name != "console":
            parser.add_argument(*options, help=helps[name], **form)
    return parser


def compare(
    file: str | Path,
    *,
    output: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] | None = None,
    set: Sequence[str] = (),
    report_only: bool = False,
    collect: str | Path | None = None,
    allow_classes: bool = False,
    jobs: int | None = None,
    threads: int | None = None,
    executor: str = "local",
    ray_address: str = "local",
    console: Console | None = None,
) -> int:
    """Train the variants of a base configuration with several seeds, then write the report into ``OUTPUT/report``.

    The report is Markdown, one HTML page, PNG plots, JSON Lines. Where the file says so, all variants get the
    baseline's parameters or FLOPs (match), and the same learning rates are tried for each before its final runs
    (tuning). Finished runs are skipped and interrupted ones resumed: run the same command again.

    Every variant's configuration is checked before the first run starts. Runs begin seed by seed, so that an
    interrupted comparison has whole seeds to compare. With tuning the trials of learning rates come before them,
    variant by variant.

    Args:
        file: Comparison file; with --report_only also the folder of a comparison.
        output: Folder of the runs; the file's, else runs/<name>, if not given.
        seeds: Seeds, instead of the file's.
        variants: Run only these variants now; the report shows every run of the comparison that is there.
        set: Override a key of every run, such as trainer.max_steps=100; may be given several times. It outranks the
            overrides of the variants.
        report_only: Train nothing; write the report from what is there.
        collect: Afterwards copy the records of all runs, without weights, into FOLDER/<name>, from which --report_only
            and `lmzoo claims --runs FOLDER` work as well. Runs collected there before stay.
        allow_classes: Allow class paths outside lmzoo: loading such a configuration runs the code it names.
        jobs: Runs, and then evaluations, at once; 1 if not given, with Ray as many as the cluster has room for. Runs
            that share a machine are slower each: compare tokens/s of runs made with the same N only.
        threads: Threads of each job; the cores divided by --jobs if not given, no more than OMP_NUM_THREADS; with
            Ray 1. A resumed run equals an uninterrupted one to the last bit where this is the same.
        executor: Processes of this machine, or tasks of a Ray cluster.
        ray_address: Ray cluster: HOST:PORT, auto for the one running here, or local for a new one on this machine. All
            of its machines must see the same files under the same paths, with lmzoo in the same place.
        console: Where to print; the terminal if not given.

    Returns:
        0 when every run asked for is finished and evaluated, 1 when one failed, 128 + the signal's number after a
        signal.

    Raises:
        ConfigError: for anything in the file that cannot be used, and for a folder that holds other runs.
        ArgumentError: for an executor that there is not, or that cannot be had so.
    """
    console = console or Console(highlight=False)
    if report_only:
        _finish(output_of(file, output), console, collect)
        return 0
    comparison = read_comparison(file, output=output, seeds=seeds, settings=_settings(set), allow_classes=allow_classes)
    chosen = _chosen(comparison, variants)
    runs = planned(comparison, chosen)
    check_trials(comparison)
    if comparison.numbers_probe:
        comparison.numbers_probe.check_text()
    try:
        with (
            sole_user(comparison.output),
            chosen_executor(executor, jobs=jobs, threads=threads, ray_address=ray_address) as place,
            ended_by_signals(),
        ):
            comparison.refuse_other_runs(tuned_rates(comparison))
            write_yaml(comparison.output / COMPARISON_FILE, comparison.as_yaml() | {"seeds": comparison.seeds_there})
            untuned: list[str] = []
            if comparison.tuning:
                rates, untuned = tune(comparison, chosen, console, executor=place, allow_classes=allow_classes)
                runs = [
                    comparison.plan(variant, seed, learning_rate=rates[variant])
                    for seed in comparison.seeds
                    for variant in chosen
                    if variant in rates
                ]
            console.print(f"{len(runs)} runs in {comparison.output}", markup=False)
            failed = run_all(runs, console, executor=place, allow_classes=allow_classes)
            evaluations = evaluations_of(comparison)
            troubles = untuned + evaluate_all(runs, evaluations, console, executor=place, allow_classes=allow_classes)
    except Interrupted as interrupted:
        console.print(f"ended by {interrupted}; run the same command again to go on")
        return 128 + interrupted.number
    _finish(comparison.output, console, collect)
    for run in failed:
        console.print(f"{run.variant}, seed {run.seed} failed: {run.reason}", style="red", markup=False)
    for trouble in troubles:
        console.print(trouble, style="red", markup=False)
    return 1 if failed or troubles else 0


@contextlib.contextmanager
def chosen_executor(
    name: str = "local", *, jobs: int | None = None, threads: int | None = None, ray_address: str = "local"
) -> Iterator[Executor]:
    """The executor of this name, which is closed at the end; see :func:`compare` for the arguments.

    Raises:
        ArgumentError: an argument is out of range, Ray is not installed, or there is no cluster at the address.
    """
    require(name in ("local", "ray"), "executor", "local or ray", name)
    require(jobs is None or jobs >= 1, "jobs", "1 or more", jobs)
    require(threads is None or threads >= 1, "threads", "1 or more", threads)
    if name == "local":
        yield LocalExecutor(jobs or 1, threads)
        return
    from .ray_executor import RayExecutor

    with RayExecutor(ray_address, threads=threads or 1, jobs=jobs) as executor:
        yield executor


def _finish(output: Path, console: Console, target: str | Path | None) -> None:
    document, page = write_report(output)
    _show(document, console)
    console.print(f"report: {page}", markup=False, soft_wrap=True)
    if target is not None:
        for sentence in collect_records(output, Path(target)).sentences():
            console.print(sentence, markup=False, soft_wrap=True)


def _show(document: Document, console: Console) -> None:
    for table in terminal_tables(document, console.width):
        console.print(table)
    if document.claims:
        console.print(claims_table(document.claims))
    console.print(document.headline, markup=False)


def planned(comparison: ComparisonFile, chosen: Sequence[str]) -> list[PlannedRun]:
    """The runs of the chosen variants, seed by seed.

    Mistakes in the others are found now as well, before hours of training; only the trained model that one of them
    starts from may be missing still.
    """
    runs = []
    for seed in comparison.seeds:
        for variant in comparison.variants:
            try:
                run = comparison.plan(variant, seed)
            except ConfigError as error:
                if variant in chosen or error.key != "init_from":
                    raise
                continue
            if variant in chosen:
                runs.append(run)
    return runs


def _chosen(comparison: ComparisonFile, variants: Sequence[str] | None) -> list[str]:
    for name in variants or ():
        if name not in comparison.variants:
            close = ", ".join(nearest(name, comparison.variants))
            raise ConfigError(
                f"no variant is called {name!r}; nearest: {close}", key="--variants", place="command line"
            )
    return [name for name in comparison.variants if variants is None or name in variants]


def _settings(words: Sequence[str]) -> Config:
    settings: Config = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"expected KEY=VALUE, got {word!r}", key="--set", place="command line")
        try:
            nested = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that no calendar has
            reason = getattr(error, "problem", None) or error
            message = f"expected a value as in YAML after {key}=, got {value!r} ({reason})"
            raise ConfigError(message, key="--set", place="command line") from None
        for part in reversed(key.split(".")):
            nested = {part: nested}
        settings = merge(settings, nested)
    return settings


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.strip("[] ").split(",")]
    except ValueError:
        message = f"expected whole numbers with commas between them, such as 0,1,2, got {text!r}"
        raise ConfigError(message, key="--seeds", place="command line") from None
