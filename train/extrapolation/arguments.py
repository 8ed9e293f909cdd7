"""The options that every evaluation command has: which text, which device, which precision."""

from __future__ import annotations

from typing import Any

import torch
from jsonargparse import ArgumentParser

from ...errors import require
from ..arguments import check_device
from ..data.corpus import SPLITS
from .interventions import add_intervention_arguments

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


def add_subject_arguments(parser: ArgumentParser) -> None:
    """Give a command the options of text, machine and model."""
    parser.add_argument("--split", type=str | None, default=None, help="test, if there is one, else validation")
    parser.add_argument(
        "--source", type=str | None, default=None, help="text to read; a run's own, python-docs for other models"
    )
    parser.add_argument("--raw", action="store_true", help="with --source wikitext-...: the form without <unk>")
    parser.add_argument("--detokenize", action="store_true", help="with --source wikitext-...: undo its spacing")
    parser.add_argument(
        "--device", type=str, default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda or cuda:N"
    )
    parser.add_argument("--dtype", type=str, default="float32", help=f"precision: {', '.join(DTYPES)}")
    parser.add_argument("--no_figure", action="store_true", help="records only, without figures")
    parser.add_argument(
        "--allow_classes", action="store_true", help="allow class paths outside lmzoo, which runs the code they name"
    )
    add_intervention_arguments(parser)


def check_subject_arguments(given: Any) -> None:
    """Raise :class:`ArgumentError` for a value that none of them takes."""
    check_device(given.device)
    require(given.dtype in DTYPES, "dtype", " or ".join(DTYPES), given.dtype)
    require(given.split is None or given.split in SPLITS, "split", " or ".join(SPLITS), given.split)
