"""A stamp card: each payment at the merchant brings a stamp, a full card a bonus from the merchant's budget, and a new card begins.

What is refunded loses its stamp, so that nobody fills a card with one payment that goes to and fro."""

from typing import List, NamedTuple

from koban_sdk import (
    SETTINGS_INVALID,
    About,
    Action,
    Bonus,
    Context,
    Failure,
    MerchantTool,
    Money,
    Put,
    Reader,
    Reclaim,
    Remembered,
    ToolEvent,
    recall,
)

STAMPS = "stamps"
"""About a user: how many stamps are on the open card."""
FULL = "full_cards"
"""About a user, and about the scope as the sum of all users: how many cards were filled."""
BUDGET = "stamp_card"
DAY_MS = 86_400_000


class Settings(NamedTuple):
    """What the merchant may set; plugin.toml says what each means and its bounds."""

    stamps: int
    bonus: Money
    least: Money
    days: int


class StampCard(MerchantTool[Settings]):
    def settings(self, read: Reader) -> Settings:
        return Settings(
            stamps=read.one("stamps", int),
            bonus=read.one("bonus", Money),
            least=read.one("least_amount", Money),
            days=read.one("card_days", int),
        )

    def check_settings(self, settings: Settings) -> List[Failure]:
        if settings.bonus.is_in(settings.least.currency):
            return []
        return [Failure(SETTINGS_INVALID, "bonus and least_amount must be in one currency")]

    def on_event(self, ctx: Context, settings: Settings, event: ToolEvent, remembered: List[Remembered]) -> List[Action]:
        # Guests, and payments too small for a stamp, leave the card as it is.
        if event.user is None or event.amount is None or not settings.least.is_at_most(event.amount):
            return []
        # The card is thrown away when nobody has stamped it for so long.
        expires = event.at + settings.days * DAY_MS
        stamps = count(remembered, About.USER, STAMPS)
        if event.kind == "refund.posted":
            # If it was the payment that filled a card, the host knows what it brought.
            fewer = [Put(About.USER, STAMPS, stamps - 1, expires=expires)] if stamps > 0 else []
            return [*fewer, Reclaim(BUDGET)]
        stamps += 1
        if stamps < settings.stamps:
            return [Put(About.USER, STAMPS, stamps, expires=expires)]
        return [
            Put(About.USER, STAMPS, None),
            Put(About.USER, FULL, count(remembered, About.USER, FULL) + 1),
            Put(About.SCOPE, FULL, count(remembered, About.SCOPE, FULL) + 1),
            Bonus(BUDGET, settings.bonus, "card_full"),
        ]


def count(remembered: List[Remembered], about: About, name: str) -> int:
    value = recall(remembered, about, name)
    return value if isinstance(value, int) else 0


plugin = StampCard()
