"""What a fraud rule sees and says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import List

from .money import Money

_SCORE_MAX = 1000


class Verdict(Enum):
    """What shall be done with a payment."""

    ALLOW = "allow"
    STEP_UP = "step-up"
    REVIEW = "review"
    DECLINE = "decline"


@dataclass(frozen=True)
class Payment:
    """What is about to happen."""

    id: str
    kind: str
    amount: Money
    at: int


@dataclass(frozen=True)
class Signal:
    """A counter over a window; the payment in question is not in it."""

    name: str
    window_s: int
    count: int
    sum: Money


@dataclass(frozen=True)
class Reason:
    """One of the manifest's codes, and how much it weighed (0 to 1000)."""

    code: str
    weight: int


@dataclass
class Answer:
    """A verdict with a score of 0 to 1000 (a greater one counts as 1000)."""

    verdict: Verdict
    score: int
    reasons: List[Reason] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.score = min(self.score, _SCORE_MAX)

    @staticmethod
    def allow() -> Answer:
        """Nothing suspicious."""
        return Answer(Verdict.ALLOW, 0)

    @staticmethod
    def decline() -> Answer:
        """No, with the highest score."""
        return Answer(Verdict.DECLINE, _SCORE_MAX)

    def because(self, code: str, weight: int) -> Answer:
        """With a reason: one of the manifest's codes, and how much it weighed."""
        self.reasons.append(Reason(code, weight))
        return self
