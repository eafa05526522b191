"""One sentence for each rule of the card."""

import pathlib
import re
import unittest

from koban_sdk import Money, Named, pretend
from stamp_card import DAY_MS, plugin

NOON = 1_775_012_400_000
SETTINGS = {
    "stamps": Named("stamps", 3),
    "bonus": Named("bonus", Money.yen(500)),
    "least_amount": Named("least_amount", Money.yen(100)),
    "card_days": Named("card_days", 180),
}


def shop():
    return pretend.Tool(plugin, list(SETTINGS.values()), scope="mer_1")


def pays(tool, user="u-1", yen=1_000, now=NOON):
    return tool.happens("payment.captured", now=now, user=user, merchant="mer_1", amount=Money.yen(yen))


class Card(unittest.TestCase):
    def test_a_payment_brings_a_stamp_and_the_last_one_a_bonus_and_a_new_card(self):
        tool = shop()
        for stamps in (1, 2):
            pays(tool)
            self.assertEqual((tool.remembers("stamps", "u-1"), tool.granted), (stamps, []))
        pays(tool)
        self.assertEqual((tool.remembers("stamps", "u-1"), tool.granted), (None, [("u-1", "stamp_card", 500)]))
        pays(tool)
        self.assertEqual(tool.remembers("stamps", "u-1"), 1)
        self.assertEqual((tool.remembers("full_cards", "u-1"), tool.remembers("full_cards")), (1, 1))

    def test_each_customer_has_a_card_of_their_own(self):
        tool = shop()
        for user in ("u-1", "u-2", "u-1", "u-2"):
            pays(tool, user)
        self.assertEqual((tool.remembers("stamps", "u-1"), tool.remembers("stamps", "u-2"), tool.granted), (2, 2, []))

    def test_a_payment_below_the_least_amount_brings_no_stamp(self):
        tool = shop()
        self.assertEqual(pays(tool, yen=99), [])
        pays(tool, yen=100)
        self.assertEqual(tool.remembers("stamps", "u-1"), 1)
        self.assertEqual(tool.happens("payment.captured", now=NOON, user="u-1", amount=Money(100, "USD")), [])

    def test_what_is_refunded_loses_its_stamp_and_its_bonus(self):
        tool = shop()
        for _ in range(5):
            pays(tool)
            tool.happens("refund.posted", now=NOON, user="u-1", amount=Money.yen(1_000))
        self.assertEqual((tool.remembers("stamps", "u-1"), tool.granted), (0, []))
        self.assertEqual(tool.reclaimed, ["stamp_card"] * 5)
        tool.happens("refund.posted", now=NOON, user="u-1", amount=Money.yen(99))
        self.assertEqual(len(tool.reclaimed), 5)

    def test_a_guest_has_no_card(self):
        self.assertEqual(pays(shop(), user=None), [])

    def test_a_card_that_nobody_stamps_is_thrown_away(self):
        tool = shop()
        pays(tool)
        pays(tool, now=NOON + 180 * DAY_MS - 1)
        self.assertEqual(tool.remembers("stamps", "u-1"), 2)
        pays(tool, now=NOON + 360 * DAY_MS)
        self.assertEqual(tool.remembers("stamps", "u-1"), 1)

    def test_settings_are_read_by_the_names_that_plugin_toml_has(self):
        self.assertEqual(pretend.check_settings(plugin, list(SETTINGS.values())), [])
        mixed = {**SETTINGS, "bonus": Named("bonus", Money(5, "USD"))}
        self.assertIn("one currency", pretend.check_settings(plugin, list(mixed.values()))[0].message)
        manifest = (pathlib.Path(__file__).parent.parent / "plugin.toml").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r'\[\[settings\]\]\nname = "(\w+)"', manifest), list(SETTINGS))
