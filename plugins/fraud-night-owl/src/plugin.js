// Night owl: by day everything passes; at night each rule that a payment meets weighs some points, and the sum of them decides.

import { Answer, Failure, SETTINGS_INVALID, Verdict, fraudRule, time } from "koban-sdk";

/** From so many points on, the strictest first. */
const VERDICTS = [
  { from: 900, verdict: Verdict.Decline },
  { from: 600, verdict: Verdict.Review },
  { from: 300, verdict: Verdict.StepUp },
  { from: 0, verdict: Verdict.Allow },
];

/** What a rule adds to the score when a payment meets it. */
const points = (code, weight) => ({ code, weight });

/** @param {import("koban-sdk").Reader} read */
const settings = read => ({
  nightFrom: read.one("night_from", "whole"),
  nightTo: read.one("night_to", "whole"),
  stepUp: read.one("amount_step_up", "amount"),
  review: read.one("amount_review", "amount"),
  decline: read.one("amount_decline", "amount"),
  firstPayeePoints: read.one("first_payee_points", "whole"),
  hourCount: read.one("hour_count", "whole"),
});

/** @typedef {ReturnType<typeof settings>} Settings */

/** @param {Settings} limits */
function isNight({ nightFrom, nightTo }, now) {
  const hour = time.jstHour(now);
  return nightFrom <= nightTo ? nightFrom <= hour && hour < nightTo : hour >= nightFrom || hour < nightTo;
}

/** What the amount weighs at night, or nothing. @param {Settings} limits */
function weighed(amount, limits) {
  // Limits are in one currency. An amount that they cannot judge is not harmless.
  if (!amount.isIn(limits.decline.currency)) return points("night_currency", 300);
  if (!amount.isAtMost(limits.decline)) return points("night_amount_over_limit", 1000);
  if (!amount.isAtMost(limits.review)) return points("night_amount_very_high", 600);
  if (!amount.isAtMost(limits.stepUp)) return points("night_amount", 300);
  return undefined;
}

export default fraudRule({
  settings,

  checkSettings(limits) {
    const goUp = limits.stepUp.isAtMost(limits.review) && limits.review.isAtMost(limits.decline);
    return goUp ? [] : [new Failure(SETTINGS_INVALID, "amount_step_up, amount_review and amount_decline must go up")];
  },

  assess(ctx, limits, payment, facts, signals) {
    if (!isNight(limits, ctx.now)) return Answer.allow();
    const met = [weighed(payment.amount, limits)];
    if (facts.get("payee.first_time", "flag") && limits.firstPayeePoints > 0) {
      met.push(points("night_first_payee", limits.firstPayeePoints));
    }
    // The payment itself is not in the signal: with `hourCount` of them counted before, this is one too many.
    const hour = signals.find(signal => signal.name === "user_1h");
    if (hour !== undefined && hour.count >= limits.hourCount) met.push(points("night_many", 300));
    const reasons = met.filter(reason => reason !== undefined);
    const score = Math.min(1000, reasons.reduce((sum, { weight }) => sum + weight, 0));
    const { verdict } = VERDICTS.find(({ from }) => score >= from);
    return reasons.reduce((answer, { code, weight }) => answer.because(code, weight), new Answer(verdict, score));
  },
});
