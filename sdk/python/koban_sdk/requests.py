"""What flows begin with, and what partners send."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, List, Optional, Union

from .accounts import Account
from .flow import HttpAnswer, Link, Mandate, from_bytes
from .money import Money
from .values import Named


@dataclass(frozen=True)
class ChargeRequest:
    """What the user authorised: money comes into the wallet."""

    wallet: str
    amount: Optional[Money]
    at_most: Money
    link: Optional[Link]
    facts: List[Named]


@dataclass(frozen=True)
class WithdrawRequest:
    """What the user authorised: money goes out to its owner."""

    wallet: str
    amount: Money
    at_most: Money
    link: Optional[Link]
    facts: List[Named]


@dataclass(frozen=True)
class OutgoingFile:
    """A file that goes out to a partner, as `compose_file` is told."""

    file: str
    """Its name in the manifest."""
    called: str
    """What it is called in the partner's directory."""
    number: int
    """From 1, without gaps."""
    cut_off: int
    """The cut-off that it is for, in Unix milliseconds."""


@dataclass(frozen=True)
class LinkRequest:
    """The user wants an account at a partner to be known."""

    wallet: str
    kind: str
    link: Optional[Link]
    mandate: Optional[Mandate]
    facts: List[Named]


@dataclass(frozen=True)
class SyncRequest:
    """New rows for a live link."""

    wallet: str
    link: Link
    account: Account
    facts: List[Named]


class Source(Enum):
    """How a bill's code came in."""

    BAR_CODE = "bar-code"
    QR = "qr"
    TYPED = "typed"


@dataclass(frozen=True)
class BillCode:
    """A code, as it was scanned or typed."""

    source: Source
    content: str


@dataclass(frozen=True)
class Bill:
    """A bill as it was recognised: what the user is asked to agree to."""

    biller: str
    name: str
    reference: str
    amount: Money
    fee: Money
    due: Optional[int]
    fields: List[Named]


@dataclass(frozen=True)
class BillRequest:
    """What the user authorised: a bill is paid."""

    wallet: str
    code: BillCode
    bill: Bill
    at_most: Money
    link: Optional[Link]
    facts: List[Named]


@dataclass(frozen=True)
class PartnerCall:
    """A partner's call, with its signature verified and the headers taken off."""

    endpoint: str
    operation: str
    path: str
    query: List[Named]
    body: bytes

    def read(self) -> Any:
        """The body of a call that is JSON."""
        return from_bytes(self.body)


@dataclass(frozen=True)
class Deliver:
    """Give it to the flow that expects this correlation; `otherwise` is the answer if none ever did."""

    CASE: ClassVar[str] = "Routing_Deliver"
    correlation: str
    otherwise: HttpAnswer
    tombstone: Optional[str] = None


@dataclass(frozen=True)
class AnswerAtOnce:
    """Concerns no flow."""

    CASE: ClassVar[str] = "Routing_Answer"
    answer: HttpAnswer


class Beginning(Enum):
    """What a partner may begin."""

    CHARGE = "charge"
    WITHDRAW = "withdraw"


@dataclass(frozen=True)
class OfWallet:
    """The wallet's opaque name."""

    CASE: ClassVar[str] = "Owner_Wallet"
    wallet: str


@dataclass(frozen=True)
class OfLink:
    """The reference of a link that the user saved."""

    CASE: ClassVar[str] = "Owner_Link"
    reference: str


@dataclass(frozen=True)
class BeginFlow:
    """Give it to the flow that expects this correlation; if none ever did, begin one under the owner's mandate."""

    CASE: ClassVar[str] = "Routing_Begin"
    beginning: Beginning
    owner: Union[OfWallet, OfLink]
    amount: Money
    delivery: Deliver


Routing = Union[Deliver, AnswerAtOnce, BeginFlow]


class Side(Enum):
    """What a row of a partner's book is about."""

    CREDIT = "credit"
    REVERSAL = "reversal"
    CAPTURE = "capture"
    FEE = "fee"


@dataclass(frozen=True)
class SettlementLine:
    """One row of the partner's book."""

    reference: str
    side: Side
    amount: Money
    at: int
