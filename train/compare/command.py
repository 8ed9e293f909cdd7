"""``lmzoo compare``: trains variants x seeds and writes the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from jsonargparse import ArgumentParser
from rich.console import Console

from ...errors import ConfigError, nearest, require
from ..config import Config, merge, write_yaml
from ..report.claims.report import terminal_table as claims_table
from ..report.collect import collect as collect_records
from ..report.document import Document
from ..report.render import terminal_tables
from ..report.write import write_report
from ..runs.load import COMPARISON_FILE
from .comparison import ComparisonFile, PlannedRun, output_of, read_comparison
from .evaluations import evaluate_all, evaluations_of
from .executors import Executor, LocalExecutor
from .progress import progress_for
from .run_all import Interrupted, ended_by_signals, run_all, sole_user
from .tune import check_trials, tune, tuned_rates

EXECUTORS = ("local", "ray")


def add_execution_arguments(parser: ArgumentParser) -> None:
    """The arguments that say where work is carried out, and how much of it at once."""
    parser.add_argument(
        "--jobs",
        type=int | None,
        default=None,
        metavar="N",
        help="Runs, and then evaluations, at once; 1 if not given, with Ray as many as the cluster has room for. "
        "Runs that share a machine are slower each: compare tokens/s of runs made with the same N only.",
    )
    parser.add_argument(
        "--threads",
        type=int | None,
        default=None,
        metavar="N",
        help="Threads of each job; the cores divided by --jobs if not given, no more than OMP_NUM_THREADS; with Ray 1. "
        "A resumed run equals an uninterrupted one to the last bit where this is the same.",
    )
    parser.add_argument(
        "--executor", default="local", metavar="local|ray", help="Processes of this machine, or tasks of a Ray cluster."
    )
    parser.add_argument(
        "--ray_address",
        "--ray-address",
        default="local",
        metavar="ADDRESS",
        help="Ray cluster: HOST:PORT, auto for the one running here, or local for a new one on this machine. All of "
        "its machines must see the same files under the same paths, with lmzoo in the same place.",
    )


@contextlib.contextmanager
def chosen_executor(
    name: str = "local", *, jobs: int | None = None, threads: int | None = None, ray_address: str = "local"
) -> Iterator[Executor]:
    """The executor, which is closed at the end.

    Args:
        name: ``local`` or ``ray``.
        jobs: at once; 1, with Ray as many as there is room for, if None.
        threads: of each job; a share of the cores, with Ray 1, if None.
        ray_address: of the Ray cluster.

    Raises:
        ArgumentError: an argument is out of range, Ray is not installed, or there is no cluster at the address.
    """
    require(name in EXECUTORS, "executor", " or ".join(EXECUTORS), name)
    require(jobs is None or jobs >= 1, "jobs", "1 or more", jobs)
    require(threads is None or threads >= 1, "threads", "1 or more", threads)
    if name == "local":
        yield LocalExecutor(jobs or 1, threads)
        return
    from .ray_executor import RayExecutor

    with RayExecutor(ray_address, threads=threads or 1, jobs=jobs) as executor:
        yield executor


DESCRIPTION = (
    "Train the variants of a base configuration with several seeds, then write the report: Markdown, one HTML page, "
    "PNG plots, JSON Lines. Where the file says so, all variants get the baseline's parameters or FLOPs (match), and "
    "the same learning rates are tried for each before its final runs (tuning). Finished runs are skipped and "
    "interrupted ones resumed: run the same command again."
)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0 when every run asked for is finished, 1 when one failed."""
    parser = ArgumentParser(prog="lmzoo compare", description=DESCRIPTION, exit_on_error=True)
    add_compare_arguments(parser)
    given = parser.parse_args(list(arguments))
    # the lists are read here and not by the parser, whose message would name the function that reads them
    return compare(
        given.file,
        output=given.output,
        seeds=None if given.seeds is None else _numbers(given.seeds),
        variants=None if given.variants is None else _names(given.variants),
        set=given.set,
        report_only=given.report_only,
        collect=given.collect,
        allow_classes=given.allow_classes,
        executor=given.executor,
        jobs=given.jobs,
        threads=given.threads,
        ray_address=given.ray_address,
    )


def add_compare_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("file", help="Comparison file; with --report_only also the folder of a comparison.")
    parser.add_argument("--output", type=str | None, default=None, help="Folder of the runs; runs/<name> if not given.")
    parser.add_argument("--seeds", type=str | None, default=None, metavar="0,1", help="Seeds, instead of the file's.")
    parser.add_argument("--variants", type=str | None, default=None, metavar="a,b", help="Run only these variants now.")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Override a key of every run, such as trainer.max_steps=100; may be given several times.",
    )
    parser.add_argument(
        "--report_only",
        "--report-only",
        action="store_true",
        help="Train nothing; write the report from what is there.",
    )
    parser.add_argument(
        "--collect",
        type=str | None,
        default=None,
        metavar="FOLDER",
        help="Afterwards copy the records of all runs, without weights, into FOLDER/<name>, from which --report_only "
        "and `lmzoo claims --runs FOLDER` work as well. Runs collected there before stay.",
    )
    parser.add_argument(
        "--allow_classes",
        "--allow-classes",
        action="store_true",
        help="Allow class paths outside lmzoo: loading such a configuration runs the code it names.",
    )
    add_execution_arguments(parser)


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
    executor: str = "local",
    jobs: int | None = None,
    threads: int | None = None,
    ray_address: str = "local",
    console: Console | None = None,
) -> int:
    """Train what is missing of a comparison and write its report into ``OUTPUT/report``.

    Every variant's configuration is checked before the first run starts. Runs begin seed by seed, so that an
    interrupted comparison has whole seeds to compare. With tuning the trials of learning rates come before them,
    variant by variant.

    Args:
        file: the comparison file; see ``configs/compare``.
        output: folder of the runs; the file's ``output``, else ``runs/<name>``.
        seeds: instead of the file's.
        variants: run only these now; the report shows every run of the comparison that is there.
        set: ``KEY=VALUE`` overrides of every run, which outrank those of the variants.
        report_only: train nothing.
        collect: folder of published comparisons into which the records are copied at the end; none if None.
        allow_classes: accept class paths outside lmzoo.
        executor: ``local``, processes of this machine, or ``ray``, tasks of a Ray cluster.
        jobs: runs at once; 1, with Ray as many as there is room for, if None.
        threads: of each run; a share of the cores, with Ray 1, if None.
        ray_address: of the Ray cluster.
        console: where to print; the terminal.

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
            failed = run_all(runs, progress_for(runs, console), executor=place, allow_classes=allow_classes)
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


def _names(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]
