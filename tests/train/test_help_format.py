"""Examples in ``--help`` can be copied."""

import pytest
from lmzoo.train.cli import main

COMMANDS = ["analyze", "check", "claims", "diagnose", "extrapolate", "generate", "new", "numbers", "probe"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_example_has_a_line_of_its_own(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    assert done.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line in ("Example:", "Examples:"))
    end = lines.index("", start)
    assert end > start + 1
    assert all(line.startswith(f"  lmzoo {command}") for line in lines[start + 1 : end]), lines[start:end]
    prose = [line for line in lines[:start] if not line.startswith(("usage:", "  "))]
    assert all(len(line) <= 70 for line in prose), "what is not an example is filled"
