// Plugins for Koban in JavaScript: one object with a function for each question that the host may ask, unit tests in plain Node.
//
// A plugin never does input or output. `fraudRule({...})` and its like say what the plugin answers; index.d.ts has every type. There is no clock but
// `ctx.now`, no randomness but `ctx.seed`, and nothing remembered between calls.

export { Answer, Verdict } from "./assess.js";
export { Action } from "./events.js";
export { Failure, SETTINGS_INVALID } from "./failure.js";
export { Act, Credit, Delivery, Field, HttpAnswer, HttpCall, Proposal, Reversal, Routing, Show, Standing, Step, isFinal } from "./flow.js";
export { CONTRACT, billPayer, budgetLink, chargeChannel, exchange, fraudRule, merchantTool } from "./kinds.js";
export * as log from "./log.js";
export { Money } from "./money.js";
export { Named, Reader, Value, Values } from "./settings.js";
export * as time from "./time.js";
