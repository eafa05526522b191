"""The first payment to somebody new asks for a step-up when it is high."""

from typing import List, NamedTuple

from koban_sdk import Answer, Context, FraudRule, Money, Payment, Reader, Signal, Values, Verdict


class Settings(NamedTuple):
    """What an operator may set; plugin.toml says what each means and its bounds."""

    most: Money


class MyPlugin(FraudRule[Settings]):
    def settings(self, read: Reader) -> Settings:
        return Settings(most=read.one("most", Money))

    def assess(self, ctx: Context, settings: Settings, payment: Payment, facts: Values, signals: List[Signal]) -> Answer:
        is_first = facts.get("payee.first_time", bool) or False
        if is_first and not payment.amount.is_at_most(settings.most):
            return Answer(Verdict.STEP_UP, 500).because("first_payment_high", 500)
        return Answer.allow()


plugin = MyPlugin()
