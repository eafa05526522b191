"""Typed reading of named values: settings, facts and form answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Type, TypeVar, Union, cast

from .failure import SETTINGS_INVALID, Failure
from .money import Decimal, Money


class Moment(int):
    """Unix milliseconds, UTC."""


class Secret(str):
    """The handle of a secret: only the host can open it."""


Value = Union[str, int, Money, Decimal, bool, Moment, Secret]
"""A typed value: text, whole number, amount, rate, yes or no, moment, secret."""

T = TypeVar("T", str, int, Money, Decimal, bool, Moment, Secret)

_WHAT = {
    str: "text",
    int: "a whole number",
    Money: "an amount",
    Decimal: "a rate",
    bool: "yes or no",
    Moment: "a moment",
    Secret: "a secret",
}


@dataclass(frozen=True)
class Named:
    """A value under its name; a list is the same name repeated."""

    name: str
    value: Value


def _is(value: Value, kind: type) -> bool:
    # Exactly this type: a moment is no whole number, and neither is yes or no.
    return type(value) is kind


class Values:
    """Named values to look up: facts, form answers, query parameters."""

    def __init__(self, values: List[Named]) -> None:
        self._values = values

    def get(self, name: str, kind: Type[T]) -> Optional[T]:
        """The first value of this name, if it is there and of this type."""
        found = self.all(name)
        return cast(T, found[0]) if found and _is(found[0], kind) else None

    def all(self, name: str) -> List[Value]:
        """All values of this name, in order."""
        return [named.value for named in self._values if named.name == name]


class Reader:
    """Reads settings one after the other and keeps what is wrong until all are read."""

    def __init__(self, values: List[Named]) -> None:
        self._values = Values(values)
        self.failures: List[Failure] = []

    def one(self, name: str, kind: Type[T]) -> T:
        """The setting of this name, which must be there once. While something is wrong it is None, and nothing of the plugin is asked."""
        found = self._values.all(name)
        if not found:
            self._fail(name, f"is missing; it should be {_WHAT[kind]}")
            return cast(T, None)
        return cast(T, self._read(name, kind, found[0]))

    def maybe(self, name: str, kind: Type[T]) -> Optional[T]:
        """The setting of this name, if it is there."""
        found = self._values.all(name)
        return self._read(name, kind, found[0]) if found else None

    def list(self, name: str, kind: Type[T]) -> List[T]:
        """All settings of this name, in order."""
        found = self._values.all(name)
        if not all(_is(value, kind) for value in found):
            self._fail(name, f"should be a list of {_WHAT[kind]}")
        return [cast(T, value) for value in found if _is(value, kind)]

    def _read(self, name: str, kind: Type[T], value: Value) -> Optional[T]:
        if _is(value, kind):
            return cast(T, value)
        self._fail(name, f"should be {_WHAT[kind]}")
        return None

    def _fail(self, name: str, problem: str) -> None:
        self.failures.append(Failure(SETTINGS_INVALID, f"setting `{name}` {problem}"))
