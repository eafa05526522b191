// The first payment to somebody new asks for a step-up when it is high.

import { Answer, Verdict, fraudRule } from "koban-sdk";

export default fraudRule({
  // What an operator may set; plugin.toml says what each means and its bounds.
  settings: read => ({ most: read.one("most", "amount") }),

  assess(ctx, settings, payment, facts, signals) {
    const isFirst = facts.get("payee.first_time", "flag") ?? false;
    if (isFirst && !payment.amount.isAtMost(settings.most)) {
      return new Answer(Verdict.StepUp, 500).because("first_payment_high", 500);
    }
    return Answer.allow();
  },
});
