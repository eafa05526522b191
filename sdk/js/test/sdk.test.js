// What the SDK promises to plugins and what it refuses from them.

import assert from "node:assert/strict";
import test from "node:test";

import { Action, Answer, Credit, Failure, HttpAnswer, Money, Named, Routing, Show, Standing, Step, Value, chargeChannel, fraudRule, merchantTool, time } from "../index.js";
import { called, exported } from "../export.js";
import { interfaces } from "../kinds.js";
import * as log from "../log.js";
import * as pretend from "../pretend.js";
import { withoutTheWorld } from "../world.js";

const NOON = 1_775_012_400_000;

test("money of two currencies has no sum and no order", () => {
  assert.deepEqual(Money.yen(1).plus(Money.yen(2)), Money.yen(3));
  assert.equal(Money.yen(1).plus(new Money(2, "USD")), undefined);
  assert.deepEqual(Money.yen(1).minus(Money.yen(3)), Money.yen(-2));
  assert.ok(Money.yen(1).isAtMost(Money.yen(1)));
  assert.ok(!Money.yen(1).isAtMost(new Money(2, "USD")));
});

test("an amount that JavaScript does not hold exactly is no amount", () => {
  assert.equal(Money.yen(Number.MAX_SAFE_INTEGER).plus(Money.yen(1)), undefined);
  assert.throws(() => Money.yen(1.5), /whole number/);
  assert.throws(() => Money.yen(2 ** 53), /whole number/);
  const rule = fraudRule({ assess: (_, __, payment) => Answer.allow().because(String(payment.amount.minor), 0) });
  assert.throws(() => pretend.assess(rule, { now: 0, payment: { amount: { minor: 2 ** 53, currency: "JPY" } } }), /whole number/);
});

test("all that is wrong with settings is said at once and by name", () => {
  const rule = fraudRule({
    settings: read => [read.one("hours", "whole"), read.one("most", "amount"), read.list("denied", "text"), read.maybe("more", "flag")],
    assess: () => Answer.allow(),
  });
  const failures = pretend.checkSettings(rule, [Named.text("hours", "three"), Named.whole("denied", 4)]);
  assert.deepEqual(
    failures.map(failure => failure.message),
    ["setting `hours` should be a whole number", "setting `most` is missing; it should be an amount", "setting `denied` should be a list of text"],
  );
  assert.ok(failures.every(failure => failure.code === "settings_invalid"));
});

test("a fact of another type is no fact", () => {
  const rule = fraudRule({ assess: (_, __, ___, facts) => Answer.allow().because(String(facts.get("payee.first_time", "flag")), 0) });
  const said = facts => pretend.assess(rule, { now: 0, payment: { amount: Money.yen(1) }, facts }).reasons[0].code;
  assert.equal(said([Named.text("payee.first_time", "yes")]), "undefined");
  assert.equal(said([Named.flag("payee.first_time", true)]), "true");
});

test("a plugin exports the interfaces whose functions it has", () => {
  const nothing = () => undefined;
  assert.deepEqual(interfaces(fraudRule({ assess: nothing })), ["assess"]);
  assert.deepEqual(interfaces(chargeChannel({ resume: nothing, beginCharge: nothing, route: nothing, parseFile: nothing })), ["machine", "charge", "inbound"]);
  assert.throws(() => fraudRule({}), /needs the function `assess`/);
  assert.throws(() => fraudRule({ assess: nothing, asess: nothing }), /answers no question/);
});

test("a failure goes back as a value and a mistake as a line in the log", () => {
  const lines = [];
  log.connect((level, message) => lines.push(`${level} ${message}`));
  const rule = fraudRule({
    assess(_, __, payment) {
      if (payment.id === "refused") throw new Failure("code", "why", { text: "key" });
      return payment.no.such.field;
    },
  });
  const { assess, plugin } = exported(rule, { id: "rule", version: "1.0.0" });
  const ask = id => assess.assess(pretend.context(0), [], { id, kind: "payment", amount: { minor: 1, currency: "JPY" }, at: 0 }, [], []);
  assert.throws(() => ask("refused"), thrown => JSON.stringify(thrown) === '{"code":"code","message":"why","text":"key","retryable":false}');
  assert.throws(() => ask("broken"), TypeError);
  assert.match(lines[0], /^error panicked: TypeError: /);
  assert.equal(plugin.describe().id, "rule");
  assert.throws(() => called(fraudRule({ assess: async () => Answer.allow() }), "assess", pretend.context(0), [], { amount: Money.yen(1) }, [], []), /asynchronous/);
});

test("the clock and randomness of the build are out of reach", () => {
  const world = { Date: class extends Date {}, Math: { random: Math.random } };
  withoutTheWorld(world);
  assert.throws(() => new world.Date(), /use ctx.now/);
  assert.throws(() => world.Date.now(), /use ctx.now/);
  assert.throws(() => world.Math.random(), /use ctx.seed/);
  assert.equal(new world.Date(NOON).toISOString(), "2026-04-01T03:00:00.000Z");
});

test("times of RFC 3339 become milliseconds and nothing else does", () => {
  const good = { "1970-01-01T00:00:00Z": 0, "2026-04-01T09:30:00+09:00": 1_775_003_400_000, "2026-03-31T19:30:00.123456-05:00": 1_775_003_400_123 };
  for (const [text, expected] of Object.entries(good)) assert.equal(time.parseRfc3339(text), expected, text);
  for (const text of ["", "2026-04-01", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-04-01T24:00:00Z", "1969-12-31T23:59:59Z", "2026-04-01T09:30:00.Z"]) {
    assert.equal(time.parseRfc3339(text), undefined, text);
  }
  assert.deepEqual([time.jstHour(0), time.jstHour(15 * 3_600_000), time.jstDay(NOON)], [9, 0, "2026-04-01"]);
  assert.equal(time.nextJstMidnight(NOON) - NOON, 12 * 3_600_000);
});

/** A channel whose partner calls once with the money. */
const channel = chargeChannel({
  beginCharge: (ctx, _, request) =>
    new Step({ most: request.atMost.minor }, Standing.WaitingForPartner).show("show", Show.code("42")).expect("paid", "42").timer("late", ctx.now + 60_000),
  resume(_, __, state, event, refused) {
    if (event.what.tag === "rang") return new Step(state, Standing.Failed).note(new Failure("too_late", "nobody came"));
    const paid = HttpAnswer.read(event.what.val);
    if (refused) return new Step(state, Standing.Failed).reply(HttpAnswer.json(409, { why: refused.outcome }));
    return new Step(state, Standing.Done).credit(Credit("deposit", Money.yen(paid.yen), paid.id, event)).reply(HttpAnswer.json(200, {}));
  },
  route: (_, __, call) => Routing.deliver({ correlation: HttpAnswer.read(call).code, otherwise: HttpAnswer.json(404, {}), tombstone: null }),
});

test("a flow is played from its beginning to its credit", () => {
  const [flow, begun] = pretend.Flow.begin(channel, { now: NOON, request: pretend.request(Money.yen(1_000)) });
  assert.deepEqual(begun.effects.map(({ key }) => key), ["show", "paid", "late"]);
  const taken = flow.partnerCalls("paid", { code: "42", yen: 700, id: "r-1" });
  assert.deepEqual([taken.standing, taken.reply.status, flow.creditedMinor], ["done", 200, 700]);
  const [late] = pretend.Flow.begin(channel, { now: NOON, request: pretend.request(Money.yen(1_000)) });
  assert.equal(late.ring("late").note.code, "too_late");
});

test("a flow that breaks the host's rules is told which", () => {
  const begin = () => pretend.Flow.begin(channel, { now: NOON, request: pretend.request(Money.yen(1_000)) })[0];
  assert.throws(() => begin().partnerCalls("paid", { code: "42", yen: 1_001, id: "r-1" }), /beyond the authorisation/);
  assert.throws(() => begin().partnerCalls("paid", { code: "43", yen: 1, id: "r-1" }), /never expected `43`/);
  const refused = begin();
  refused.refuseNext("exposure_cap_reached");
  assert.equal(refused.partnerCalls("paid", { code: "42", yen: 1, id: "r-1" }).reply.status, 409);
  assert.equal(refused.creditedMinor, 0);
});

test("a tool remembers, grants and tells", () => {
  const tool = merchantTool({
    onEvent(_, __, event, remembered) {
      const seen = remembered.find(({ name }) => name === "seen")?.value.val ?? 0;
      return [Action.put("user", "seen", Value.whole(seen + 1)), Action.bonus("gift", Money.yen(5), "thanks"), Action.tell("hello")].slice(0, seen + 1);
    },
  });
  const shop = new pretend.Tool(tool);
  for (let number = 0; number < 3; number += 1) shop.happens("payment.paid", { now: NOON, user: "u-1", amount: Money.yen(100) });
  assert.equal(shop.remembers("seen", "u-1"), 3);
  assert.deepEqual(shop.granted.map(({ minor }) => minor), [5, 5]);
  assert.deepEqual(shop.told, [{ user: "u-1", text: "hello" }]);
  assert.throws(() => shop.happens("payment.paid", { now: NOON }), /needs a user/);
  assert.throws(() => shop.happens("bonus.granted", { now: NOON, user: "u-1" }), /a bonus for a bonus/);
  const back = new pretend.Tool(merchantTool({ onEvent: () => [Action.reclaim("gift")] }));
  back.happens("refund.posted", { now: NOON });
  assert.deepEqual(back.reclaimed, ["gift"]);
});
