"""What a merchant tool sees when something has happened, and what it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, List, Optional, Union

from .flow import Step
from .money import Money
from .values import Named, Value


@dataclass(frozen=True)
class ToolEvent:
    """Something that happened on the platform."""

    id: str
    kind: str
    """One of the manifest's `events`, such as `payment.paid`."""
    at: int
    amount: Optional[Money]
    user: Optional[str]
    """An opaque name of the user's wallet."""
    merchant: Optional[str]
    facts: List[Named]


class About(Enum):
    """Whom a remembered value is about."""

    USER = "user"
    SCOPE = "scope"


@dataclass(frozen=True)
class Remembered:
    """A value that this plugin put earlier."""

    about: About
    name: str
    value: Value


@dataclass(frozen=True)
class Put:
    """Remembers a value; None forgets it."""

    CASE: ClassVar[str] = "Action_Put"
    about: About
    name: str
    value: Optional[Value] = None
    expires: Optional[int] = None


@dataclass(frozen=True)
class Bonus:
    """Grants the event's user a bonus out of one of the manifest's budgets; `reason` is one of the manifest's codes."""

    CASE: ClassVar[str] = "Action_Bonus"
    budget: str
    amount: Money
    reason: str


@dataclass(frozen=True)
class Tell:
    """Tells the event's user something: the key of one of the manifest's texts."""

    CASE: ClassVar[str] = "Action_Tell"
    text: str


@dataclass(frozen=True)
class Begin:
    """Opens a flow of this plugin with this as its first step."""

    CASE: ClassVar[str] = "Action_Begin"
    step: Step


@dataclass(frozen=True)
class Reclaim:
    """Takes back what a budget granted for the event's payment, in proportion to what was refunded of it."""

    CASE: ClassVar[str] = "Action_Reclaim"
    budget: str


Action = Union[Put, Bonus, Tell, Begin, Reclaim]


@dataclass(frozen=True)
class Subject:
    """What the plugin remembers about one user, or about its scope (then without a name)."""

    name: str
    values: List[Named]


@dataclass(frozen=True)
class TableRequest:
    """One page of a table that is asked for."""

    table: str
    subjects: List[Subject]
    more: bool


@dataclass(frozen=True)
class TableRow:
    """One row, as many cells as the manifest names columns."""

    cells: List[Value]


def recall(remembered: List[Remembered], about: About, name: str) -> Optional[Value]:
    """The value that was put under this name, if there is one."""
    return next((known.value for known in remembered if known.about is about and known.name == name), None)
