"""From a plugin's instance to the exports of a component: values of the generated bindings become the SDK's, and the other way about.

Only a component's entry imports this module: the bindings exist nowhere else. How a value is converted follows from the bindings' own type hints and
is worked out once, when the component is built.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
import importlib
import sys
import traceback
from typing import Any, Callable, Dict, List, Tuple, Union, get_args, get_origin, get_type_hints

from . import accounts, assess, events, flow, kinds, log, requests
from .asking import asked, checked_settings
from .failure import Failure, FailureRecord
from .money import Decimal, Money
from .values import Moment, Named, Secret

Convert = Callable[[Any], Any]

# Where the SDK's name differs from the contract's, because two interfaces use the same: module of the bindings, name there.
_OTHER_NAMES: Dict[Tuple[str, str], type] = {
    ("on_event", "Event"): events.ToolEvent,
    ("table", "Request"): events.TableRequest,
    ("table", "Row"): events.TableRow,
    ("charge", "Request"): requests.ChargeRequest,
    ("withdraw", "Request"): requests.WithdrawRequest,
    ("link_account", "Request"): requests.LinkRequest,
    ("pay_bill", "Request"): requests.BillRequest,
    ("pay_bill", "Code"): requests.BillCode,
    ("sync", "Request"): requests.SyncRequest,
    ("quote", "Request"): accounts.QuoteRequest,
    ("accounts", "Row"): accounts.AccountRow,
    ("inbound", "Call"): requests.PartnerCall,
    ("files", "Outgoing"): requests.OutgoingFile,
    ("settlement", "Line"): requests.SettlementLine,
    ("types", "Failure"): FailureRecord,
    ("types", "Named"): Named,
    ("types", "Money"): Money,
    ("types", "Decimal"): Decimal,
}
_MODULES = (kinds, assess, events, flow, requests, accounts)

# The SDK's class of each case of a variant.
_CASES: Dict[str, type] = {
    item.CASE: item for module in (events, flow, requests) for item in vars(module).values() if hasattr(item, "CASE")
}

# Values are plain in Python: which case is which type, the narrower types first.
_VALUES: List[Tuple[type, str]] = [
    (bool, "Value_Flag"),
    (Moment, "Value_Moment"),
    (Secret, "Value_Secret"),
    (int, "Value_Whole"),
    (str, "Value_Text"),
    (Money, "Value_Amount"),
    (Decimal, "Value_Rate"),
]


def _ours(binding: type) -> type:
    module, name = binding.__module__.rsplit(".", 1)[-1], binding.__name__
    if (module, name) in _OTHER_NAMES:
        return _OTHER_NAMES[module, name]
    for place in _MODULES:
        if isinstance(vars(place).get(name), type):
            return vars(place)[name]
    raise TypeError(f"the SDK has no class for {module}.{name} of the contract")


def _signature(function: Any, module: Any) -> Dict[str, Any]:
    """The type hints of a method of the bindings. As texts first: inside its class, the name of a method hides the module of the same name."""
    annotations = importlib.import_module("annotationlib")
    texts = annotations.get_annotations(function, format=annotations.Format.STRING)
    return {name: eval(text, vars(module)) for name, text in texts.items()}


def _same(value: Any) -> Any:
    return value


def _hints(binding: type) -> Dict[str, Any]:
    return get_type_hints(binding, vars(sys.modules[binding.__module__]))


class _Converter:
    """Conversions in one direction, one for each type hint of the bindings."""

    def __init__(self) -> None:
        self._known: Dict[Any, Convert] = {}

    def of(self, hint: Any) -> Convert:
        """The conversion of values of this type."""
        if hint not in self._known:
            # A type that holds itself finds this while it is being made.
            self._known[hint] = lambda value: self._known[hint](value)
            self._known[hint] = self._make(hint)
        return self._known[hint]

    def _make(self, hint: Any) -> Convert:
        origin, parts = get_origin(hint), get_args(hint)
        if origin is list:
            item = self.of(parts[0])
            return lambda values: [item(value) for value in values]
        if origin is tuple:
            items = [self.of(part) for part in parts]
            return lambda values: tuple(item(value) for item, value in zip(items, values))
        if origin is Union:
            cases = tuple(part for part in parts if part is not type(None))
            inner = self.of(cases[0]) if len(cases) == 1 and "_" not in cases[0].__name__ else self.variant(cases)
            if len(cases) == len(parts):
                return inner
            return lambda value: None if value is None else inner(value)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return self.enum(hint)
        if isinstance(hint, type) and is_dataclass(hint):
            # A variant with one case only is no union.
            return self.variant((hint,)) if hint.__name__ in _CASES else self.record(hint)
        return _same

    def enum(self, hint: Any) -> Convert:
        raise NotImplementedError

    def record(self, hint: Any) -> Convert:
        raise NotImplementedError

    def variant(self, cases: Tuple[Any, ...]) -> Convert:
        raise NotImplementedError


class _Lift(_Converter):
    """From the bindings to the SDK."""

    def enum(self, hint: Any) -> Convert:
        ours: Any = _ours(hint)
        return lambda value: ours[value.name]

    def record(self, hint: Any) -> Convert:
        ours, parts = _ours(hint), [(name, self.of(part)) for name, part in _hints(hint).items()]
        return lambda value: ours(**{name: part(getattr(value, name)) for name, part in parts})

    def variant(self, cases: Tuple[Any, ...]) -> Convert:
        by_case = {case: self._case(case) for case in cases}
        return lambda value: by_case[type(value)](value)

    def _case(self, case: Any) -> Convert:
        payload = _hints(case).get("value")
        inner = _same if payload is None else self.of(payload)
        if case.__name__.startswith("Value_"):
            made: Any = {"Value_Moment": Moment, "Value_Secret": Secret}.get(case.__name__, _same)
            return lambda value: made(inner(value.value))
        ours: Any = _CASES[case.__name__]
        if payload is None:
            return lambda value: ours()
        if _is_inline(ours, payload):
            names = [(name, self.of(part)) for name, part in _hints(payload).items()]
            return lambda value: ours(**{name: part(getattr(value.value, name)) for name, part in names})
        return lambda value: ours(inner(value.value))


class _Lower(_Converter):
    """From the SDK to the bindings."""

    def enum(self, hint: Any) -> Convert:
        return lambda value: hint[value.name]

    def record(self, hint: Any) -> Convert:
        parts = [(name, self.of(part)) for name, part in _hints(hint).items()]

        def lower(value: Any) -> Any:
            value = value.to_record() if hasattr(value, "to_record") else value
            return hint(**{name: part(getattr(value, name)) for name, part in parts})

        return lower

    def variant(self, cases: Tuple[Any, ...]) -> Convert:
        by_name = {case.__name__: self._case(case) for case in cases}
        if "Value_Text" in by_name:
            return lambda value: by_name[_value_case(value)](value)
        return lambda value: by_name[value.CASE](value)

    def _case(self, case: Any) -> Convert:
        payload = _hints(case).get("value")
        if payload is None:
            return lambda value: case()
        inner = self.of(payload)
        if case.__name__.startswith("Value_") or _is_inline(_CASES[case.__name__], payload):
            return lambda value: case(inner(value))
        (name,) = (field.name for field in fields(_CASES[case.__name__]))
        return lambda value: case(inner(getattr(value, name)))


def _is_inline(ours: type, payload: Any) -> bool:
    """Whether the SDK's class of a case has the fields of the record that the case carries."""
    return is_dataclass(payload) and {field.name for field in fields(ours)} == {field.name for field in fields(payload)}


def _value_case(value: Any) -> str:
    for kind, case in _VALUES:
        if isinstance(value, kind):
            return case
    raise TypeError(f"{type(value).__name__} is no type of value: use str, int, bool, Money, Decimal, Moment or Secret")


def _guarded(run: Callable[..., Any], err: Any, failed: Convert) -> Callable[..., Any]:
    """A failure goes back as a value; everything else is a bug, whose text the host finds in the log before the trap."""

    def ask(*given: Any) -> Any:
        try:
            return run(*given)
        except _Failures as failures:
            raise err([failed(failure) for failure in failures.all]) from None
        except Failure as failure:
            raise err(failed(failure)) from None
        except Exception as problem:
            last = traceback.extract_tb(problem.__traceback__)[-1]
            log.error(f"panicked at {last.filename.rsplit('/', 1)[-1]}:{last.lineno}: {type(problem).__name__}: {problem}")
            raise

    return ask


class _Failures(Exception):
    def __init__(self, failures: List[Failure]) -> None:
        super().__init__()
        self.all = failures


def exported(plugin: kinds.Plugin, id: str, version: str) -> Dict[str, type]:
    """The classes that the component's module must have, by their name there."""
    bindings = importlib.import_module("wit_world.exports")
    err = importlib.import_module("componentize_py_types").Err
    types: Any = importlib.import_module("wit_world.imports.types")
    host = importlib.import_module("wit_world.imports.log")
    log.connect(lambda level, message: host.write(host.Level[level.upper()], message))
    lift, lower = _Lift(), _Lower()
    failed, named = lower.of(types.Failure), lift.of(types.Named)
    description = importlib.import_module("wit_world.exports.plugin").Description

    def check(settings: Any) -> None:
        failures = checked_settings(plugin, [named(setting) for setting in settings])
        if failures:
            raise _Failures(failures)

    guard = lambda run: _guarded(run, err, failed)  # noqa: E731
    classes = {
        "Plugin": {
            "describe": lambda self: description(id, version, kinds.CONTRACT),
            "check_settings": _method(guard(check)),
        }
    }
    for interface in kinds.interfaces(plugin):
        name = "".join(word.capitalize() for word in interface.split("-"))
        methods = {}
        for of, function, method in kinds.QUESTIONS:
            if of == interface:
                function = function.replace("-", "_")
                hints = _signature(getattr(getattr(bindings, name), function), bindings)
                methods[function] = _method(guard(_question(plugin, method, hints, lift, lower)))
        classes[name] = methods
    return {name: type(name, (getattr(bindings, name),), methods) for name, methods in classes.items()}


def _method(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *given: run(*given)


def _question(plugin: kinds.Plugin, method: str, hints: Dict[str, Any], lift: _Lift, lower: _Lower) -> Callable[..., Any]:
    answer = lower.of(hints.pop("return"))
    arguments = [lift.of(hint) for hint in hints.values()]
    return lambda *given: answer(asked(plugin, method, *(argument(value) for argument, value in zip(arguments, given))))
