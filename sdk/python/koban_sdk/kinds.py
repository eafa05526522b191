"""The kinds of plugins, and which method of a plugin answers which question of the contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, List, Optional, Tuple, TypeVar

from .accounts import Account, Document, Price, QuoteRequest, Rate
from .assess import Answer, Payment, Signal
from .events import Action, Remembered, ToolEvent
from .failure import Failure
from .flow import Event, Refusal, Step
from .requests import Bill, BillCode, BillRequest, ChargeRequest
from .values import Reader, Values

CONTRACT = "koban:plugin@0.1.0"
"""The contract that this SDK speaks: what a manifest writes as `contract`."""

QUESTIONS: List[Tuple[str, str, str]] = [
    ("machine", "resume", "resume"),
    ("charge", "begin", "begin_charge"),
    ("withdraw", "begin", "begin_withdraw"),
    ("link-account", "begin", "begin_link_account"),
    ("pay-bill", "recognise", "recognise"),
    ("pay-bill", "begin", "begin_pay_bill"),
    ("sync", "begin", "begin_sync"),
    ("inbound", "route", "route"),
    ("files", "compose", "compose_file"),
    ("files", "parse", "parse_file"),
    ("settlement", "parse", "parse_settlement"),
    ("migrate", "state", "migrate_state"),
    ("assess", "assess", "assess"),
    ("rates", "parse", "parse_rates"),
    ("quote", "quote", "quote"),
    ("statement", "compose", "compose_statement"),
    ("on-event", "on-event", "on_event"),
    ("table", "rows", "rows"),
]
"""Interface, function, and the plugin's method that answers it. A plugin exports an interface when it has all of that interface's methods."""

S = TypeVar("S")


@dataclass(frozen=True)
class Context:
    """All that a call may know about its surroundings: no other clock, no other randomness, no other identity."""

    call: str
    scope: str
    now: int
    seed: int
    locale: str


class Plugin(ABC, Generic[S]):
    """What every plugin has: settings as a type of its own, and a judgement of them."""

    KIND: ClassVar[str]

    def settings(self, read: Reader) -> Optional[S]:
        """Reads the settings."""
        return None

    def check_settings(self, settings: S) -> List[Failure]:
        """All that is wrong with settings that each are within the manifest's bounds."""
        return []


class FraudRule(Plugin[S]):
    """Judges payments."""

    KIND = "fraud-rule"

    @abstractmethod
    def assess(self, ctx: Context, settings: S, payment: Payment, facts: Values, signals: List[Signal]) -> Answer: ...


class MerchantTool(Plugin[S]):
    """Reacts to what happens at merchants. May have `rows`, and `resume` for flows that it begins."""

    KIND = "merchant-tool"

    @abstractmethod
    def on_event(self, ctx: Context, settings: S, event: ToolEvent, remembered: List[Remembered]) -> List[Action]: ...


class ChargeChannel(Plugin[S]):
    """Brings money into wallets. May have `route`, `parse_settlement`, `begin_withdraw`, `begin_link_account`, `compose_file` with `parse_file`."""

    KIND = "charge-channel"

    @abstractmethod
    def begin_charge(self, ctx: Context, settings: S, request: ChargeRequest) -> Step: ...

    @abstractmethod
    def resume(self, ctx: Context, settings: S, state: object, event: Event, refused: Optional[Refusal]) -> Step: ...


class BillPayer(Plugin[S]):
    """Pays bills. May have `route`, `parse_settlement`, `begin_link_account`."""

    KIND = "bill-payer"

    @abstractmethod
    def recognise(self, ctx: Context, settings: S, code: BillCode, facts: Values) -> Optional[Bill]: ...

    @abstractmethod
    def begin_pay_bill(self, ctx: Context, settings: S, request: BillRequest) -> Step: ...

    @abstractmethod
    def resume(self, ctx: Context, settings: S, state: object, event: Event, refused: Optional[Refusal]) -> Step: ...


class Exchange(Plugin[S]):
    """Prices exchanges of currencies."""

    KIND = "exchange"

    @abstractmethod
    def quote(self, ctx: Context, settings: S, request: QuoteRequest) -> Price: ...

    @abstractmethod
    def parse_rates(self, ctx: Context, settings: S, content: bytes) -> List[Rate]: ...


class BudgetLink(Plugin[S]):
    """Gives statements to other programs. May have `begin_sync` and `begin_link_account` with `resume`."""

    KIND = "budget-link"

    @abstractmethod
    def compose_statement(self, ctx: Context, settings: S, format: str, account: Account) -> Document: ...


def interfaces(plugin: Plugin) -> List[str]:
    """The interfaces that a plugin exports beside `plugin`, in the contract's spelling."""
    names = list(dict.fromkeys(name for name, _, _ in QUESTIONS))
    methods = {name: [method for of, _, method in QUESTIONS if of == name] for name in names}
    return [name for name in names if all(callable(getattr(plugin, method, None)) for method in methods[name])]
