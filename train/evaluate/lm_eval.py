"""``lmzoo lm-eval``: the evaluation harness of EleutherAI, in a process that knows our models."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path

from ...errors import ConfigError
from ..own_code import importable

_DESCRIPTION = """lmzoo lm-eval: the command of EleutherAI's evaluation harness, with folders of our runs as models.

Every word is passed on to the harness's own command, whose help follows. A run is named as any model of Hugging Face:
  lmzoo lm-eval --model hf --model_args pretrained=runs/tiny/seed-0 --tasks wikitext --device cpu
  lmzoo lm-eval --model hf --model_args pretrained=runs/tiny/seed-0,max_length=1024,dtype=float64 --tasks wikitext
Without max_length the harness cuts its text into windows of the training length. It downloads the data of its tasks
once; a task on a file of your own needs no network (the guide "Hugging Face" shows one). For its wikitext task, lmzoo
extrapolate RUN --lengths N --as lm-eval --source wikitext-2 --raw computes the same figure from the same text, also
from $LMZOO_DATA. Runs with parts of your own: --trust_remote_code. The harness warns that it does not know our type of
model, and then does the right thing; backend=causal among the model_args says so beforehand.
The same without this command: python -c "import lmzoo.models; from lm_eval.__main__ import cli_evaluate as f; f()" ...
"""
_NEEDED = {"lm_eval": "lm-eval", "accelerate": "accelerate"}


def main(arguments: list[str]) -> int:
    """Hand the words over to the harness's command; returns 0, errors are the harness's own.

    Raises:
        ConfigError: the harness, or what it loads models with, is not installed.
    """
    missing = [package for module, package in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(f"lm-eval needs {' and '.join(missing)}, not installed here: pip install 'lmzoo[eval]'")
    from lm_eval.__main__ import cli_evaluate

    asks = not arguments or arguments[0] in ("-h", "--help")
    if asks:
        print(_DESCRIPTION)
    before, sys.argv = sys.argv, ["lmzoo lm-eval", *(["--help"] if asks else arguments)]
    # parts of the user's own are found in the working folder, as by our commands with --allow_classes
    trusted = any("trust_remote_code" in word for word in arguments)
    try:
        with importable(Path.cwd()) if trusted else contextlib.nullcontext():
            cli_evaluate()
    finally:
        sys.argv = before
    return 0
