"""Money as the contract has it: whole minor units with a currency, and arithmetic that says when it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

_MINOR_MAX = 2**63 - 1
_MINOR_MIN = -(2**63)


@dataclass(frozen=True)
class Money:
    """So many minor units of a currency: 1280 is 1,280 yen, or 12 dollars and 80 cents."""

    minor: int
    currency: str

    @staticmethod
    def yen(minor: int) -> Money:
        """So many yen."""
        return Money(minor, "JPY")

    def is_in(self, currency: str) -> bool:
        """Whether it is money of this currency."""
        return self.currency == currency

    def plus(self, other: Money) -> Optional[Money]:
        """The sum; None when the currencies differ or the sum is too great."""
        return self._with(other, self.minor + other.minor)

    def minus(self, other: Money) -> Optional[Money]:
        """The difference; None when the currencies differ or the difference is too great."""
        return self._with(other, self.minor - other.minor)

    def is_at_most(self, other: Money) -> bool:
        """Whether it is at most the other; False when the currencies differ."""
        return self.is_in(other.currency) and self.minor <= other.minor

    def _with(self, other: Money, minor: int) -> Optional[Money]:
        fits = _MINOR_MIN <= minor <= _MINOR_MAX
        return Money(minor, self.currency) if fits and self.is_in(other.currency) else None


@dataclass(frozen=True)
class Decimal:
    """mantissa * 10^-scale. There are no floats anywhere in the contract."""

    mantissa: int
    scale: int
