// Flows: the words of the contract, with helpers that build steps.

import { whole } from "./money.js";

/** Where a flow stands. The last three are final: no new credit, hold or capture, ever. */
export const Standing = Object.freeze({
  WaitingForUser: "waiting-for-user",
  WaitingForPartner: "waiting-for-partner",
  Checking: "checking",
  Done: "done",
  Failed: "failed",
  Cancelled: "cancelled",
});

/** Final means: no new credit, hold or capture, ever. */
export const isFinal = standing => [Standing.Done, Standing.Failed, Standing.Cancelled].includes(standing);

const utf8 = new (class {
  encode(text) {
    if (globalThis.TextEncoder) return new TextEncoder().encode(text);
    const escaped = unescape(encodeURIComponent(text));
    return Uint8Array.from(escaped, char => char.charCodeAt(0));
  }

  decode(bytes) {
    if (globalThis.TextDecoder) return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return decodeURIComponent(Array.from(bytes, byte => `%${byte.toString(16).padStart(2, "0")}`).join(""));
  }
})();

/** A value as the bytes of its JSON. */
export const toBytes = value => utf8.encode(JSON.stringify(value));
/** The value whose JSON these bytes are. */
export const fromBytes = bytes => JSON.parse(utf8.decode(bytes));

/** An answer: a partner's to us, or ours to a partner. */
export const HttpAnswer = Object.freeze({
  json: (status, body) => ({ status, headers: [["content-type", "application/json"]], body: toBytes(body) }),
  /** The body of an answer that is JSON. */
  read: answer => fromBytes(answer.body),
});

/** A call to a partner, at one operation of one of the manifest's endpoints. */
export const HttpCall = Object.freeze({
  json: (endpoint, operation, body, { path = "", query = [] } = {}) => ({ endpoint, operation, path, query, body: toBytes(body) }),
  get: (endpoint, operation, { path = "", query = [] } = {}) => ({ endpoint, operation, path, query, body: new Uint8Array() }),
});

/** A form's field that must be filled in, of at most 200 characters. */
export const Field = (name, label, kind, { choices = [], required = true, maxLength = 200 } = {}) => ({
  name,
  label,
  kind,
  choices,
  required,
  maxLength,
});

/** What the user sees. */
export const Show = Object.freeze({
  text: key => ({ tag: "text", val: key }),
  code: code => ({ tag: "code", val: code }),
  qr: content => ({ tag: "qr", val: content }),
  link: link => ({ tag: "link", val: link }),
  form: fields => ({ tag: "form", val: fields }),
  consent: endpoint => ({ tag: "consent", val: endpoint }),
});

/** What the plugin asks of the host. */
export const Act = Object.freeze({
  http: call => ({ tag: "http", val: call }),
  show: show => ({ tag: "show", val: show }),
  timer: unixMs => ({ tag: "timer", val: whole(unixMs, "a moment") }),
  expect: correlation => ({ tag: "expect", val: correlation }),
  enqueue: (file, correlation, record) => ({ tag: "enqueue", val: [file, correlation, record] }),
  cancel: key => ({ tag: "cancel", val: key }),
  saveLink: link => ({ tag: "save-link", val: { ...link, expires: link.expires ?? null } }),
  dropLink: reference => ({ tag: "drop-link", val: reference }),
});

/** Money that the partner took in for the user. `arrived`: the partner holds it and cannot give it back. */
export const Credit = (key, amount, reference, event, { arrived = false } = {}) => ({
  key,
  amount,
  reference,
  because: event.number,
  arrived,
});

/** Takes the credit with the key `of` back. */
export const Reversal = (of, amount, reference, event) => ({ of, amount, reference, because: event.number });

/** What the plugin would like done with money. */
export const Proposal = Object.freeze({
  credit: credit => ({ tag: "credit", val: credit }),
  hold: (key, amount) => ({ tag: "hold", val: { key, amount } }),
  capture: (hold, amount, reference, event, { fee = null, final = true } = {}) => ({
    tag: "capture",
    val: { hold, amount, fee, reference, because: event.number, final },
  }),
  release: hold => ({ tag: "release", val: hold }),
  reverse: reversal => ({ tag: "reverse", val: reversal }),
  tombstone: reference => ({ tag: "tombstone", val: reference }),
});

/** Where a partner's call belongs, and the answer if no flow ever expected it. */
export const Delivery = (correlation, otherwise, tombstone = null) => ({ correlation, otherwise, tombstone });

export const Routing = Object.freeze({
  deliver: delivery => ({ tag: "deliver", val: delivery }),
  answer: answer => ({ tag: "answer", val: answer }),
  begin: opening => ({ tag: "begin", val: opening }),
});

/** One step of a flow, being built: new state and standing, then whatever follows from it. Taken whole or not at all. */
export class Step {
  constructor(state, standing) {
    this.state = state;
    this.standing = standing;
    this.effects = [];
    this.proposals = [];
    this.answer = null;
    this.why = null;
  }

  /** With an effect under a key of the plugin's own, unique in the flow. */
  effect(key, act) {
    this.effects.push({ key, act });
    return this;
  }

  /** Calls a partner. */
  http(key, call) {
    return this.effect(key, Act.http(call));
  }

  /** Shows the user something. */
  show(key, show) {
    return this.effect(key, Act.show(show));
  }

  /** Wakes the flow at this time, in Unix milliseconds. */
  timer(key, unixMs) {
    return this.effect(key, Act.timer(unixMs));
  }

  /** Expects calls from outside that `route` gives this correlation. */
  expect(key, correlation) {
    return this.effect(key, Act.expect(correlation));
  }

  /** Takes back the timer, expectation or form that was asked for under `of`. */
  cancel(key, of) {
    return this.effect(key, Act.cancel(of));
  }

  /** With a proposal about money. */
  propose(proposal) {
    this.proposals.push(proposal);
    return this;
  }

  /** Proposes a credit. */
  credit(credit) {
    return this.propose(Proposal.credit(credit));
  }

  /** Proposes to take one of the flow's own credits back. */
  reverse(reversal) {
    return this.propose(Proposal.reverse(reversal));
  }

  /** Proposes to kill the credit side of a reference for ever. */
  tombstone(reference) {
    return this.propose(Proposal.tombstone(reference));
  }

  /** Replies to the partner whose call this event is. */
  reply(answer) {
    this.answer = answer;
    return this;
  }

  /** Says why. */
  note(failure) {
    this.why = failure;
    return this;
  }

  /** As the contract has it, with the state as the bytes of its JSON. */
  toRecord() {
    const { standing, effects, proposals } = this;
    return { state: toBytes(this.state), standing, effects, proposals, reply: this.answer, note: this.why?.toRecord() ?? null };
  }
}
