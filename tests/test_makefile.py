"""`make setup` where the machine's Python cannot make a whole environment."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A Python whose venv module lays out an environment and then fails at ensurepip, as Debian's does without python3-venv;
# with the file `mended` beside it, it succeeds.
PYTHON = """#!/bin/sh
here=$(dirname "$0")
case "$1 $2" in
  "-m venv")
    mkdir -p "$3/bin"
    printf '#!/bin/sh\\necho "$@" >> calls\\ntest -f "%s/mended"\\n' "$here" > "$3/bin/python"
    chmod +x "$3/bin/python"
    test -f "$here/mended" ;;
  *) exit 0 ;;
esac
"""


@pytest.fixture
def setup(tmp_path):
    """Run ``make setup`` in a folder of its own; returns what it said and its exit code."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "elsewhere" / "python3"
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)

    def run() -> tuple[int, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        command = ["make", "setup", f"PYTHON={python}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=plain, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_an_environment_without_pip_says_what_to_install_also_the_second_time(setup, tmp_path):
    for _ in range(2):
        code, said = setup()
        assert code != 0
        assert "apt install python3-venv" in said
        assert "No module named pip" not in said
        assert (tmp_path / ".venv/bin/python").exists()
        assert not (tmp_path / ".venv/.installed").exists()


def test_it_goes_on_by_itself_once_that_is_installed(setup, tmp_path):
    setup()
    (tmp_path / "elsewhere" / "mended").touch()
    code, said = setup()
    assert code == 0, said
    assert (tmp_path / ".venv/.installed").exists()
    assert "-m pip install" in (tmp_path / "calls").read_text()
