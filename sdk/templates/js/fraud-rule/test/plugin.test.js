// What the rule says on both sides of its limit.

import assert from "node:assert/strict";
import test from "node:test";

import { Money, Named } from "koban-sdk";
import { assess, checkSettings } from "koban-sdk/pretend";

import plugin from "../src/plugin.js";

const settings = [Named.amount("most", Money.yen(10_000))];

function verdict(yen, isFirst) {
  const facts = [Named.flag("payee.first_time", isFirst)];
  return assess(plugin, { now: 0, settings, payment: { amount: Money.yen(yen) }, facts }).verdict;
}

test("only a high first payment asks for a step-up", () => {
  assert.equal(verdict(10_000, true), "allow");
  assert.equal(verdict(10_001, true), "step-up");
  assert.equal(verdict(10_001, false), "allow");
});

test("settings are read by the names that plugin.toml has", () => {
  assert.deepEqual(checkSettings(plugin, settings), []);
  assert.match(checkSettings(plugin, [])[0].message, /`most` is missing/);
});
