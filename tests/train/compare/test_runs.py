"""Runs in processes of their own, played by a small script in place of a training run."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from io import StringIO
from pathlib import Path

import pytest
from lmzoo.errors import ConfigError
from lmzoo.train.compare.comparison import PlannedRun
from lmzoo.train.compare.display import Display
from lmzoo.train.compare.executors import LoggedProcess, Needs
from lmzoo.train.compare.jobs import Job
from lmzoo.train.compare.run_all import Interrupted, MetricsTail, ended_by_signals, run_all, sole_user
from rich.console import Console


def run_plain(runs, played) -> tuple[list, str]:
    text = StringIO()
    failed = run_all(runs, Console(file=text, width=200), command=played)
    return failed, text.getvalue()


def test_a_failed_run_does_not_stop_the_others(played, planned):
    runs = planned("diverge", "crash", "killed", "finish")
    failed, said = run_plain(runs, played)
    assert [(run.variant, run.reason) for run in failed] == [
        ("diverge", "step 3: the loss is nan"),
        ("crash", "the process ended with exit code 1: no such thing"),
        ("killed", "the process was ended by SIGKILL, as when memory runs out"),
    ]
    assert "[1/4] diverge, seed 0: FAILED: step 3: the loss is nan" in said
    assert "[4/4] finish, seed 0: finished in 0:0" in said
    assert (runs[3].folder / "log.txt").read_text() == "playing finish\n"


def test_finished_runs_are_skipped_and_failed_ones_tried_again(played, planned):
    runs = planned("finish", "diverge")
    run_plain(runs, played)
    failed, said = run_plain(runs, played)
    assert "finish, seed 0: finished already" in said
    assert [run.variant for run in failed] == ["diverge"]
    assert (runs[0].folder / "log.txt").read_text() == "playing finish\n"
    assert (runs[1].folder / "log.txt").read_text() == "playing diverge\n" * 2


def test_a_failure_written_for_a_dead_child_goes_when_it_is_tried_again(played, planned):
    run = planned("crash")[0]
    run_plain([run], played)
    assert json.loads((run.folder / "failure.json").read_text())["reason"].endswith("no such thing")
    run_plain([PlannedRun("crash", 0, {"play": "finish"}, run.folder)], played)
    assert not (run.folder / "failure.json").exists()
    assert (run.folder / "results.json").exists()


def test_a_signal_ends_the_child_and_then_us(played, planned, alive, wait_for):
    run = planned("sleep")[0]
    pid_file = run.folder / "pid"

    def interrupt() -> None:
        wait_for(lambda: pid_file.exists() and pid_file.read_text())
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted, match="SIGTERM"), ended_by_signals():
        run_plain([run], played)
    thread.join()
    wait_for(lambda: not alive(int(pid_file.read_text())))
    assert not (run.folder / "failure.json").exists()  # interrupted is not failed


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_child_does_not_outlive_a_killed_parent(tmp_path, alive, wait_for):
    sleeper = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    log = tmp_path / "log.txt"
    program = f"""
        import pathlib, sys, time
        from lmzoo.train.compare.executors import LoggedProcess
        child = LoggedProcess([sys.executable, "-c", {sleeper!r}], pathlib.Path({str(log)!r}))
        time.sleep(600)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        wait_for(lambda: log.exists() and log.read_text().endswith("\n"), 200)
    finally:
        parent.kill()
        parent.wait()
    pid = int(log.read_text())
    wait_for(lambda: not alive(pid))


def test_stopping_insists_on_a_child_that_does_not_listen(tmp_path, wait_for):
    script = tmp_path / "deaf.py"
    script.write_text(
        "import signal, sys, time\nsignal.signal(15, lambda *_: None)\nprint('deaf', flush=True)\ntime.sleep(60)\n"
    )
    log = tmp_path / "log.txt"
    child = LoggedProcess([sys.executable, str(script)], log)
    wait_for(lambda: log.read_text() == "deaf\n")
    begin = time.monotonic()
    child.stop(grace=0.2)
    assert time.monotonic() - begin < 10
    assert child.wait(0)


def test_two_comparisons_never_share_a_folder(tmp_path):
    other = pytest.raises(ConfigError, match="another comparison is running")
    with sole_user(tmp_path / "out"), other, sole_user(tmp_path / "out"):
        pass
    with sole_user(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()


def row(step: int, **changes) -> str:
    return json.dumps({"split": "train", "step": step, "seconds": step * 0.5, "cross_entropy": 3.0, **changes}) + "\n"


def test_the_tail_waits_for_the_end_of_a_line_and_knows_the_time_left(tmp_path):
    file = tmp_path / "metrics.jsonl"
    tail = MetricsTail(file)
    tail.poll()
    assert tail.train is None
    file.write_text(row(10) + row(20)[:9])
    tail.poll()
    assert tail.train["step"] == 10
    assert str(tail.seconds_left(40)) == "nan"
    file.write_text(row(10) + row(20) + '{"split": "validation", "step": 20, "cross_entropy": 4.0}\n')
    tail.poll()
    assert tail.train["step"] == 20
    assert tail.validation["cross_entropy"] == 4.0
    assert tail.seconds_left(40) == pytest.approx(10.0)
    assert str(tail.seconds_left(None)) == "nan"


def test_the_tail_follows_a_file_that_a_resumed_run_has_replaced(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text(row(10) + row(20) + row(30))
    tail = MetricsTail(file)
    tail.poll()
    replaced = tmp_path / "new"
    replaced.write_text(row(10))
    replaced.replace(file)
    tail.poll()
    assert tail.train["step"] == 10


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_row_of_the_live_table_is_one_line(width):
    labels = ("softmax, learning rate 0.003, seed 1000", "softplus-kernel, seed 0", "rotary, seed 0")
    jobs = [
        Job(label, "training", Path(label), ("true",), Needs(), steps=400, state="finished", seconds=33.0)
        for label in labels
    ]
    console = Console(file=StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(Display(jobs, console)._table())
    lines = console.file.getvalue().splitlines()
    rows = [line for line in lines if "finished in 0:33" in line]
    assert [row[:10] for row in rows] == [label[:10] for label in labels]
    assert all("0/400" in row for row in rows)


def test_the_live_table_shows_every_run(played, planned):
    runs = planned("diverge", "finish")
    text = StringIO()
    console = Console(file=text, width=160, force_terminal=True, color_system=None)
    run_all(runs, console, command=played)
    said = text.getvalue()
    assert "diverge, seed 0 failed: step 3: the loss is nan" in said
    assert "10/20" in said
    assert "1 failed, 1 finished; 0:0" in said
