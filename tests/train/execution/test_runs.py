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
from lmzoo.train.compare_progress import PlainProgress
from lmzoo.train.comparison import PlannedRun
from lmzoo.train.config import ConfigError
from lmzoo.train.execution.live import LiveProgress
from lmzoo.train.execution.metrics_tail import MetricsTail
from lmzoo.train.execution.process import LoggedProcess
from lmzoo.train.run_all import Interrupted, ended_by_signals, run_all, sole_user
from rich.console import Console

# What the child does follows from the configuration it is given, as with a real run.
PLAYED = """
import json, os, pathlib, sys, time, yaml
arguments = sys.argv[1:]
config = yaml.safe_load(open(arguments[arguments.index("--config") + 1]))
folder = pathlib.Path(arguments[arguments.index("--run_dir") + 1])
print("playing", config["play"], flush=True)
row = {"split": "train", "step": 10, "tokens": 100, "seconds": 1.0, "cross_entropy": 3.0, "tokens_per_second": 100.0}
(folder / "metrics.jsonl").write_text(json.dumps(row) + "\\n")
if config["play"] == "finish":
    (folder / "results.json").write_text(json.dumps({"finished": True, "records": []}))
elif config["play"] == "diverge":
    (folder / "failure.json").write_text(json.dumps({"step": 3, "reason": "the loss is nan"}))
    sys.exit(1)
elif config["play"] == "crash":
    sys.exit("no such thing")
elif config["play"] == "killed":
    os.kill(os.getpid(), 9)
else:
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(60)
"""


@pytest.fixture
def played(tmp_path):
    script = tmp_path / "played.py"
    script.write_text(PLAYED)
    return [sys.executable, str(script)]


def planned(tmp_path, *plays: str) -> list[PlannedRun]:
    return [
        PlannedRun(play, 0, {"play": play, "trainer": {"max_steps": 20}}, tmp_path / "out" / play / "seed-0")
        for play in plays
    ]


def run_plain(runs, played) -> tuple[list, str]:
    text = StringIO()
    failed = run_all(runs, PlainProgress(runs, Console(file=text, width=200)), command=played)
    return failed, text.getvalue()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] != "Z"  # one that has ended and was not waited for counts as gone


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.02)


def test_a_failed_run_does_not_stop_the_others(tmp_path, played):
    runs = planned(tmp_path, "diverge", "crash", "killed", "finish")
    failed, said = run_plain(runs, played)
    assert [(run.variant, run.reason) for run in failed] == [
        ("diverge", "step 3: the loss is nan"),
        ("crash", "the process ended with exit code 1: no such thing"),
        ("killed", "the process was ended by SIGKILL, as when memory runs out"),
    ]
    assert "[1/4] diverge, seed 0: FAILED: step 3: the loss is nan" in said
    assert "[4/4] finish, seed 0: finished in 0:0" in said
    assert (runs[3].folder / "log.txt").read_text() == "playing finish\n"


def test_finished_runs_are_skipped_and_failed_ones_tried_again(tmp_path, played):
    runs = planned(tmp_path, "finish", "diverge")
    run_plain(runs, played)
    failed, said = run_plain(runs, played)
    assert "finish, seed 0: finished already" in said
    assert [run.variant for run in failed] == ["diverge"]
    assert (runs[0].folder / "log.txt").read_text() == "playing finish\n"
    assert (runs[1].folder / "log.txt").read_text() == "playing diverge\n" * 2


def test_a_failure_written_for_a_dead_child_goes_when_it_is_tried_again(tmp_path, played):
    run = planned(tmp_path, "crash")[0]
    run_plain([run], played)
    assert json.loads((run.folder / "failure.json").read_text())["reason"].endswith("no such thing")
    run_plain([PlannedRun("crash", 0, {"play": "finish"}, run.folder)], played)
    assert not (run.folder / "failure.json").exists()
    assert (run.folder / "results.json").exists()


def test_a_signal_ends_the_child_and_then_us(tmp_path, played):
    run = planned(tmp_path, "sleep")[0]
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
def test_a_child_does_not_outlive_a_killed_parent(tmp_path, played):
    run = planned(tmp_path, "sleep")[0]
    program = f"""
        import io, pathlib
        from rich.console import Console
        from lmzoo.train.compare_progress import PlainProgress
        from lmzoo.train.comparison import PlannedRun
        from lmzoo.train.run_all import run_all
        runs = [PlannedRun("sleep", 0, {run.config!r}, pathlib.Path({str(run.folder)!r}))]
        run_all(runs, PlainProgress(runs, Console(file=io.StringIO())), command={played!r})
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    pid_file = run.folder / "pid"
    wait_for(lambda: pid_file.exists() and pid_file.read_text(), 60)
    parent.kill()
    parent.wait()
    wait_for(lambda: not alive(int(pid_file.read_text())))


def test_stopping_insists_on_a_child_that_does_not_listen(tmp_path):
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


def test_the_live_table_shows_every_run(tmp_path, played):
    runs = planned(tmp_path, "diverge", "finish")
    text = StringIO()
    console = Console(file=text, width=160, force_terminal=True, color_system=None)
    run_all(runs, LiveProgress(runs, console), command=played)
    said = text.getvalue()
    assert "diverge, seed 0 failed: step 3: the loss is nan" in said
    assert "10/20" in said
    assert "1 failed, 1 finished; 0:0" in said
