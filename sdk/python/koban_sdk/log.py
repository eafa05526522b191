"""Lines for operators, kept with the record of the call."""

from __future__ import annotations

import sys
from typing import Callable


def _natively(level: str, message: str) -> None:
    """There is no host: the line goes to the test's output."""
    print(f"{level}: {message}", file=sys.stderr)


_write: Callable[[str, str], None] = _natively


def connect(host: Callable[[str, str], None]) -> None:
    """Where lines go inside a component."""
    global _write
    _write = host


def debug(message: str) -> None:
    """For whoever is looking for a mistake."""
    _write("debug", message)


def info(message: str) -> None:
    """Something worth knowing."""
    _write("info", message)


def warn(message: str) -> None:
    """Something odd that the plugin could deal with."""
    _write("warn", message)


def error(message: str) -> None:
    """Something that should not have happened."""
    _write("error", message)
