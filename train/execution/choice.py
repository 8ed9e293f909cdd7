"""Which executor a command line asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from jsonargparse import ArgumentParser

from ...errors import require
from .executor import Executor, LocalExecutor

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
