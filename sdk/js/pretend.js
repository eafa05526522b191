// A host for unit tests: it asks a plugin as the real one does, and holds it to the host's rules. It needs no Koban.

import { called, checkedSettings } from "./export.js";
import { HttpAnswer, isFinal } from "./flow.js";
import { Named } from "./settings.js";

/** Most bytes of a flow's state. */
const STATE_MAX_BYTES = 64 * 1024;
/** Most effects of a flow that have not ended, expectations included; and most effects, and most proposals, of one step. */
const OPEN_EFFECTS_MAX = 16;
const STEP_MAX = 16;
/** Most actions of one event, and bytes of one remembered value's text. */
const ACTIONS_MAX = 16;
const PUT_BYTES_MAX = 2_000;

/** A context at this time, in Unix milliseconds. */
export function context(now, more = {}) {
  return { call: "pretend", scope: "platform", now, seed: 7, locale: "ja", ...more };
}

function rule(holds, broken) {
  if (!holds) throw new Error(broken);
}

/** The same call twice must answer the same. */
function pure(ask) {
  const [once, again] = [ask(), ask()];
  rule(JSON.stringify(once) === JSON.stringify(again), "the same call gives two different answers");
  return once;
}

/** The codes of everything that is wrong with these settings. */
export function checkSettings(plugin, settings) {
  return checkedSettings(plugin, structuredClone(settings));
}

/** Asks a fraud rule about a payment. */
export function assess(plugin, { now, settings = [], payment, facts = [], signals = [] }) {
  const asked = { id: "pay_pretend", kind: "payment", at: now, ...payment };
  const answer = pure(() => called(plugin, "assess", context(now), ...structuredClone([settings, asked, facts, signals])));
  rule(answer.score >= 0 && answer.score <= 1000, `a score of ${answer.score}`);
  rule(answer.reasons.length <= 50, `${answer.reasons.length} reasons`);
  for (const { weight } of answer.reasons) rule(weight >= 0 && weight <= 1000, `a weight of ${weight}`);
  return answer;
}

/** One scope with its users, as a merchant tool remembers them. */
export class Tool {
  #plugin;
  #settings;
  #remembered = { scope: new Map(), users: new Map() };
  #events = 0;
  /** Every bonus that was granted: user, budget, minor units. */
  granted = [];
  /** The budget of every reclaim, one for each event. */
  reclaimed = [];
  /** Every text that was told: user and key. */
  told = [];

  constructor(plugin, settings = [], { scope = "platform" } = {}) {
    this.#plugin = plugin;
    this.#settings = settings;
    this.scope = scope;
  }

  /** Something happens; the actions that follow are taken and given back. */
  happens(kind, { now, user, merchant, amount, facts = [] }) {
    this.#events += 1;
    const event = { id: `evt_${this.#events}`, kind, at: now, amount: amount ?? null, user: user ?? null, merchant: merchant ?? null, facts };
    const known = [...this.#of("user", user, now), ...this.#of("scope", undefined, now)];
    const actions = pure(() =>
      called(this.#plugin, "onEvent", context(now, { scope: this.scope }), ...structuredClone([this.#settings, event, known])),
    );
    rule(actions.length <= ACTIONS_MAX, `${actions.length} actions`);
    for (const { tag, val } of actions) this.#take(tag, val, { kind, user });
    return actions;
  }

  /** What is remembered about a user, or about the scope when no user is named. */
  remembers(name, user) {
    return (user === undefined ? this.#remembered.scope : this.#about(user)).get(name)?.value.val;
  }

  #about(user) {
    if (!this.#remembered.users.has(user)) this.#remembered.users.set(user, new Map());
    return this.#remembered.users.get(user);
  }

  #of(about, user, now) {
    if (about === "user" && user === undefined) return [];
    const values = about === "user" ? this.#about(user) : this.#remembered.scope;
    const lasting = [...values].filter(([, { expires }]) => expires === null || expires > now);
    return lasting.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, { value }]) => ({ about, name, value }));
  }

  #take(tag, val, { kind, user }) {
    rule(user !== undefined || tag === "begin" || tag === "reclaim" || (tag === "put" && val.about === "scope"), `\`${tag}\` needs a user, and the event has none`);
    switch (tag) {
      case "put": {
        rule(/^[a-z0-9_-]{1,40}$/.test(val.name), `\`${val.name}\` cannot be a name`);
        rule(JSON.stringify(val.value ?? null).length <= PUT_BYTES_MAX, `the value of \`${val.name}\` is too large`);
        const values = val.about === "user" ? this.#about(user) : this.#remembered.scope;
        if (val.value === null) values.delete(val.name);
        else values.set(val.name, { value: val.value, expires: val.expires });
        rule(values.size <= (val.about === "user" ? 20 : 200), `more names about the ${val.about} than are kept`);
        break;
      }
      case "bonus":
        rule(val.amount.minor > 0, `a bonus of ${val.amount.minor}`);
        rule(!kind.startsWith("bonus."), "a bonus for a bonus, which would go on until the budget is gone");
        this.granted.push({ user, budget: val.budget, minor: val.amount.minor });
        break;
      case "reclaim":
        this.reclaimed.push(val);
        break;
      case "tell":
        this.told.push({ user, text: val });
        break;
      case "begin":
        rule(val.proposals.length === 0, "a flow that an event begins proposes nothing");
        break;
      default:
        rule(false, `\`${tag}\` is no action`);
    }
  }
}

/** What the user authorised: so much at most, with these facts. */
export function request(atMost, facts = []) {
  return { wallet: "wallet", amount: null, atMost, link: null, facts };
}

/** A flow of one plugin in a pretend host. */
export class Flow {
  #plugin;
  #settings;
  #now;
  #atMost;
  #events = 0;
  #state;
  #asked = new Map();
  #open = new Set();
  #credits = new Map();
  #tombstones = new Set();
  #refuse;
  standing;

  /** Begins a charge; gives the flow and its first step. */
  static begin(plugin, { now, settings = [], request: asked }) {
    const flow = new Flow();
    flow.#plugin = plugin;
    flow.#settings = settings;
    flow.#now = now;
    flow.#atMost = asked.atMost;
    const step = pure(() => called(plugin, "beginCharge", context(now), ...structuredClone([settings, asked])));
    return [flow, flow.#take(step)];
  }

  /** What the wallet got from this flow, after reversals, in minor units. */
  get creditedMinor() {
    return [...this.#credits.values()].reduce((sum, credit) => sum + credit.minor - credit.reversed, 0);
  }

  /** Whether the credit side of this reference is dead. */
  isDead(reference) {
    return this.#tombstones.has(reference);
  }

  /** Lets time pass. */
  waitMs(milliseconds) {
    this.#now += milliseconds;
  }

  /** Makes the ledger refuse the first proposal of the next step that has one, with this outcome. */
  refuseNext(outcome) {
    this.#refuse = outcome;
  }

  /** A partner answers with JSON. */
  answer(key, status, body) {
    this.#end(key);
    return this.resume(key, { tag: "answer", val: HttpAnswer.json(status, body) });
  }

  /** No answer came: `refused`, `not-sent`, `unknown` or `bad-signature`. */
  lost(key, how) {
    this.#end(key);
    return this.resume(key, { tag: "lost", val: [how, "pretended"] });
  }

  /** A timer rings; time is moved on to it. */
  ring(key) {
    const act = this.#asked.get(key);
    rule(act?.tag === "timer", `\`${key}\` is no timer of the flow`);
    this.#now = Math.max(this.#now, act.val);
    this.#end(key);
    return this.resume(key, { tag: "rang" });
  }

  /** The user fills in a form; texts may be given as they are. */
  form(key, answers) {
    const act = this.#asked.get(key);
    rule(act?.tag === "show" && act.val.tag === "form", `\`${key}\` is no form of the flow`);
    this.#end(key);
    const named = Object.entries(answers).map(([name, value]) => (typeof value === "string" ? Named.text(name, value) : { name, value }));
    return this.resume(key, { tag: "form", val: named });
  }

  /** The user asks to cancel. */
  askToCancel() {
    return this.resume("", { tag: "cancel-asked" });
  }

  /** A partner calls: the plugin routes the call, and this flow gets it if it ever expected the correlation. */
  partnerCalls(operation, body) {
    const routing = route(this.#plugin, { now: this.#now, settings: this.#settings, operation, body });
    rule(routing.tag === "deliver", `the plugin answered by itself: ${JSON.stringify(routing.val)}`);
    const { correlation } = routing.val;
    const expectation = [...this.#asked].find(([, act]) => act.tag === "expect" && act.val === correlation);
    rule(expectation !== undefined, `the flow never expected \`${correlation}\``);
    const message = { operation, path: "", query: [], body: HttpAnswer.json(200, body).body };
    return this.resume(expectation[0], { tag: "message", val: message });
  }

  /** An event as it is. */
  resume(key, what) {
    const event = { number: this.#events + 1, key, what };
    let step = this.#call(event, null);
    if (this.#refuse !== undefined && step.proposals.length > 0) {
      // Nothing of the refused step is taken: the same state and event again, with the refusal beside them.
      const again = this.#call(event, { proposal: 0, outcome: this.#refuse });
      this.#refuse = undefined;
      const before = step.proposals.map(proposal => JSON.stringify(proposal));
      const repeated = again.proposals.some(proposal => before.includes(JSON.stringify(proposal)));
      rule(!repeated, "what was refused is proposed again: the flow would be stuck");
      step = again;
    }
    this.#events = event.number;
    return this.#take(step, event);
  }

  #call(event, refused) {
    return pure(() => called(this.#plugin, "resume", context(this.#now), ...structuredClone([this.#settings, this.#state, event, refused])));
  }

  #end(key) {
    rule(this.#open.delete(key), `no effect \`${key}\` is open; open are ${[...this.#open].join(", ")}`);
  }

  /** Takes a step as the real host would, or throws the rule that it breaks. */
  #take(step, because) {
    rule(step.state.length <= STATE_MAX_BYTES, `the state has ${step.state.length} bytes`);
    rule(step.proposals.length <= STEP_MAX, `a step with ${step.proposals.length} proposals`);
    rule(step.effects.length <= STEP_MAX, `a step with ${step.effects.length} effects`);
    for (const proposal of step.proposals) this.#post(proposal, because);
    for (const effect of step.effects) this.#ask(effect);
    rule(this.#open.size <= OPEN_EFFECTS_MAX, `${this.#open.size} effects are open`);
    if (this.standing !== undefined && isFinal(this.standing)) {
      rule(step.effects.length === 0, "a final flow asks for effects");
      rule(step.standing === this.standing, "a final flow changes its standing");
    }
    if (isFinal(step.standing)) {
      for (const key of this.#open) if (this.#asked.get(key).tag !== "expect") this.#open.delete(key);
    }
    this.#state = step.state;
    this.standing = step.standing;
    return step;
  }

  #ask({ key, act }) {
    const before = this.#asked.get(key);
    if (before !== undefined) {
      rule(JSON.stringify(before) === JSON.stringify(act), `the key \`${key}\` stands for two things`);
      return;
    }
    this.#asked.set(key, act);
    if (act.tag === "cancel") {
      rule(this.#asked.has(act.val), `\`${key}\` takes back \`${act.val}\`, which was never asked`);
      this.#open.delete(act.val);
    } else if (["http", "timer", "enqueue", "expect"].includes(act.tag) || (act.tag === "show" && ["form", "consent"].includes(act.val.tag))) {
      // What is only shown costs nobody anything.
      this.#open.add(key);
    }
  }

  #post({ tag, val }, because) {
    switch (tag) {
      case "credit": {
        rule(this.standing === undefined || !isFinal(this.standing), "a final flow proposes a credit");
        restsOn(val.because, because);
        rule(val.amount.minor > 0, `a credit of ${val.amount.minor}`);
        const gross = [...this.#credits.values()].reduce((sum, credit) => sum + credit.minor, val.amount.minor);
        rule(val.amount.currency === this.#atMost.currency && gross <= this.#atMost.minor, "a credit beyond the authorisation");
        rule(!this.#tombstones.has(val.reference), "a credit with a dead reference");
        const used = [...this.#credits.values()].some(credit => credit.reference === val.reference);
        rule(!used, `the reference \`${val.reference}\` is credited twice`);
        rule(!this.#credits.has(val.key), `the key \`${val.key}\` is credited twice`);
        this.#credits.set(val.key, { minor: val.amount.minor, currency: val.amount.currency, reference: val.reference, reversed: 0 });
        break;
      }
      case "reverse": {
        restsOn(val.because, because);
        const credit = this.#credits.get(val.of);
        rule(credit !== undefined, `\`${val.of}\` was never credited`);
        rule(credit.currency === val.amount.currency, "a reversal in another currency");
        credit.reversed += val.amount.minor;
        rule(credit.reversed <= credit.minor, "more is reversed than was credited");
        break;
      }
      case "tombstone":
        this.#tombstones.add(val);
        break;
      default:
        rule(false, `a charge may never propose \`${tag}\``);
    }
  }
}

/** Where the plugin would send this call. */
export function route(plugin, { now, settings = [], operation, body, endpoint = "network" }) {
  const call = { endpoint, operation, path: "", query: [], body: HttpAnswer.json(200, body).body };
  return pure(() => called(plugin, "route", context(now), ...structuredClone([settings, call])));
}

function restsOn(number, event) {
  rule(event !== undefined, "a beginning rests on no event, so it cannot propose this");
  rule(number === event.number, "a proposal that rests on another event");
  rule(["answer", "message"].includes(event.what.tag), "a proposal that rests on something that no partner said");
}
