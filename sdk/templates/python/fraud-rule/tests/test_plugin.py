"""What the rule says on both sides of its limit."""

import unittest

from koban_sdk import Money, Named, Verdict, pretend
from plugin import plugin

SETTINGS = [Named("most", Money.yen(10_000))]


def verdict(yen, is_first):
    facts = [Named("payee.first_time", is_first)]
    return pretend.assess(plugin, now=0, amount=Money.yen(yen), settings=SETTINGS, facts=facts).verdict


class Rule(unittest.TestCase):
    def test_only_a_high_first_payment_asks_for_a_step_up(self):
        self.assertEqual(verdict(10_000, True), Verdict.ALLOW)
        self.assertEqual(verdict(10_001, True), Verdict.STEP_UP)
        self.assertEqual(verdict(10_001, False), Verdict.ALLOW)

    def test_settings_are_read_by_the_names_that_plugin_toml_has(self):
        self.assertEqual(pretend.check_settings(plugin, SETTINGS), [])
        self.assertIn("`most` is missing", pretend.check_settings(plugin, [])[0].message)
