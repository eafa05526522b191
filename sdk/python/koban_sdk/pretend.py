"""A host for unit tests: it asks a plugin as the real one does, and holds it to the host's rules. It needs no Koban."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
import json
import re
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from .asking import asked, checked_settings
from .assess import Answer, Payment, Signal
from .events import About, Action, Begin, Bonus, Put, Reclaim, Remembered, Subject, TableRequest, TableRow, Tell, ToolEvent
from .failure import Failure
from .flow import (
    Act,
    Answered,
    Cancel,
    CancelAsked,
    Credit,
    Display,
    DropLink,
    Effect,
    Event,
    Expect,
    Filled,
    HttpAnswer,
    Lost,
    Message,
    Proposal,
    Rang,
    Refusal,
    Reversal,
    SaveLink,
    ShowConsent,
    ShowForm,
    Standing,
    Step,
    StepRecord,
    Timer,
    Tombstone,
    WasLost,
    What,
    to_bytes,
)
from .kinds import Context, Plugin
from .money import Money
from .requests import ChargeRequest, Deliver, PartnerCall, Routing
from .values import Named, Value

_STATE_MAX_BYTES = 64 * 1024
_OPEN_EFFECTS_MAX = 16
_STEP_MAX = 16
_ACTIONS_MAX = 16
_PUT_BYTES_MAX = 2_000


def context(now: int, **more: Any) -> Context:
    """A context at this time, in Unix milliseconds."""
    return replace(Context("pretend", "platform", now, 7, "ja"), **more)


def _rule(holds: bool, broken: str) -> None:
    if not holds:
        raise AssertionError(broken)


def _pure(ask: Callable[[], Any]) -> Any:
    """The same call twice must answer the same."""
    once, again = ask(), ask()
    _rule(once == again, "the same call gives two different answers")
    return once


def check_settings(plugin: Plugin, settings: List[Named]) -> List[Failure]:
    """Everything that is wrong with these settings."""
    return checked_settings(plugin, deepcopy(settings))


def assess(
    plugin: Plugin,
    *,
    now: int,
    amount: Money,
    settings: Optional[List[Named]] = None,
    facts: Optional[List[Named]] = None,
    signals: Optional[List[Signal]] = None,
    kind: str = "payment",
) -> Answer:
    """Asks a fraud rule about a payment."""
    payment = Payment("pay_pretend", kind, amount, now)
    given = (settings or [], payment, facts or [], signals or [])
    answer: Answer = _pure(lambda: asked(plugin, "assess", context(now), *deepcopy(given)))
    _rule(0 <= answer.score <= 1000, f"a score of {answer.score}")
    _rule(len(answer.reasons) <= 50, f"{len(answer.reasons)} reasons")
    for reason in answer.reasons:
        _rule(0 <= reason.weight <= 1000, f"a weight of {reason.weight}")
    return answer


class Tool:
    """One scope with its users, as a merchant tool remembers them."""

    def __init__(self, plugin: Plugin, settings: Optional[List[Named]] = None, scope: str = "platform") -> None:
        self._plugin = plugin
        self._settings = settings or []
        self._scope = scope
        self._values: Dict[Optional[str], Dict[str, Put]] = {None: {}}
        self._events = 0
        self.granted: List[Tuple[str, str, int]] = []
        """Every bonus that was granted: user, budget, minor units."""
        self.reclaimed: List[str] = []
        """The budget of every reclaim, one for each event."""
        self.told: List[Tuple[str, str]] = []
        """Every text that was told: user and key."""

    def happens(
        self,
        kind: str,
        *,
        now: int,
        user: Optional[str] = None,
        merchant: Optional[str] = None,
        amount: Optional[Money] = None,
        facts: Optional[List[Named]] = None,
    ) -> List[Action]:
        """Something happens; the actions that follow are taken and given back."""
        self._events += 1
        event = ToolEvent(f"evt_{self._events}", kind, now, amount, user, merchant, facts or [])
        known = [*(self._known(user, now) if user is not None else []), *self._known(None, now)]
        given = (self._settings, event, known)
        actions: List[Action] = _pure(lambda: asked(self._plugin, "on_event", context(now, scope=self._scope), *deepcopy(given)))
        _rule(len(actions) <= _ACTIONS_MAX, f"{len(actions)} actions")
        for action in actions:
            self._take(action, kind, user)
        return actions

    def remembers(self, name: str, user: Optional[str] = None) -> Optional[Value]:
        """What is remembered about a user, or about the scope when no user is named."""
        put = self._values.get(user, {}).get(name)
        return put.value if put else None

    def table(self, name: str, *, now: int) -> List[TableRow]:
        """The rows of a table over everything that is remembered."""
        users = sorted(user for user in self._values if user is not None)
        subjects = [
            Subject(user or "", [Named(put.name, put.value) for put in self._lasting(user, now) if put.value is not None])
            for user in [None, *users]
        ]
        request = TableRequest(name, subjects, False)
        return _pure(lambda: asked(self._plugin, "rows", context(now, scope=self._scope), *deepcopy((self._settings, request))))

    def _lasting(self, user: Optional[str], now: int) -> List[Put]:
        values = self._values.get(user, {})
        return [values[name] for name in sorted(values) if (values[name].expires or now + 1) > now]

    def _known(self, user: Optional[str], now: int) -> List[Remembered]:
        about = About.SCOPE if user is None else About.USER
        return [Remembered(about, put.name, put.value) for put in self._lasting(user, now) if put.value is not None]

    def _take(self, action: Action, kind: str, user: Optional[str]) -> None:
        about_scope = isinstance(action, (Begin, Reclaim)) or (isinstance(action, Put) and action.about is About.SCOPE)
        _rule(user is not None or about_scope, f"{action} needs a user, and the event has none")
        if isinstance(action, Put):
            _rule(re.fullmatch(r"[a-z0-9_-]{1,40}", action.name) is not None, f"`{action.name}` cannot be a name")
            _rule(len(str(action.value)) <= _PUT_BYTES_MAX, f"the value of `{action.name}` is too large")
            values = self._values.setdefault(None if action.about is About.SCOPE else user, {})
            if action.value is None:
                values.pop(action.name, None)
            else:
                values[action.name] = action
            _rule(len(values) <= (200 if action.about is About.SCOPE else 20), "more names than are kept")
        elif isinstance(action, Bonus):
            _rule(action.amount.minor > 0, f"a bonus of {action.amount.minor}")
            _rule(not kind.startswith("bonus."), "a bonus for a bonus, which would go on until the budget is gone")
            self.granted.append((user or "", action.budget, action.amount.minor))
        elif isinstance(action, Tell):
            self.told.append((user or "", action.text))
        elif isinstance(action, Reclaim):
            self.reclaimed.append(action.budget)
        else:
            _rule(not action.step.proposals, "a flow that an event begins proposes nothing")


def request(at_most: Money, facts: Optional[List[Named]] = None) -> ChargeRequest:
    """What the user authorised: so much at most, with these facts."""
    return ChargeRequest("wallet", None, at_most, None, facts or [])


class _Credited:
    def __init__(self, credit: Credit) -> None:
        self.credit = credit
        self.reversed = 0


class Flow:
    """A charge flow of one plugin in a pretend host."""

    def __init__(self, plugin: Plugin, *, now: int, request: ChargeRequest, settings: Optional[List[Named]] = None) -> None:
        """Begins it; `begun` is its first step."""
        self._plugin = plugin
        self._settings = settings or []
        self._now = now
        self._at_most = request.at_most
        self._events = 0
        self._state = b""
        self._asked: Dict[str, Act] = {}
        self._open: Set[str] = set()
        self._credits: Dict[str, _Credited] = {}
        self._tombstones: Set[str] = set()
        self._refuse: Optional[str] = None
        self.standing: Optional[Standing] = None
        self.begun = self._take(self._ask("begin_charge", request), None)

    @property
    def credited_minor(self) -> int:
        """What the wallet got from this flow, after reversals, in minor units."""
        return sum(row.credit.amount.minor - row.reversed for row in self._credits.values())

    def is_dead(self, reference: str) -> bool:
        """Whether the credit side of this reference is dead."""
        return reference in self._tombstones

    def wait_ms(self, milliseconds: int) -> None:
        """Lets time pass."""
        self._now += milliseconds

    def refuse_next(self, outcome: str) -> None:
        """Makes the ledger refuse the first proposal of the next step that has one, with this outcome."""
        self._refuse = outcome

    def answer(self, key: str, status: int, body: Any) -> StepRecord:
        """A partner answers with JSON."""
        self._end(key)
        return self.resume(key, Answered(HttpAnswer.json(status, body)))

    def lost(self, key: str, how: Lost) -> StepRecord:
        """No answer came."""
        self._end(key)
        return self.resume(key, WasLost((how, "pretended")))

    def ring(self, key: str) -> StepRecord:
        """A timer rings; time is moved on to it."""
        act = self._asked.get(key)
        if not isinstance(act, Timer):
            raise AssertionError(f"`{key}` is no timer of the flow but {act}")
        self._now = max(self._now, act.at)
        self._end(key)
        return self.resume(key, Rang())

    def form(self, key: str, answers: Dict[str, Value]) -> StepRecord:
        """The user fills in a form."""
        act = self._asked.get(key)
        _rule(isinstance(act, Display) and isinstance(act.show, ShowForm), f"`{key}` is no form of the flow")
        self._end(key)
        return self.resume(key, Filled([Named(name, value) for name, value in answers.items()]))

    def ask_to_cancel(self) -> StepRecord:
        """The user asks to cancel."""
        return self.resume("", CancelAsked())

    def partner_calls(self, operation: str, body: Any) -> StepRecord:
        """A partner calls: the plugin routes the call, and this flow gets it if it ever expected the correlation."""
        routing = route(self._plugin, now=self._now, settings=self._settings, operation=operation, body=body)
        if not isinstance(routing, Deliver):
            raise AssertionError(f"the plugin answered by itself: {routing}")
        expected = Expect(routing.correlation)
        key = next((key for key, act in self._asked.items() if act == expected), None)
        if key is None:
            raise AssertionError(f"the flow never expected `{routing.correlation}`")
        return self.resume(key, Message(operation, "", [], to_bytes(body)))

    def resume(self, key: str, what: What) -> StepRecord:
        """An event as it is."""
        event = Event(self._events + 1, key, what)
        step = self._ask("resume", self._state, event, None)
        if self._refuse is not None and step.proposals:
            # Nothing of the refused step is taken: the same state and event again, with the refusal beside them.
            again = self._ask("resume", self._state, event, Refusal(0, self._refuse))
            self._refuse = None
            repeated = any(proposal in step.proposals for proposal in again.proposals)
            _rule(not repeated, "what was refused is proposed again: the flow would be stuck")
            step = again
        self._events = event.number
        return self._take(step, event)

    def _ask(self, method: str, *given: Any) -> StepRecord:
        def ask() -> StepRecord:
            step: Step = asked(self._plugin, method, context(self._now), *deepcopy((self._settings, *given)))
            return step.to_record()

        return _pure(ask)

    def _end(self, key: str) -> None:
        _rule(key in self._open, f"no effect `{key}` is open; open are {', '.join(sorted(self._open))}")
        self._open.remove(key)

    def _take(self, step: StepRecord, because: Optional[Event]) -> StepRecord:
        """Takes a step as the real host would, or raises the rule that it breaks."""
        _rule(len(step.state) <= _STATE_MAX_BYTES, f"the state has {len(step.state)} bytes")
        _rule(len(step.proposals) <= _STEP_MAX, f"a step with {len(step.proposals)} proposals")
        _rule(len(step.effects) <= _STEP_MAX, f"a step with {len(step.effects)} effects")
        for proposal in step.proposals:
            self._post(proposal, because)
        for effect in step.effects:
            self._wish(effect)
        _rule(len(self._open) <= _OPEN_EFFECTS_MAX, f"{len(self._open)} effects are open")
        if self.standing is not None and self.standing.is_final():
            _rule(not step.effects, "a final flow asks for effects")
            _rule(step.standing is self.standing, "a final flow changes its standing")
        if step.standing.is_final():
            self._open = {key for key in self._open if isinstance(self._asked[key], Expect)}
        self._state = step.state
        self.standing = step.standing
        return step

    def _wish(self, effect: Effect) -> None:
        before, act = self._asked.get(effect.key), effect.act
        if before is not None:
            _rule(before == act, f"the key `{effect.key}` stands for two things")
            return
        self._asked[effect.key] = act
        if isinstance(act, Cancel):
            _rule(act.key in self._asked, f"`{effect.key}` takes back `{act.key}`, which was never asked")
            self._open.discard(act.key)
        elif isinstance(act, Display):
            # What is only shown costs nobody anything.
            if isinstance(act.show, (ShowForm, ShowConsent)):
                self._open.add(effect.key)
        elif not isinstance(act, (SaveLink, DropLink)):
            self._open.add(effect.key)

    def _post(self, proposal: Proposal, because: Optional[Event]) -> None:
        if isinstance(proposal, Credit):
            _rule(self.standing is None or not self.standing.is_final(), "a final flow proposes a credit")
            _rests_on(proposal.because, because)
            _rule(proposal.amount.minor > 0, f"a credit of {proposal.amount.minor}")
            gross = sum(row.credit.amount.minor for row in self._credits.values()) + proposal.amount.minor
            within = Money(gross, proposal.amount.currency).is_at_most(self._at_most)
            _rule(within, "a credit beyond the authorisation")
            _rule(proposal.reference not in self._tombstones, "a credit with a dead reference")
            used = any(row.credit.reference == proposal.reference for row in self._credits.values())
            _rule(not used, f"the reference `{proposal.reference}` is credited twice")
            _rule(proposal.key not in self._credits, f"the key `{proposal.key}` is credited twice")
            self._credits[proposal.key] = _Credited(proposal)
        elif isinstance(proposal, Reversal):
            _rests_on(proposal.because, because)
            row = self._credits.get(proposal.of)
            if row is None:
                raise AssertionError(f"`{proposal.of}` was never credited")
            _rule(row.credit.amount.is_in(proposal.amount.currency), "a reversal in another currency")
            row.reversed += proposal.amount.minor
            _rule(row.reversed <= row.credit.amount.minor, "more is reversed than was credited")
        elif isinstance(proposal, Tombstone):
            self._tombstones.add(proposal.reference)
        else:
            _rule(False, f"a charge may never propose {proposal}")


def route(
    plugin: Plugin, *, now: int, operation: str, body: Any, settings: Optional[List[Named]] = None, endpoint: str = "network"
) -> Routing:
    """Where the plugin would send this call."""
    call = PartnerCall(endpoint, operation, "", [], json.dumps(body).encode())
    return _pure(lambda: asked(plugin, "route", context(now), *deepcopy((settings or [], call))))


def _rests_on(number: int, event: Optional[Event]) -> None:
    if event is None:
        raise AssertionError("a beginning rests on no event, so it cannot propose this")
    _rule(number == event.number, "a proposal that rests on another event")
    _rule(isinstance(event.what, (Answered, Message)), "a proposal that rests on something that no partner said")
