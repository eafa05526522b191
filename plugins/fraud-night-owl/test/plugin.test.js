// One sentence for each rule. Each test changes one thing about a harmless payment in the night and looks at verdict, score and reasons.

import assert from "node:assert/strict";
import test from "node:test";

import { Money, Named } from "koban-sdk";
import * as pretend from "koban-sdk/pretend";

import owl from "../src/plugin.js";

/** 2026-04-01 02:00 in Japan. */
const NIGHT = Date.UTC(2026, 2, 31, 17);
const HOUR_MS = 3_600_000;

const DEFAULTS = {
  night_from: Named.whole("night_from", 23),
  night_to: Named.whole("night_to", 5),
  amount_step_up: Named.amount("amount_step_up", Money.yen(10_000)),
  amount_review: Named.amount("amount_review", Money.yen(50_000)),
  amount_decline: Named.amount("amount_decline", Money.yen(200_000)),
  first_payee_points: Named.whole("first_payee_points", 200),
  hour_count: Named.whole("hour_count", 5),
};

function check({ now = NIGHT, amount = Money.yen(1_280), first = false, count = 0, settings = {} }, expected) {
  const answer = pretend.assess(owl, {
    now,
    settings: Object.values({ ...DEFAULTS, ...settings }),
    payment: { amount },
    facts: [Named.flag("payee.first_time", first)],
    signals: [{ name: "user_1h", windowS: 3_600, count, sum: Money.yen(0) }],
  });
  const reasons = answer.reasons.map(({ code, weight }) => ` ${code}=${weight}`).join("");
  assert.equal(`${answer.verdict} ${answer.score}${reasons}`, expected);
}

test("a small payment passes at night", () => check({}, "allow 0"));

test("an amount above a limit weighs more the higher the limit", () => {
  check({ amount: Money.yen(10_000) }, "allow 0");
  check({ amount: Money.yen(10_001) }, "step-up 300 night_amount=300");
  check({ amount: Money.yen(50_001) }, "review 600 night_amount_very_high=600");
  check({ amount: Money.yen(200_000) }, "review 600 night_amount_very_high=600");
  check({ amount: Money.yen(200_001) }, "decline 1000 night_amount_over_limit=1000");
});

test("by day everything passes", () => {
  check({ amount: Money.yen(200_001), now: NIGHT + 3 * HOUR_MS }, "allow 0");
  check({ amount: Money.yen(200_001), now: NIGHT + 3 * HOUR_MS - 1 }, "decline 1000 night_amount_over_limit=1000");
  check({ amount: Money.yen(200_001), now: NIGHT - 3 * HOUR_MS }, "decline 1000 night_amount_over_limit=1000");
  check({ amount: Money.yen(200_001), now: NIGHT - 3 * HOUR_MS - 1 }, "allow 0");
});

test("a night can lie within a day or not exist", () => {
  const night = (from, to) => ({ night_from: Named.whole("night_from", from), night_to: Named.whole("night_to", to) });
  check({ amount: Money.yen(10_001), settings: night(1, 3) }, "step-up 300 night_amount=300");
  check({ amount: Money.yen(10_001), settings: night(3, 5) }, "allow 0");
  check({ amount: Money.yen(10_001), settings: night(2, 2) }, "allow 0");
});

test("a first payee and many payments add to the amount", () => {
  check({ first: true }, "allow 200 night_first_payee=200");
  check({ count: 4 }, "allow 0");
  check({ count: 5 }, "step-up 300 night_many=300");
  check({ amount: Money.yen(10_001), first: true, count: 5 }, "review 800 night_amount=300 night_first_payee=200 night_many=300");
  check({ first: true, settings: { first_payee_points: Named.whole("first_payee_points", 0) } }, "allow 0");
});

test("an amount in a currency without a limit is not harmless", () => {
  check({ amount: new Money(1, "USD") }, "step-up 300 night_currency=300");
});

test("limits that do not go up are refused", () => {
  const settings = { ...DEFAULTS, amount_review: Named.amount("amount_review", Money.yen(9_999)) };
  assert.deepEqual(
    pretend.checkSettings(owl, Object.values(settings)).map(failure => failure.message),
    ["amount_step_up, amount_review and amount_decline must go up"],
  );
  assert.deepEqual(pretend.checkSettings(owl, Object.values(DEFAULTS)), []);
});

test("settings are read by the names that plugin.toml has", async () => {
  const { readFile } = await import("node:fs/promises");
  const manifest = await readFile(new URL("../plugin.toml", import.meta.url), "utf8");
  const names = [...manifest.matchAll(/\[\[settings\]\]\nname = "(\w+)"/g)].map(([, name]) => name);
  assert.deepEqual(names, Object.keys(DEFAULTS));
});
