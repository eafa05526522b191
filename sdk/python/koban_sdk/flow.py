"""Flows: the words of the contract, with helpers that build steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
import json
from typing import Any, ClassVar, List, Optional, Tuple, Union

from .failure import Failure, FailureRecord
from .money import Money
from .values import Named


class Standing(Enum):
    """Where a flow stands. The last three are final: no new credit, hold or capture, ever."""

    WAITING_FOR_USER = "waiting-for-user"
    WAITING_FOR_PARTNER = "waiting-for-partner"
    CHECKING = "checking"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    def is_final(self) -> bool:
        """Final means: no new credit, hold or capture, ever."""
        return self in (Standing.DONE, Standing.FAILED, Standing.CANCELLED)


def to_bytes(value: Any) -> bytes:
    """A value as the bytes of its JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def from_bytes(text: bytes) -> Any:
    """The value whose JSON these bytes are."""
    return json.loads(text.decode())


@dataclass(frozen=True)
class HttpAnswer:
    """An answer: a partner's to us, or ours to a partner."""

    status: int
    headers: List[Tuple[str, str]]
    body: bytes

    @staticmethod
    def json(status: int, body: Any) -> HttpAnswer:
        """An answer that is JSON."""
        return HttpAnswer(status, [("content-type", "application/json")], to_bytes(body))

    def read(self) -> Any:
        """The body of an answer that is JSON."""
        return from_bytes(self.body)


@dataclass(frozen=True)
class HttpCall:
    """A call to a partner, at one operation of one of the manifest's endpoints."""

    endpoint: str
    operation: str
    path: str = ""
    query: List[Named] = field(default_factory=list)
    body: bytes = b""

    @staticmethod
    def json(endpoint: str, operation: str, body: Any) -> HttpCall:
        """A call whose body is JSON."""
        return HttpCall(endpoint, operation, body=to_bytes(body))


class FieldKind(Enum):
    """What a form field takes."""

    TEXT = "text"
    DIGITS = "digits"
    KANA = "kana"
    AMOUNT = "amount"
    DATE = "date"
    CHOICE = "choice"
    SECRET = "secret"


@dataclass(frozen=True)
class Field:
    """One field of a form."""

    name: str
    label: str
    kind: FieldKind
    choices: List[str] = field(default_factory=list)
    required: bool = True
    max_length: int = 200


@dataclass(frozen=True)
class Mandate:
    """What the user agreed to once, for many flows."""

    each: Money
    month: Optional[Money]
    expires: int


@dataclass(frozen=True)
class Link:
    """What lasts between flows: an account at a partner, a mandate."""

    reference: str
    kind: str
    label: str
    data: bytes
    since: int
    expires: Optional[int]
    mandate: Optional[Mandate]


@dataclass(frozen=True)
class ShowText:
    """The key of one of the manifest's texts."""

    CASE: ClassVar[str] = "Show_Text"
    key: str


@dataclass(frozen=True)
class ShowCode:
    """Digits or letters to be read out or typed elsewhere."""

    CASE: ClassVar[str] = "Show_Code"
    code: str


@dataclass(frozen=True)
class ShowQr:
    """The content of a QR code."""

    CASE: ClassVar[str] = "Show_Qr"
    content: str


@dataclass(frozen=True)
class ShowLink:
    """A link to one of the manifest's endpoints."""

    CASE: ClassVar[str] = "Show_Link"
    link: str


@dataclass(frozen=True)
class ShowForm:
    """Questions; the answers come back as one form event."""

    CASE: ClassVar[str] = "Show_Form"
    fields: List[Field]


@dataclass(frozen=True)
class ShowConsent:
    """Sends the user to the OAuth server of this endpoint."""

    CASE: ClassVar[str] = "Show_Consent"
    endpoint: str


Show = Union[ShowText, ShowCode, ShowQr, ShowLink, ShowForm, ShowConsent]


@dataclass(frozen=True)
class Http:
    """Call a partner."""

    CASE: ClassVar[str] = "Act_Http"
    call: HttpCall


@dataclass(frozen=True)
class Display:
    """Show something to the user."""

    CASE: ClassVar[str] = "Act_Show"
    show: Show


@dataclass(frozen=True)
class Timer:
    """Wake the flow at this time."""

    CASE: ClassVar[str] = "Act_Timer"
    at: int


@dataclass(frozen=True)
class Expect:
    """Expect calls from outside that `route` gives this correlation."""

    CASE: ClassVar[str] = "Act_Expect"
    correlation: str


@dataclass(frozen=True)
class Enqueue:
    """One record of a partner file: file, correlation, record."""

    CASE: ClassVar[str] = "Act_Enqueue"
    parts: Tuple[str, str, bytes]


@dataclass(frozen=True)
class Cancel:
    """Take back what was asked for under this key."""

    CASE: ClassVar[str] = "Act_Cancel"
    key: str


@dataclass(frozen=True)
class SaveLink:
    """Save a link of the flow's user."""

    CASE: ClassVar[str] = "Act_SaveLink"
    reference: str
    kind: str
    label: str
    data: bytes
    expires: Optional[int] = None


@dataclass(frozen=True)
class DropLink:
    """Drop the link of the flow's user with this reference."""

    CASE: ClassVar[str] = "Act_DropLink"
    reference: str


Act = Union[Http, Display, Timer, Expect, Enqueue, Cancel, SaveLink, DropLink]


@dataclass(frozen=True)
class Effect:
    """One wish under a name of the plugin's own, unique in the flow."""

    key: str
    act: Act


@dataclass(frozen=True)
class Message:
    """A partner's call that concerns this flow, or a row of its file. Its signature has been verified."""

    CASE: ClassVar[str] = "What_Message"
    operation: str
    path: str
    query: List[Named]
    body: bytes

    def read(self) -> Any:
        """The body of a call that is JSON."""
        return from_bytes(self.body)


class Lost(Enum):
    """How an effect ended without an answer."""

    REFUSED = "refused"
    NOT_SENT = "not-sent"
    UNKNOWN = "unknown"
    BAD_SIGNATURE = "bad-signature"


@dataclass(frozen=True)
class Answered:
    """A partner answered."""

    CASE: ClassVar[str] = "What_Answer"
    answer: HttpAnswer


@dataclass(frozen=True)
class WasLost:
    """How it was lost, and the host's word about it for operators."""

    CASE: ClassVar[str] = "What_Lost"
    how: Tuple[Lost, str]


@dataclass(frozen=True)
class Rang:
    """A timer rang."""

    CASE: ClassVar[str] = "What_Rang"


@dataclass(frozen=True)
class Filled:
    """The user filled in a form."""

    CASE: ClassVar[str] = "What_Form"
    answers: List[Named]


@dataclass(frozen=True)
class Queued:
    """A file record was accepted."""

    CASE: ClassVar[str] = "What_Queued"


@dataclass(frozen=True)
class Sealed:
    """A file was sealed: its name."""

    CASE: ClassVar[str] = "What_Sealed"
    file: str


@dataclass(frozen=True)
class CancelAsked:
    """The user asks to cancel."""

    CASE: ClassVar[str] = "What_CancelAsked"


@dataclass(frozen=True)
class Agreed:
    """The user agreed at the partner."""

    CASE: ClassVar[str] = "What_Agreed"


What = Union[Answered, WasLost, Rang, Filled, Queued, Sealed, Message, CancelAsked, Agreed]


@dataclass(frozen=True)
class Event:
    """Something that came of an effect, or came in from outside."""

    number: int
    key: str
    what: What


@dataclass(frozen=True)
class Refusal:
    """The step given for this same event was refused by the ledger."""

    proposal: int
    outcome: str


@dataclass(frozen=True)
class Credit:
    """Money that the partner took in for the user."""

    CASE: ClassVar[str] = "Proposal_Credit"
    key: str
    amount: Money
    reference: str
    because: int
    """The number of the event it rests on."""
    arrived: bool = False


@dataclass(frozen=True)
class Hold:
    """Money of the user set aside for what follows."""

    CASE: ClassVar[str] = "Proposal_Hold"
    key: str
    amount: Money


@dataclass(frozen=True)
class Capture:
    """A hold, or a part of it, that the partner has taken."""

    CASE: ClassVar[str] = "Proposal_Capture"
    hold: str
    amount: Money
    reference: str
    because: int
    fee: Optional[Money] = None
    final: bool = True


@dataclass(frozen=True)
class Release:
    """Give back what is left of the hold with this key."""

    CASE: ClassVar[str] = "Proposal_Release"
    hold: str


@dataclass(frozen=True)
class Reversal:
    """A credit of this flow that the partner takes back."""

    CASE: ClassVar[str] = "Proposal_Reverse"
    of: str
    amount: Money
    reference: str
    because: int


@dataclass(frozen=True)
class Tombstone:
    """Kill the credit side of this reference for ever."""

    CASE: ClassVar[str] = "Proposal_Tombstone"
    reference: str


Proposal = Union[Credit, Hold, Capture, Release, Reversal, Tombstone]


@dataclass(frozen=True)
class StepRecord:
    """A step as the contract has it."""

    state: bytes
    standing: Standing
    effects: List[Effect]
    proposals: List[Proposal]
    reply: Optional[HttpAnswer]
    note: Optional[FailureRecord]


class Step:
    """One step of a flow, being built: new state (any value that JSON can say) and standing, then whatever follows from it."""

    def __init__(self, state: Any, standing: Standing) -> None:
        self.state = state
        self.standing = standing
        self.effects: List[Effect] = []
        self.proposals: List[Proposal] = []
        self._reply: Optional[HttpAnswer] = None
        self._note: Optional[Failure] = None

    def effect(self, key: str, act: Act) -> Step:
        """With an effect under a key of the plugin's own, unique in the flow."""
        self.effects.append(Effect(key, act))
        return self

    def http(self, key: str, call: HttpCall) -> Step:
        """Calls a partner."""
        return self.effect(key, Http(call))

    def show(self, key: str, show: Show) -> Step:
        """Shows the user something."""
        return self.effect(key, Display(show))

    def timer(self, key: str, at: int) -> Step:
        """Wakes the flow at this time, in Unix milliseconds."""
        return self.effect(key, Timer(at))

    def expect(self, key: str, correlation: str) -> Step:
        """Expects calls from outside that `route` gives this correlation."""
        return self.effect(key, Expect(correlation))

    def cancel(self, key: str, of: str) -> Step:
        """Takes back the timer, expectation or form that was asked for under `of`."""
        return self.effect(key, Cancel(of))

    def propose(self, proposal: Proposal) -> Step:
        """With a proposal about money."""
        self.proposals.append(proposal)
        return self

    def reply(self, answer: HttpAnswer) -> Step:
        """Replies to the partner whose call this event is."""
        self._reply = answer
        return self

    def note(self, failure: Failure) -> Step:
        """Says why."""
        self._note = failure
        return self

    def to_record(self) -> StepRecord:
        """As the contract has it, with the state as the bytes of its JSON."""
        note = self._note.to_record() if self._note else None
        return StepRecord(to_bytes(self.state), self.standing, self.effects, self.proposals, self._reply, note)
