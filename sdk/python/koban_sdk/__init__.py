"""Plugins for Koban in Python: one class with a method for each question that the host may ask, unit tests in plain Python.

A plugin never does input or output. It is a class below `FraudRule`, `MerchantTool` and their like; the module that the manifest's folder names as
its plugin has one instance of it called `plugin`. There is no clock but `ctx.now`, no randomness but `ctx.seed`, and nothing remembered between
calls: each is a fresh start from the moment the component was built. What `random`, `time` and the order of a set would say was fixed there.
"""

from . import log, time
from .accounts import Account, AccountRow, Document, Price, QuoteRequest, Rate
from .assess import Answer, Payment, Reason, Signal, Verdict
from .events import About, Action, Begin, Bonus, Put, Reclaim, Remembered, Subject, TableRequest, TableRow, Tell, ToolEvent, recall
from .failure import SETTINGS_INVALID, Failure
from .flow import (
    Agreed,
    Answered,
    Cancel,
    CancelAsked,
    Capture,
    Credit,
    Display,
    DropLink,
    Effect,
    Enqueue,
    Event,
    Expect,
    Field,
    FieldKind,
    Filled,
    Hold,
    Http,
    HttpAnswer,
    HttpCall,
    Link,
    Lost,
    Mandate,
    Message,
    Queued,
    Rang,
    Refusal,
    Release,
    Reversal,
    SaveLink,
    Sealed,
    ShowCode,
    ShowConsent,
    ShowForm,
    ShowLink,
    ShowQr,
    ShowText,
    Standing,
    Step,
    Timer,
    Tombstone,
    WasLost,
)
from .kinds import CONTRACT, BillPayer, BudgetLink, ChargeChannel, Context, Exchange, FraudRule, MerchantTool, Plugin
from .money import Decimal, Money
from .requests import (
    AnswerAtOnce,
    BeginFlow,
    Beginning,
    Bill,
    BillCode,
    BillRequest,
    ChargeRequest,
    Deliver,
    LinkRequest,
    OfLink,
    OfWallet,
    OutgoingFile,
    PartnerCall,
    SettlementLine,
    Side,
    Source,
    SyncRequest,
    WithdrawRequest,
)
from .values import Moment, Named, Reader, Secret, Value, Values

__all__ = [name for name in dir() if not name.startswith("_")]
