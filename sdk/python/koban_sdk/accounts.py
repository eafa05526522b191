"""Rows of a wallet, for statements and live links; rates and prices of an exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional

from .money import Decimal, Money
from .values import Named


@dataclass(frozen=True)
class AccountRow:
    """One line of a statement."""

    id: str
    at: int
    kind: str
    amount: Money
    balance: int
    counterpart: str
    memo: str
    refers_to: Optional[str]


@dataclass(frozen=True)
class Account:
    """The rows of one account in one currency over a period, oldest first."""

    name: str
    currency: str
    since: int
    until: int
    opening: int
    closing: int
    rows: List[AccountRow]


@dataclass(frozen=True)
class Document:
    """A file to be given to the user."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Rate:
    """What one unit of a currency is worth in another."""

    base: str
    quote: str
    mid: Decimal
    at: int


@dataclass(frozen=True)
class QuoteRequest:
    """What a user asks the price of."""

    sell: str
    buy: str
    amount: Money
    rates: List[Rate]
    facts: List[Named]


@dataclass(frozen=True)
class Price:
    """A price: what one unit of the base costs who buys it, or brings who sells it."""

    base: str
    quote: str
    rate: Decimal
    mid: Decimal
    fixed: int
    expires: int
