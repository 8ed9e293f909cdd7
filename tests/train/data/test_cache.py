"""What stands in the cache is whole, whatever happens to the process that writes it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from lmzoo.train.data.cache import LEFTOVER_SECONDS, build_once, cache_root, fingerprint
from lmzoo.train.storage import read_json, write_json


def is_valid(folder: Path) -> bool:
    return (folder / "a").is_file() and (folder / "a").read_text() == "whole"


def write(folder: Path) -> None:
    (folder / "a").write_text("whole")


def entries(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir())


def test_built_once(tmp_path):
    assert build_once(tmp_path / "x", is_valid=is_valid, write=write)
    assert not build_once(tmp_path / "x", is_valid=is_valid, write=lambda _: pytest.fail("built again"))
    assert entries(tmp_path) == ["x"]


def test_an_error_leaves_nothing(tmp_path):
    def fail(folder: Path) -> None:
        (folder / "a").write_text("who")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        build_once(tmp_path / "x", is_valid=is_valid, write=fail)
    assert entries(tmp_path) == []


def test_a_damaged_folder_is_replaced(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a").write_text("who")
    assert build_once(tmp_path / "x", is_valid=is_valid, write=write)
    assert is_valid(tmp_path / "x")
    assert entries(tmp_path) == ["x"]


def test_two_at_once(tmp_path):
    barrier = threading.Barrier(2, timeout=30)
    built = []

    def write_together(folder: Path) -> None:
        barrier.wait()  # both have found the folder missing and are writing
        write(folder)
        barrier.wait()

    def build() -> None:
        built.append(build_once(tmp_path / "x", is_valid=is_valid, write=write_together))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [True, True]
    assert is_valid(tmp_path / "x")
    assert entries(tmp_path) == ["x"]


def test_leftovers_go_once_they_are_old(tmp_path):
    for name, age in (("old", LEFTOVER_SECONDS + 10), ("young", 10.0)):
        folder = tmp_path / f".partial-{name}"
        folder.mkdir()
        (folder / "a").write_text("who")
        for path in (folder / "a", folder):
            os.utime(path, (time.time() - age,) * 2)
    build_once(tmp_path / "x", is_valid=is_valid, write=write)
    assert entries(tmp_path) == [".partial-young", "x"]


KILLED = """
import os, signal, sys
from pathlib import Path
from lmzoo.train.data.cache import build_once

def write(folder):
    (folder / "a").write_text("who")
    os.kill(os.getpid(), signal.SIGKILL)

build_once(Path(sys.argv[1]), is_valid=lambda folder: folder.is_dir(), write=write)
"""


def test_a_killed_process_leaves_nothing_that_counts(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x")], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [name.startswith(".partial-") for name in entries(tmp_path)] == [True]
    assert build_once(tmp_path / "x", is_valid=is_valid, write=write)
    assert is_valid(tmp_path / "x")


def test_root(monkeypatch, tmp_path):
    monkeypatch.setenv("LMZOO_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    assert cache_root("~/x") == Path.home() / "x"
    monkeypatch.delenv("LMZOO_CACHE")
    assert cache_root() == Path.home() / ".cache" / "lmzoo"


def test_fingerprint_and_json(tmp_path):
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    write_json(tmp_path / "m.json", {"a": 1})
    assert read_json(tmp_path / "m.json") == {"a": 1}
    (tmp_path / "m.json").write_text('{"a": ')
    assert read_json(tmp_path / "m.json") is None
    assert read_json(tmp_path / "none.json") is None
    assert entries(tmp_path) == ["m.json"]
