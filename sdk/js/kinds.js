// The kinds of plugins, and which function of a plugin answers which question of the contract.

/** The contract that this SDK speaks: what a manifest writes as `contract`. */
export const CONTRACT = "koban:plugin@0.1.0";

/**
 * Every question of the contract: interface, function, and the plugin's function that answers it. A plugin exports an interface when it has all of that
 * interface's functions; `plugin` is exported always.
 */
export const QUESTIONS = [
  ["machine", "resume", "resume"],
  ["charge", "begin", "beginCharge"],
  ["withdraw", "begin", "beginWithdraw"],
  ["link-account", "begin", "beginLinkAccount"],
  ["pay-bill", "recognise", "recognise"],
  ["pay-bill", "begin", "beginPayBill"],
  ["sync", "begin", "beginSync"],
  ["inbound", "route", "route"],
  ["files", "compose", "composeFile"],
  ["files", "parse", "parseFile"],
  ["settlement", "parse", "parseSettlement"],
  ["migrate", "state", "migrateState"],
  ["assess", "assess", "assess"],
  ["rates", "parse", "parseRates"],
  ["quote", "quote", "quote"],
  ["statement", "compose", "composeStatement"],
  ["on-event", "on-event", "onEvent"],
  ["table", "rows", "rows"],
];

/** The functions of a plugin that answer no question of their own. */
const OTHERS = ["settings", "checkSettings", "state", "kind"];

function kind(word, required) {
  return definition => {
    for (const name of required) {
      if (typeof definition[name] !== "function") throw new TypeError(`a ${word} needs the function \`${name}\``);
    }
    for (const name of Object.keys(definition)) {
      if (!OTHERS.includes(name) && !QUESTIONS.some(([, , method]) => method === name)) {
        throw new TypeError(`\`${name}\` answers no question of the contract: keep helpers outside the plugin's object`);
      }
    }
    return { ...definition, kind: word };
  };
}

/** Judges payments. */
export const fraudRule = kind("fraud-rule", ["assess"]);
/** Brings money into wallets. */
export const chargeChannel = kind("charge-channel", ["resume", "beginCharge"]);
/** Pays bills. */
export const billPayer = kind("bill-payer", ["resume", "recognise", "beginPayBill"]);
/** Prices exchanges of currencies. */
export const exchange = kind("exchange", ["quote", "parseRates"]);
/** Gives statements to other programs. */
export const budgetLink = kind("budget-link", ["composeStatement"]);
/** Reacts to what happens at merchants. */
export const merchantTool = kind("merchant-tool", ["onEvent"]);

/** The interfaces that a plugin exports beside `plugin`, in the contract's spelling. */
export function interfaces(definition) {
  const names = [...new Set(QUESTIONS.map(([name]) => name))];
  const has = ([, , method]) => typeof definition[method] === "function";
  return names.filter(name => QUESTIONS.filter(([of]) => of === name).every(has));
}
