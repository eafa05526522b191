// Typed reading of named values: settings, facts and form answers.

import { Failure, SETTINGS_INVALID } from "./failure.js";
import { whole } from "./money.js";

/** What a value of each kind is called in a sentence. */
const WHAT = {
  text: "text",
  whole: "a whole number",
  amount: "an amount",
  rate: "a rate",
  flag: "yes or no",
  moment: "a moment",
  secret: "a secret",
};

/** Values as the contract has them. */
export const Value = Object.freeze({
  text: text => ({ tag: "text", val: text }),
  whole: number => ({ tag: "whole", val: whole(number, "a whole number") }),
  amount: money => ({ tag: "amount", val: money }),
  rate: (mantissa, scale) => ({ tag: "rate", val: { mantissa: whole(mantissa, "a mantissa"), scale } }),
  flag: flag => ({ tag: "flag", val: flag }),
  moment: unixMs => ({ tag: "moment", val: whole(unixMs, "a moment") }),
  secret: handle => ({ tag: "secret", val: handle }),
});

/** A value under its name. */
export const Named = Object.freeze(
  Object.fromEntries(Object.keys(Value).map(kind => [kind, (name, ...parts) => ({ name, value: Value[kind](...parts) })])),
);

function known(kind) {
  if (!Object.hasOwn(WHAT, kind)) throw new TypeError(`\`${kind}\` is no kind of value: use one of ${Object.keys(WHAT).join(", ")}`);
  return WHAT[kind];
}

/** Named values to look up: facts, form answers, query parameters. */
export class Values {
  #list;

  constructor(list) {
    this.#list = list;
  }

  /** The first value of this name, if it is there and of this kind. */
  get(name, kind) {
    known(kind);
    const found = this.#list.find(named => named.name === name);
    return found?.value.tag === kind ? found.value.val : undefined;
  }

  /** All values of this name, in order, as the contract has them. */
  all(name) {
    return this.#list.filter(named => named.name === name).map(named => named.value);
  }
}

/** Reads settings one after the other and keeps what is wrong until all are read. */
export class Reader {
  #values;
  #failures = [];

  constructor(list) {
    this.#values = new Values(list);
  }

  /** The setting of this name, which must be there once (a list is read with `list`). */
  one(name, kind) {
    const what = known(kind);
    const [value] = this.#values.all(name);
    if (value === undefined) {
      this.#fail(name, `is missing; it should be ${what}`);
      return undefined;
    }
    return this.#read(name, kind, value);
  }

  /** The setting of this name, if it is there. */
  maybe(name, kind) {
    known(kind);
    const [value] = this.#values.all(name);
    return value === undefined ? undefined : this.#read(name, kind, value);
  }

  /** All settings of this name, in order: a list is the same name repeated. */
  list(name, kind) {
    const what = known(kind);
    const all = this.#values.all(name);
    if (all.some(value => value.tag !== kind)) this.#fail(name, `should be a list of ${what}`);
    return all.filter(value => value.tag === kind).map(value => value.val);
  }

  /** Everything that was wrong. */
  get failures() {
    return this.#failures;
  }

  #read(name, kind, value) {
    if (value.tag === kind) return value.val;
    this.#fail(name, `should be ${WHAT[kind]}`);
    return undefined;
  }

  #fail(name, problem) {
    this.#failures.push(new Failure(SETTINGS_INVALID, `setting \`${name}\` ${problem}`));
  }
}

/** A plugin's settings as its own `settings` function makes them, or all that is wrong with them. */
export function readSettings(definition, list) {
  const read = new Reader(list);
  const settings = definition.settings ? definition.settings(read) : undefined;
  return { settings, failures: read.failures };
}
