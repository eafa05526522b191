// From a plugin's object to the exports of a component: arguments get the SDK's types, answers the contract's, and mistakes a line in the log.
//
// What `koban plugin build` writes as a component's entry imports this file; unit tests go through the same `called`, so they see the same errors.

import { Failure } from "./failure.js";
import { Step, fromBytes, toBytes } from "./flow.js";
import { CONTRACT, QUESTIONS, interfaces } from "./kinds.js";
import * as log from "./log.js";
import { Money, whole } from "./money.js";
import { Values, readSettings } from "./settings.js";

/** `on-event` becomes `onEvent`: how the component names its exports. */
const camel = name => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());

/** Gives amounts their methods, everywhere in an argument. */
function revived(value) {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) {
    value.forEach(revived);
  } else if ("minor" in value && "currency" in value) {
    whole(value.minor);
    Object.setPrototypeOf(value, Money.prototype);
  } else {
    Object.values(value).forEach(revived);
  }
  return value;
}

/** Steps and failures inside an answer as the contract has them, and what is not there as `null`. */
function lowered(value) {
  if (value === undefined) return null;
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (value instanceof Step || value instanceof Failure) return lowered(value.toRecord());
  if (Array.isArray(value)) return value.map(lowered);
  const entries = Object.entries(value).map(([name, field]) => {
    if (["minor", "because", "at", "expires", "mantissa"].includes(name) && field !== null && field !== undefined) whole(field, name);
    return [name, lowered(field)];
  });
  return Object.fromEntries(entries);
}

/** How the arguments after the settings become those of the plugin's function. */
const ARGUMENTS = {
  assess: (payment, facts, signals) => [payment, new Values(facts), signals],
  resume: (state, event, refused) => [fromBytes(state), event, refused ?? undefined],
  recognise: (code, facts) => [code, new Values(facts)],
  migrateState: (version, state) => [version, fromBytes(state)],
};
/** Answers that are a flow's state: kept as the bytes of their JSON. */
const STATES = ["migrateState"];

/** Asks the plugin one question, as the host does. Throws a `Failure` when that is its answer. */
export function called(definition, method, ctx, list, ...rest) {
  const { settings, failures } = readSettings(definition, revived(list));
  if (failures.length > 0) throw failures[0];
  const given = (ARGUMENTS[method] ?? ((...plain) => plain))(...rest.map(revived));
  const answer = definition[method](ctx, settings, ...given);
  if (answer !== null && typeof answer === "object" && typeof answer.then === "function") {
    throw new TypeError(`\`${method}\` is asynchronous: a plugin answers at once and never waits`);
  }
  return STATES.includes(method) ? toBytes(answer) : lowered(answer);
}

/** All that is wrong with these settings. */
export function checkedSettings(definition, list) {
  const { settings, failures } = readSettings(definition, revived(list));
  return failures.length > 0 ? failures : (definition.checkSettings?.(settings) ?? []);
}

/** A failure goes back as a value; everything else is a bug, whose text the host finds in the log before the trap. */
function guarded(run) {
  return (...given) => {
    try {
      return run(...given);
    } catch (thrown) {
      if (thrown instanceof Failure) throw thrown.toRecord();
      if (Array.isArray(thrown)) throw thrown.map(failure => failure.toRecord());
      log.error(`panicked: ${thrown}${thrown?.stack ? ` at ${String(thrown.stack).trim().split("\n").slice(0, 4).join(" / ")}` : ""}`);
      throw thrown;
    }
  };
}

/** The exports of a component, by interface. */
export function exported(definition, { id, version }) {
  const all = {
    plugin: {
      describe: () => ({ id, version, contract: CONTRACT }),
      checkSettings: guarded(list => {
        const failures = checkedSettings(definition, list);
        if (failures.length > 0) throw failures;
      }),
    },
  };
  for (const name of interfaces(definition)) {
    const questions = QUESTIONS.filter(([of]) => of === name);
    const functions = questions.map(([, asked, method]) => [
      camel(asked),
      guarded((...given) => called(definition, method, ...given)),
    ]);
    all[camel(name)] = Object.fromEntries(functions);
  }
  return all;
}
