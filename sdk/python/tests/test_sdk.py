"""What the SDK promises to plugins and what it refuses from them."""

import unittest

from koban_sdk import (
    About,
    Answer,
    Bonus,
    ChargeChannel,
    Credit,
    Deliver,
    Failure,
    FraudRule,
    HttpAnswer,
    MerchantTool,
    Moment,
    Money,
    Named,
    Put,
    Rang,
    Reclaim,
    ShowCode,
    Standing,
    Step,
    Tell,
    pretend,
    recall,
    time,
)
from koban_sdk.kinds import interfaces

NOON = 1_775_012_400_000


class Settings(FraudRule):
    def settings(self, read):
        return (read.one("hours", int), read.one("most", Money), read.list("denied", str), read.maybe("more", bool))

    def assess(self, ctx, settings, payment, facts, signals):
        return Answer.allow().because(str(facts.get("payee.first_time", bool)), 0)


class Channel(ChargeChannel):
    """A channel whose partner calls once with the money."""

    def begin_charge(self, ctx, settings, request):
        step = Step({"most": request.at_most.minor}, Standing.WAITING_FOR_PARTNER)
        return step.show("show", ShowCode("42")).expect("paid", "42").timer("late", ctx.now + 60_000)

    def resume(self, ctx, settings, state, event, refused):
        if isinstance(event.what, Rang):
            return Step(state, Standing.FAILED).note(Failure("too_late", "nobody came"))
        if refused:
            return Step(state, Standing.FAILED).reply(HttpAnswer.json(409, {"why": refused.outcome}))
        paid = event.what.read()
        credit = Credit("deposit", Money.yen(paid["yen"]), paid["id"], event.number)
        return Step(state, Standing.DONE).propose(credit).reply(HttpAnswer.json(200, {}))

    def route(self, ctx, settings, call):
        return Deliver(call.read()["code"], HttpAnswer.json(404, {}))


class Gift(MerchantTool):
    def on_event(self, ctx, settings, event, remembered):
        seen = recall(remembered, About.USER, "seen") or 0
        return [Put(About.USER, "seen", seen + 1), Bonus("gift", Money.yen(5), "thanks"), Tell("hello")][: seen + 1]


class Sdk(unittest.TestCase):
    def test_money_of_two_currencies_has_no_sum_and_no_order(self):
        self.assertEqual(Money.yen(1).plus(Money.yen(2)), Money.yen(3))
        self.assertIsNone(Money.yen(1).plus(Money(2, "USD")))
        self.assertEqual(Money.yen(1).minus(Money.yen(3)), Money.yen(-2))
        self.assertTrue(Money.yen(1).is_at_most(Money.yen(1)))
        self.assertFalse(Money.yen(1).is_at_most(Money(2, "USD")))
        self.assertIsNone(Money.yen(2**63 - 1).plus(Money.yen(1)))

    def test_all_that_is_wrong_with_settings_is_said_at_once_and_by_name(self):
        failures = pretend.check_settings(Settings(), [Named("hours", "three"), Named("denied", 4)])
        self.assertEqual(
            [failure.message for failure in failures],
            [
                "setting `hours` should be a whole number",
                "setting `most` is missing; it should be an amount",
                "setting `denied` should be a list of text",
            ],
        )
        self.assertTrue(all(failure.code == "settings_invalid" for failure in failures))

    def test_a_fact_of_another_type_is_no_fact(self):
        settings = [Named("hours", 1), Named("most", Money.yen(1))]

        def said(value):
            answer = pretend.assess(Settings(), now=0, amount=Money.yen(1), settings=settings, facts=[Named("payee.first_time", value)])
            return answer.reasons[0].code

        self.assertEqual([said("yes"), said(True), said(Moment(1)), said(1)], ["None", "True", "None", "None"])

    def test_a_plugin_exports_the_interfaces_whose_methods_it_has(self):
        self.assertEqual(interfaces(Settings()), ["assess"])
        self.assertEqual(interfaces(Channel()), ["machine", "charge", "inbound"])
        self.assertEqual(interfaces(Gift()), ["on-event"])

    def test_times_of_rfc_3339_become_milliseconds_and_nothing_else_does(self):
        for text, expected in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-04-01T09:30:00+09:00", 1_775_003_400_000),
            ("2026-03-31T19:30:00.123456-05:00", 1_775_003_400_123),
        ]:
            self.assertEqual(time.parse_rfc3339(text), expected, text)
        for text in ["", "2026-04-01", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-04-01T24:00:00Z", "1969-12-31T23:59:59Z"]:
            self.assertIsNone(time.parse_rfc3339(text), text)
        self.assertEqual([time.jst_hour(0), time.jst_hour(15 * 3_600_000), time.jst_day(NOON)], [9, 0, "2026-04-01"])
        self.assertEqual(time.next_jst_midnight(NOON) - NOON, 12 * 3_600_000)

    def test_a_flow_is_played_from_its_beginning_to_its_credit(self):
        flow = pretend.Flow(Channel(), now=NOON, request=pretend.request(Money.yen(1_000)))
        self.assertEqual([effect.key for effect in flow.begun.effects], ["show", "paid", "late"])
        taken = flow.partner_calls("paid", {"code": "42", "yen": 700, "id": "r-1"})
        self.assertEqual((taken.standing, taken.reply.status, flow.credited_minor), (Standing.DONE, 200, 700))
        late = pretend.Flow(Channel(), now=NOON, request=pretend.request(Money.yen(1_000)))
        self.assertEqual(late.ring("late").note.code, "too_late")

    def test_a_flow_that_breaks_the_hosts_rules_is_told_which(self):
        def begin():
            return pretend.Flow(Channel(), now=NOON, request=pretend.request(Money.yen(1_000)))

        with self.assertRaisesRegex(AssertionError, "beyond the authorisation"):
            begin().partner_calls("paid", {"code": "42", "yen": 1_001, "id": "r-1"})
        with self.assertRaisesRegex(AssertionError, "never expected `43`"):
            begin().partner_calls("paid", {"code": "43", "yen": 1, "id": "r-1"})
        refused = begin()
        refused.refuse_next("exposure_cap_reached")
        self.assertEqual(refused.partner_calls("paid", {"code": "42", "yen": 1, "id": "r-1"}).reply.status, 409)
        self.assertEqual(refused.credited_minor, 0)

    def test_a_tool_remembers_grants_and_tells(self):
        shop = pretend.Tool(Gift())
        for _ in range(3):
            shop.happens("payment.paid", now=NOON, user="u-1", amount=Money.yen(100))
        self.assertEqual(shop.remembers("seen", "u-1"), 3)
        self.assertEqual(shop.granted, [("u-1", "gift", 5), ("u-1", "gift", 5)])
        self.assertEqual(shop.told, [("u-1", "hello")])
        with self.assertRaisesRegex(AssertionError, "needs a user"):
            shop.happens("payment.paid", now=NOON)
        with self.assertRaisesRegex(AssertionError, "a bonus for a bonus"):
            shop.happens("bonus.granted", now=NOON, user="u-1")

    def test_a_tool_takes_back_what_it_gave(self):
        class Back(MerchantTool):
            def on_event(self, ctx, settings, event, remembered):
                return [Reclaim("gift")]

        shop = pretend.Tool(Back())
        shop.happens("refund.posted", now=NOON)
        self.assertEqual(shop.reclaimed, ["gift"])


if __name__ == "__main__":
    unittest.main()
