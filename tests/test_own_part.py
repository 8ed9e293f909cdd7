"""The page about parts of one's own does what it says, block by block, in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "own-part.md").read_text()
# a block with its language, and the line before it, which may say what to save it as
BLOCK = re.compile(r"(?:Save this as `(?P<file>[\w.]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```", re.M | re.S)
# -P: as the installed command, which does not have the working folder on its path
COMMANDS = {"lmzoo": "-P -m lmzoo.train", "pytest": "-P -m pytest -p no:cacheprovider"}


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("bash") is None, reason="the page's commands are bash")
def test_the_page_runs_from_top_to_bottom(tmp_path):
    programs, folder = tmp_path / "bin", tmp_path / "work"
    programs.mkdir()
    folder.mkdir()
    for name, how in COMMANDS.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {how} "$@"\n')
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    environment.pop("PYTEST_ADDOPTS", None)

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=1200
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{command[-1]}\n{said}"
        return said

    said, ran = "", []
    for block in BLOCK.finditer(PAGE):
        language, text = block["language"], block["text"]
        if block["file"]:
            (folder / block["file"]).write_text(text)
        elif language == "bash":
            said = run("bash", "-euo", "pipefail", "-c", text)
        elif language == "python":
            said = run(sys.executable, "-c", text)
        else:
            assert language == "text", f"a block of {language} is neither run nor saved"
            assert words(text) in words(said)
        ran.append(block["file"] or language)
        if "exit code $?" in text:
            assert re.search(r"exit code [12]$", said, re.M), said
    assert ran.count("bash") >= 8
    assert (folder / "runs" / "sharpness" / "report" / "report.html").stat().st_size > 10_000
    assert '"kept": true' in (folder / "check.json").read_text()
