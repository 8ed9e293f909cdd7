"""Files and folders that are either whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

LEFTOVER_SECONDS = 3600.0
"""A writer writes every few seconds; a temporary folder untouched for this long has lost its process."""

_PARTIAL = ".partial-"


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """``cache_dir``, else ``$LMZOO_CACHE``, else ``~/.cache/lmzoo``."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    return Path(os.environ.get("LMZOO_CACHE") or "~/.cache/lmzoo").expanduser()


def fingerprint(identity: Mapping[str, object]) -> str:
    """SHA-256 of a JSON-ready mapping, whatever the order of its keys."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def build_once(target: Path, *, is_valid: Callable[[Path], bool], write: Callable[[Path], None]) -> bool:
    """Make sure that a valid folder stands at ``target``; True if this call built it.

    ``write`` fills a folder of a temporary name beside the target, which is renamed when all its files are on the disk.
    A process that dies on the way leaves nothing at ``target``; its temporary folder is removed by a later call, once
    it has not been written to for an hour. Of two processes that build the same at once, the first to finish stays.

    Args:
        target: the folder's final path.
        is_valid: whether a folder there can be used; an invalid one is replaced.
        write: fills the folder given to it.
    """
    if is_valid(target):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent)
    partial = target.parent / f"{_PARTIAL}{target.name[:16]}-{uuid.uuid4().hex}"
    partial.mkdir()
    try:
        write(partial)
        _sync(partial)
        _publish(partial, target, is_valid)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # already renamed if all went well
    return True


def remove_leftovers(parent: Path) -> None:
    """Remove the temporary folders in ``parent`` that no process has written to for an hour."""
    for partial in parent.glob(f"{_PARTIAL}*"):
        with contextlib.suppress(OSError):  # another process may be removing it too
            newest = max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
            if time.time() - newest > LEFTOVER_SECONDS:
                shutil.rmtree(partial)


def _publish(partial: Path, target: Path, is_valid: Callable[[Path], bool]) -> None:
    try:
        partial.rename(target)
    except OSError:
        if is_valid(target):
            return  # another process was first
        # What stands there is damaged: moved aside first, so that the name never shows half a folder.
        broken = target.parent / f"{_PARTIAL}{target.name[:16]}-{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            target.rename(broken)
        shutil.rmtree(broken, ignore_errors=True)
        partial.rename(target)


def _sync(folder: Path) -> None:
    """Have the folder's files on the disk before it gets its name, so that a power cut cannot leave it hollow."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
