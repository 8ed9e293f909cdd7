"""Jobs carried out several at once, by works that the test ends itself."""

import fcntl
import sys
from io import StringIO

import pytest
from lmzoo.train.compare.display import Display
from lmzoo.train.compare.evaluations import Evaluation, evaluate_all
from lmzoo.train.compare.executors import LocalExecutor, Needs, Work
from lmzoo.train.compare.jobs import Job, carry_out
from lmzoo.train.compare.run_all import Training, run_all
from lmzoo.train.config import write_yaml
from rich.console import Console

MEETING = """
import pathlib, sys, time
arguments = sys.argv[1:]
folder = pathlib.Path(arguments[arguments.index("--run_dir") + 1])
(folder / "here").touch()
others = folder.parent.parent
end = time.monotonic() + 100
while len(list(others.glob("*/seed-0/here"))) < 2:  # ends only if another run is there at the same time
    assert time.monotonic() < end
    time.sleep(0.01)
(folder / "results.json").write_text('{"finished": true, "records": []}')
"""


class FakeWork(Work):
    def __init__(self, polls: int, log: list, name: str) -> None:
        self.polls, self.log, self.name = polls, log, name

    def wait(self, seconds):
        self.polls -= seconds == 0
        return self.polls <= 0

    def ask(self):
        self.log.append(f"{self.name} asked")

    def stop(self, grace=10.0):
        self.log.append(f"{self.name} stopped")

    def exit_code(self):
        return 0

    def _end(self, *, insist): ...


class FakeJob(Job):
    def __init__(self, folder, log, polls=2, start=None):
        super().__init__(folder.name, "", folder, (), Needs(), None)
        self.log, self.polls, self.fails = log, polls, start
        folder.mkdir(exist_ok=True)

    def start(self, executor):
        self.log.append(f"{self.folder.name} starts")
        if self.fails:
            raise self.fails
        return FakeWork(self.polls, self.log, self.folder.name)

    def tell(self):
        if self.state == "waiting" and self.delayed:
            self.log.append(f"{self.folder.name} delayed")
        if self.state in ("finished", "failed"):
            self.log.append(f"{self.folder.name} ended {self.reason}".strip())


def test_as_many_at_once_as_there_are_slots_and_in_order(tmp_path):
    log = []
    carry_out(
        [FakeJob(tmp_path / name, log, polls=i + 1) for i, name in enumerate("abc")], LocalExecutor(2, 1), FakeJob.tell
    )
    assert log == ["a starts", "b starts", "a ended", "c starts", "b ended", "c ended"]


def test_two_jobs_never_share_a_folder(tmp_path):
    log = []
    carry_out([FakeJob(tmp_path / name, log) for name in "aab"], LocalExecutor(3, 1), FakeJob.tell)
    assert log == ["a starts", "b starts", "a ended", "b ended", "a starts", "a ended"]


def test_a_job_that_cannot_be_started_does_not_stop_the_others(tmp_path):
    log = []
    jobs = [FakeJob(tmp_path / "a", log, start=OSError(12, "no memory")), FakeJob(tmp_path / "b", log)]
    carry_out(jobs, LocalExecutor(1, 1), FakeJob.tell)
    assert log[:2] == ["a starts", "a ended it could not be started: [Errno 12] no memory"]
    assert log[-1] == "b ended"


def test_all_are_asked_to_end_before_any_is_waited_for(tmp_path):
    log = []
    jobs = [FakeJob(tmp_path / "a", log, polls=9), FakeJob(tmp_path / "b", log, start=KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt):
        carry_out(jobs, LocalExecutor(2, 1), FakeJob.tell)
    assert log == ["a starts", "b starts", "a asked", "a stopped"]


def test_a_folder_that_an_earlier_process_holds_is_waited_for(tmp_path, monkeypatch):
    log = []
    (tmp_path / "a").mkdir()
    lock = (tmp_path / "a" / ".lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    monkeypatch.setattr("lmzoo.train.compare.jobs.time.sleep", lambda seconds: lock.close())
    carry_out([FakeJob(tmp_path / name, log) for name in "ab"], LocalExecutor(1, 1), FakeJob.tell)
    assert log == ["a delayed", "b starts", "b ended", "a starts", "a ended"]


def test_runs_go_on_at_once_each_with_its_share_of_threads(planned, tmp_path):
    script = tmp_path / "meeting.py"
    script.write_text(MEETING)
    runs = planned("one", "two")
    console = Console(file=StringIO())
    assert run_all(runs, console, executor=LocalExecutor(2, 1), command=[sys.executable, str(script)]) == []


def test_the_thread_budget_reaches_the_process(planned, tmp_path):
    code = "import os, sys; print(*(os.environ[n] for n in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'LMZOO_THREADS')))"
    (run,) = planned("one")
    run.config["trainer"] |= {"devices": 2}
    run_all(
        [run],
        Console(file=StringIO()),
        executor=LocalExecutor(1, 6),
        command=[sys.executable, "-c", code],
    )
    assert (run.folder / "log.txt").read_text() == "3 3 3\n"  # two processes share the six


def test_evaluations_go_through_the_pool_and_one_that_fails_does_not_stop_the_others(planned, tmp_path):
    runs = planned("one", "two")
    for run in runs:
        write_yaml(run.folder / "config.yaml", {})
        (run.folder / "results.json").write_text('{"finished": true}')
    script = tmp_path / "answer.py"
    script.write_text(
        "import pathlib, sys\ncommand, folder = sys.argv[1:3]\n"
        "if command == 'hard' and 'one' in folder:\n    sys.exit('too hard')\n"
        "(pathlib.Path(folder) / command).touch()\n"
    )
    asked = [
        Evaluation(name, (), 1, lambda folder, name=name: not (folder / name).exists()) for name in ("easy", "hard")
    ]
    text = StringIO()
    wrong = evaluate_all(
        runs,
        asked,
        Console(file=text, width=200),
        executor=LocalExecutor(2, 1),
        program=[sys.executable, str(script)],
    )
    assert wrong == ["one, seed 0: lmzoo hard failed: the process ended with exit code 1: too hard"]
    found = {file.name for file in runs[1].folder.iterdir()}
    assert found == {"config.yaml", "easy", "hard", "log.txt", "results.json"}
    assert "[4/4] " in text.getvalue()


def test_lines_are_not_repeated(planned):
    (run,) = planned("one")
    text = StringIO()
    job = Training(run, command=[])
    run.folder.mkdir(parents=True)
    display = Display([job], Console(file=text, width=200), every_seconds=0.0)
    job.state = "running"
    display.tell(job)
    for step in (10, 20):
        row = f'{{"split": "train", "step": {step}, "seconds": {step}, "cross_entropy": 3, "tokens_per_second": 9}}\n'
        with job.tail.file.open("a") as stream:
            stream.write(row)
        job.look()
        for _ in range(3):
            display.tell(job)
    assert text.getvalue().splitlines() == [
        "[1/1] one, seed 0: started",
        "[1/1] one, seed 0: step 10/20, loss 3.000, 9 tokens/s, –:–– left",
        "[1/1] one, seed 0: trained, evaluating",
    ]
