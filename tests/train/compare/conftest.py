"""Runs played by a small script in place of a training run, and what tests ask of processes."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from lmzoo.train.compare.comparison import PlannedRun

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
    """The words that start a played run."""
    script = tmp_path / "played.py"
    script.write_text(PLAYED)
    return [sys.executable, str(script)]


@pytest.fixture
def planned(tmp_path):
    """``planned("finish", "crash")``: runs that do so."""

    def plan(*plays: str) -> list[PlannedRun]:
        return [
            PlannedRun(play, 0, {"play": play, "trainer": {"max_steps": 20}}, tmp_path / "out" / play / "seed-0")
            for play in plays
        ]

    return plan


@pytest.fixture
def alive():
    """Whether a process is there; one that has ended and was not waited for counts as gone."""

    def check(pid: int) -> bool:
        try:
            os.kill(pid, 0)
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (ProcessLookupError, FileNotFoundError):
            return False
        return stat.rpartition(")")[2].split()[0] != "Z"

    return check


@pytest.fixture
def wait_for():
    """Wait until a condition holds; fails after a while."""

    def wait(condition, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            threading.Event().wait(0.02)

    return wait
