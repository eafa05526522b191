// What a merchant tool asks for when something has happened.

import { whole } from "./money.js";

export const Action = Object.freeze({
  /** Remembers a value about the event's user or the scope; no value forgets it. */
  put: (about, name, value, expires) => ({ tag: "put", val: { about, name, value: value ?? null, expires: expires ?? null } }),
  /** Grants the event's user a bonus out of one of the manifest's budgets. `reason` is one of the manifest's codes. */
  bonus: (budget, amount, reason) => {
    whole(amount.minor);
    return { tag: "bonus", val: { budget, amount, reason } };
  },
  /** Takes back what a budget granted for the event's payment, in proportion to what was refunded of it. */
  reclaim: budget => ({ tag: "reclaim", val: budget }),
  /** Tells the event's user something: the key of one of the manifest's texts. */
  tell: text => ({ tag: "tell", val: text }),
  /** Opens a flow of this plugin with this as its first step. */
  begin: step => ({ tag: "begin", val: step }),
});
