"""How the host asks a plugin: settings read first, states decoded, facts made easy to look up. Unit tests ask in the same way."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

from .failure import Failure
from .flow import from_bytes, to_bytes
from .kinds import Context, Plugin
from .values import Named, Reader, Values

_ARGUMENTS: Dict[str, Callable[..., Tuple[Any, ...]]] = {
    "assess": lambda payment, facts, signals: (payment, Values(facts), signals),
    "recognise": lambda code, facts: (code, Values(facts)),
    "resume": lambda state, event, refused: (from_bytes(state), event, refused),
    "migrate_state": lambda version, state: (version, from_bytes(state)),
}
"""How the arguments after the settings become those of the plugin's method, where they do not stay as they are."""

_STATES = ("migrate_state",)
"""Answers that are a flow's state: kept as the bytes of their JSON."""


def read_settings(plugin: Plugin, settings: List[Named]) -> Tuple[Any, List[Failure]]:
    """The settings as the plugin's own type, or all that is wrong with them."""
    read = Reader(settings)
    typed = plugin.settings(read)
    return typed, read.failures


def asked(plugin: Plugin, method: str, ctx: Optional[Context], settings: List[Named], *rest: Any) -> Any:
    """The plugin's answer to one question. Raises `Failure` when that is its answer."""
    typed, failures = read_settings(plugin, settings)
    if failures:
        raise failures[0]
    given = _ARGUMENTS[method](*rest) if method in _ARGUMENTS else rest
    answer = getattr(plugin, method)(ctx, typed, *given)
    return to_bytes(answer) if method in _STATES else answer


def checked_settings(plugin: Plugin, settings: List[Named]) -> List[Failure]:
    """All that is wrong with these settings."""
    typed, failures = read_settings(plugin, settings)
    return failures or plugin.check_settings(typed)
