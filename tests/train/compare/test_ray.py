"""The same runs as tasks of a Ray cluster on this machine."""

import os
from io import StringIO

import pytest
from lmzoo.errors import ArgumentError, ConfigError
from lmzoo.train.compare.executors import Needs
from lmzoo.train.compare.ray_executor import RayExecutor
from lmzoo.train.compare.run_all import run_all
from rich.console import Console

pytest.importorskip("ray", reason="Ray is not installed: pip install 'lmzoo[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cluster():
    """Two CPUs, whatever this machine has, and room for as many tasks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lmzoo.train.compare.ray_executor.cores", lambda: 2)
        with RayExecutor("local", threads=1) as executor:
            yield executor


def make(runs, cluster, played) -> tuple[list, str]:
    text = StringIO()
    failed = run_all(runs, Console(file=text, width=200), executor=cluster, command=played)
    return failed, text.getvalue()


def test_runs_end_as_they_do_without_ray(cluster, planned, played):
    runs = planned("diverge", "crash", "killed", "finish")
    failed, said = make(runs, cluster, played)
    assert [(run.variant, run.reason) for run in failed] == [
        ("diverge", "step 3: the loss is nan"),
        ("crash", "the process ended with exit code 1: no such thing"),
        ("killed", "the process was ended by SIGKILL, as when memory runs out"),
    ]
    assert "[4/4] finish, seed 0: finished in 0:0" in said
    task, words = (runs[3].folder / "log.txt").read_text().splitlines()
    assert task.startswith("Ray task on ")
    assert words == "playing finish"
    failed, said = make(runs[3:], cluster, played)
    assert "finish, seed 0: finished already" in said


def test_a_task_that_waits_has_not_begun_and_one_that_is_stopped_takes_its_process_along(
    cluster, played, planned, alive, wait_for
):
    works, runs = [], planned("sleep", "doze", "nap")
    for run in runs:
        run.folder.mkdir(parents=True)
        (run.folder / "config.yaml").write_text(f"play: {run.variant}\n")
        words = [*played, "--config", str(run.folder / "config.yaml"), "--run_dir", str(run.folder)]
        works.append(cluster.start(words, run.folder / "log.txt", Needs()))
    pids = [run.folder / "pid" for run in runs]
    wait_for(lambda: sum(file.exists() and bool(file.read_text()) for file in pids) == 2, 200)
    assert sum(work.begun for work in works) == 2
    begun = [int(file.read_text()) for file in pids if file.exists()]
    for work in works:
        work.ask()
    for work in works:
        work.stop()
    assert not any(map(alive, begun))
    assert all(work.wait(0) for work in works)


def test_what_would_never_find_room_is_refused(cluster, planned, played):
    (run,) = planned("finish")
    run.config["trainer"] |= {"accelerator": "cpu", "devices": 3}
    with pytest.raises(ArgumentError, match="threads: expected at most 2 in all"):
        make([run], cluster, played)
    run.config["trainer"] |= {"devices": 1, "num_nodes": 2}
    with pytest.raises(ConfigError, match=r"trainer\.num_nodes"):
        make([run], cluster, played)


def test_an_address_without_a_cluster_is_refused():
    with pytest.raises(ArgumentError, match="ray_address: expected"), RayExecutor("nonsense"):
        pass


def test_a_comparison_through_the_command_line(tiny, write, lmzoo, tmp_path):
    variants = {"rotary": None, "wild": {"model": {"learning_rate": 1.0e30}}}
    tiny["trainer"]["max_steps"] = 40
    file = write(
        {"name": "small", "base": tiny, "variants": variants, "baseline": "rotary", "seeds": [3]}, "small.yaml"
    )
    output = os.path.relpath(tmp_path / "out")  # as a user gives it; the tasks run elsewhere
    options = ("--output", output, "--executor", "ray", "--threads", "1", "--jobs", "2")
    said = lmzoo("compare", file, *options, code=1).stdout
    assert "[1/2] rotary, seed 3: finished" in said
    assert "[2/2] wild, seed 3: FAILED: " in said
    assert (tmp_path / "out" / "report" / "report.html").is_file()
