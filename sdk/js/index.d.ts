// The types of the contract as JavaScript has them, and what the SDK adds. wit/preview documents every field; the names here are the same.
//
// Whole numbers of the contract (amounts, counts, times) are numbers: exact up to 2^53, and the SDK throws beyond. `seed` loses its lowest bits.

/** Unix milliseconds, UTC. */
export type Instant = number;

/** Money: whole minor units of a currency. */
export declare class Money {
  /** So many minor units: 1280 is 1,280 yen, or 12 dollars and 80 cents. */
  constructor(minor: number, currency: string);
  minor: number;
  currency: string;
  static yen(minor: number): Money;
  isIn(currency: string): boolean;
  /** The sum; undefined when the currencies differ or the sum is too great. */
  plus(other: Money): Money | undefined;
  /** The difference; undefined when the currencies differ or the difference is too great. */
  minus(other: Money): Money | undefined;
  /** Whether it is at most the other; false when the currencies differ. */
  isAtMost(other: Money): boolean;
}

/** mantissa * 10^-scale. */
export interface Decimal {
  mantissa: number;
  scale: number;
}

/** The kinds of values, by their tag. */
export interface Kinds {
  text: string;
  whole: number;
  amount: Money;
  rate: Decimal;
  flag: boolean;
  moment: Instant;
  /** The handle of a secret that only the host can open. */
  secret: string;
}

/** A typed value. */
export type Value = { [K in keyof Kinds]: { tag: K; val: Kinds[K] } }[keyof Kinds];
export declare const Value: {
  text(text: string): Value;
  whole(number: number): Value;
  amount(money: Money): Value;
  rate(mantissa: number, scale: number): Value;
  flag(flag: boolean): Value;
  moment(unixMs: Instant): Value;
  secret(handle: string): Value;
};

/** A value under its name; a list is the same name repeated. */
export interface Named {
  name: string;
  value: Value;
}
export declare const Named: {
  text(name: string, text: string): Named;
  whole(name: string, number: number): Named;
  amount(name: string, money: Money): Named;
  rate(name: string, mantissa: number, scale: number): Named;
  flag(name: string, flag: boolean): Named;
  moment(name: string, unixMs: Instant): Named;
  secret(name: string, handle: string): Named;
};

/** Named values to look up: facts, form answers, query parameters. */
export declare class Values {
  constructor(list: Named[]);
  /** The first value of this name, if it is there and of this kind. */
  get<K extends keyof Kinds>(name: string, kind: K): Kinds[K] | undefined;
  /** All values of this name, in order. */
  all(name: string): Value[];
}

/** Reads settings and keeps what is wrong; the host is told all of it at once. */
export declare class Reader {
  constructor(list: Named[]);
  /** The setting of this name, which must be there once. While something is wrong it is undefined, and nothing of the plugin is asked. */
  one<K extends keyof Kinds>(name: string, kind: K): Kinds[K];
  /** The setting of this name, if it is there. */
  maybe<K extends keyof Kinds>(name: string, kind: K): Kinds[K] | undefined;
  /** All settings of this name, in order. */
  list<K extends keyof Kinds>(name: string, kind: K): Kinds[K][];
  readonly failures: Failure[];
}

/** All that a call may know about its surroundings. */
export interface Context {
  /** The host's id of this call. */
  call: string;
  /** The platform, a merchant or a store. */
  scope: string;
  /** The only clock. */
  now: Instant;
  /** The only randomness; the same at every replay. */
  seed: number;
  /** `ja` or `en`. */
  locale: string;
}

/** The code of a failure about settings. */
export declare const SETTINGS_INVALID: "settings_invalid";
/** What a manifest writes as `contract`. */
export declare const CONTRACT: string;

/** The plugin's own refusal, as a value: thrown as the answer, or noted in a step. */
export declare class Failure extends Error {
  /** `code` is one of the manifest's; `message` is for operators; `text` is the key of the text that the user sees. */
  constructor(code: string, message: string, more?: { text?: string; retryable?: boolean });
  code: string;
  text?: string;
  retryable: boolean;
}

// Fraud rules

export type Verdict = "allow" | "step-up" | "review" | "decline";
export declare const Verdict: { readonly Allow: "allow"; readonly StepUp: "step-up"; readonly Review: "review"; readonly Decline: "decline" };

/** What is about to happen. */
export interface Payment {
  id: string;
  kind: "payment" | "transfer";
  amount: Money;
  at: Instant;
}

/** A counter over a window; the payment in question is not in it. */
export interface Signal {
  name: string;
  windowS: number;
  count: number;
  sum: Money;
}

export interface Reason {
  code: string;
  /** 0 to 1000. */
  weight: number;
}

export declare class Answer {
  constructor(verdict: Verdict, score: number);
  verdict: Verdict;
  /** 0 (nothing suspicious) to 1000. */
  score: number;
  reasons: Reason[];
  static allow(): Answer;
  static decline(): Answer;
  /** With a reason: one of the manifest's codes, and how much it weighed. */
  because(code: string, weight: number): this;
}

// Merchant tools

/** Something that happened on the platform. */
export interface ToolEvent {
  id: string;
  /** One of the manifest's `events`, such as `payment.paid`. */
  kind: string;
  at: Instant;
  amount: Money | null;
  /** An opaque name of the user's wallet. */
  user: string | null;
  merchant: string | null;
  facts: Named[];
}

export type About = "user" | "scope";

/** A value that this plugin put earlier. */
export interface Remembered {
  about: About;
  name: string;
  value: Value;
}

export type Action =
  | { tag: "put"; val: { about: About; name: string; value: Value | null; expires: Instant | null } }
  | { tag: "bonus"; val: { budget: string; amount: Money; reason: string } }
  | { tag: "tell"; val: string }
  | { tag: "begin"; val: Step }
  | { tag: "reclaim"; val: string };
export declare const Action: {
  /** Remembers a value; no value forgets it. */
  put(about: About, name: string, value?: Value, expires?: Instant): Action;
  /** Grants the event's user a bonus out of one of the manifest's budgets; `reason` is one of the manifest's codes. */
  bonus(budget: string, amount: Money, reason: string): Action;
  /** Takes back what a budget granted for the event's payment, in proportion to what was refunded of it. */
  reclaim(budget: string): Action;
  /** Tells the event's user something: the key of one of the manifest's texts. */
  tell(text: string): Action;
  /** Opens a flow of this plugin with this as its first step. */
  begin(step: Step): Action;
};

/** One page of a table that is asked for. */
export interface TableRequest {
  table: string;
  subjects: { name: string; values: Named[] }[];
  more: boolean;
}

// Flows

export type Standing = "waiting-for-user" | "waiting-for-partner" | "checking" | "done" | "failed" | "cancelled";
export declare const Standing: {
  readonly WaitingForUser: "waiting-for-user";
  readonly WaitingForPartner: "waiting-for-partner";
  readonly Checking: "checking";
  readonly Done: "done";
  readonly Failed: "failed";
  readonly Cancelled: "cancelled";
};
export declare function isFinal(standing: Standing): boolean;

export interface HttpAnswer {
  status: number;
  headers: [string, string][];
  body: Uint8Array;
}
export declare const HttpAnswer: {
  json(status: number, body: unknown): HttpAnswer;
  /** The body of an answer that is JSON. */
  read(answer: { body: Uint8Array }): any;
};

export interface HttpCall {
  endpoint: string;
  operation: string;
  path: string;
  query: Named[];
  body: Uint8Array;
}
export declare const HttpCall: {
  json(endpoint: string, operation: string, body: unknown, more?: { path?: string; query?: Named[] }): HttpCall;
  get(endpoint: string, operation: string, more?: { path?: string; query?: Named[] }): HttpCall;
};

export type FieldKind = "text" | "digits" | "kana" | "amount" | "date" | "choice" | "secret";
export interface Field {
  name: string;
  label: string;
  kind: FieldKind;
  choices: string[];
  required: boolean;
  maxLength: number;
}
export declare function Field(
  name: string,
  label: string,
  kind: FieldKind,
  more?: { choices?: string[]; required?: boolean; maxLength?: number },
): Field;

/** What the user agreed to once, for many flows. */
export interface Mandate {
  each: Money;
  month: Money | null;
  expires: Instant;
}

/** What lasts between flows: an account at a partner, a mandate. */
export interface Link {
  reference: string;
  kind: string;
  label: string;
  data: Uint8Array;
  since: Instant;
  expires: Instant | null;
  mandate: Mandate | null;
}

/** A link as a flow saves it. */
export interface SavedLink {
  reference: string;
  kind: string;
  label: string;
  data: Uint8Array;
  expires?: Instant | null;
}

export type Show =
  | { tag: "text" | "code" | "qr" | "link" | "consent"; val: string }
  | { tag: "form"; val: Field[] };
export declare const Show: {
  text(key: string): Show;
  code(code: string): Show;
  qr(content: string): Show;
  link(link: string): Show;
  form(fields: Field[]): Show;
  consent(endpoint: string): Show;
};

export type Act =
  | { tag: "http"; val: HttpCall }
  | { tag: "show"; val: Show }
  | { tag: "timer"; val: Instant }
  | { tag: "expect" | "cancel" | "drop-link"; val: string }
  | { tag: "enqueue"; val: [file: string, correlation: string, record: Uint8Array] }
  | { tag: "save-link"; val: SavedLink };
export declare const Act: {
  http(call: HttpCall): Act;
  show(show: Show): Act;
  timer(unixMs: Instant): Act;
  expect(correlation: string): Act;
  enqueue(file: string, correlation: string, record: Uint8Array): Act;
  cancel(key: string): Act;
  saveLink(link: SavedLink): Act;
  dropLink(reference: string): Act;
};

export interface Message {
  operation: string;
  path: string;
  query: Named[];
  body: Uint8Array;
}

export type Lost = "refused" | "not-sent" | "unknown" | "bad-signature";
export type What =
  | { tag: "answer"; val: HttpAnswer }
  | { tag: "lost"; val: [how: Lost, word: string] }
  | { tag: "rang" | "queued" | "cancel-asked" | "agreed" }
  | { tag: "form"; val: Named[] }
  | { tag: "sealed"; val: string }
  | { tag: "message"; val: Message };

/** Something that came of an effect, or came in from outside. */
export interface FlowEvent {
  number: number;
  key: string;
  what: What;
}

/** The step given for this same event was refused by the ledger. */
export interface Refusal {
  proposal: number;
  outcome: string;
}

export interface Credit {
  key: string;
  amount: Money;
  reference: string;
  because: number;
  arrived: boolean;
}
export declare function Credit(key: string, amount: Money, reference: string, event: FlowEvent, more?: { arrived?: boolean }): Credit;

export interface Reversal {
  of: string;
  amount: Money;
  reference: string;
  because: number;
}
export declare function Reversal(of: string, amount: Money, reference: string, event: FlowEvent): Reversal;

export interface Hold {
  key: string;
  amount: Money;
}
export interface Capture {
  hold: string;
  amount: Money;
  fee: Money | null;
  reference: string;
  because: number;
  final: boolean;
}

export type Proposal =
  | { tag: "credit"; val: Credit }
  | { tag: "hold"; val: Hold }
  | { tag: "capture"; val: Capture }
  | { tag: "release" | "tombstone"; val: string }
  | { tag: "reverse"; val: Reversal };
export declare const Proposal: {
  credit(credit: Credit): Proposal;
  hold(key: string, amount: Money): Proposal;
  capture(hold: string, amount: Money, reference: string, event: FlowEvent, more?: { fee?: Money | null; final?: boolean }): Proposal;
  release(hold: string): Proposal;
  reverse(reversal: Reversal): Proposal;
  tombstone(reference: string): Proposal;
};

/** One step of a flow, being built. Its state is any value that JSON can say. */
export declare class Step<S = unknown> {
  constructor(state: S, standing: Standing);
  effect(key: string, act: Act): this;
  http(key: string, call: HttpCall): this;
  show(key: string, show: Show): this;
  timer(key: string, unixMs: Instant): this;
  expect(key: string, correlation: string): this;
  cancel(key: string, of: string): this;
  propose(proposal: Proposal): this;
  credit(credit: Credit): this;
  reverse(reversal: Reversal): this;
  tombstone(reference: string): this;
  reply(answer: HttpAnswer): this;
  note(failure: Failure): this;
}

export interface PartnerCall {
  endpoint: string;
  operation: string;
  path: string;
  query: Named[];
  body: Uint8Array;
}

export interface Delivery {
  correlation: string;
  otherwise: HttpAnswer;
  tombstone: string | null;
}
export declare function Delivery(correlation: string, otherwise: HttpAnswer, tombstone?: string | null): Delivery;

/** A flow that a partner begins, under a mandate that the user gave before. */
export interface Opening {
  beginning: "charge" | "withdraw";
  owner: { tag: "wallet" | "link"; val: string };
  amount: Money;
  delivery: Delivery;
}

export type Routing = { tag: "deliver"; val: Delivery } | { tag: "answer"; val: HttpAnswer } | { tag: "begin"; val: Opening };
export declare const Routing: {
  deliver(delivery: Delivery): Routing;
  answer(answer: HttpAnswer): Routing;
  begin(opening: Opening): Routing;
};

export interface ChargeRequest {
  wallet: string;
  amount: Money | null;
  atMost: Money;
  link: Link | null;
  facts: Named[];
}
export interface WithdrawRequest {
  wallet: string;
  amount: Money;
  atMost: Money;
  link: Link | null;
  facts: Named[];
}
export interface LinkRequest {
  wallet: string;
  kind: string;
  link: Link | null;
  mandate: Mandate | null;
  facts: Named[];
}

// Bills, exchange, statements

export interface BillCode {
  source: "bar-code" | "qr" | "typed";
  content: string;
}
export interface Bill {
  biller: string;
  name: string;
  reference: string;
  amount: Money;
  fee: Money;
  due: Instant | null;
  fields: Named[];
}
export interface BillRequest {
  wallet: string;
  code: BillCode;
  bill: Bill;
  atMost: Money;
  link: Link | null;
  facts: Named[];
}
export interface Rate {
  base: string;
  quote: string;
  mid: Decimal;
  at: Instant;
}
export interface QuoteRequest {
  sell: string;
  buy: string;
  amount: Money;
  rates: Rate[];
  facts: Named[];
}
export interface Price {
  base: string;
  quote: string;
  rate: Decimal;
  mid: Decimal;
  fixed: Instant;
  expires: Instant;
}
export interface AccountRow {
  id: string;
  at: Instant;
  kind: string;
  amount: Money;
  balance: number;
  counterpart: string;
  memo: string;
  refersTo: string | null;
}
export interface Account {
  name: string;
  currency: string;
  since: Instant;
  until: Instant;
  opening: number;
  closing: number;
  rows: AccountRow[];
}
export interface SyncRequest {
  wallet: string;
  link: Link;
  account: Account;
  facts: Named[];
}
export interface SettlementLine {
  reference: string;
  side: "credit" | "reversal" | "capture" | "fee";
  amount: Money;
  at: Instant;
}

// Plugins

/** What every plugin may have: its settings as a type of its own, and a judgement of them. */
export interface Plugin<S> {
  /** Reads the settings; without it, `settings` is undefined everywhere. */
  settings?(read: Reader): S;
  /** All that is wrong with settings that each are within the manifest's bounds. */
  checkSettings?(settings: S): Failure[];
}

/** What a plugin with flows may have. */
export interface Flows<S, T> {
  resume(ctx: Context, settings: S, state: T, event: FlowEvent, refused?: Refusal): Step<T>;
  route?(ctx: Context, settings: S, call: PartnerCall): Routing;
  migrateState?(ctx: Context, settings: S, version: string, state: any): T;
}

export interface FraudRule<S> extends Plugin<S> {
  assess(ctx: Context, settings: S, payment: Payment, facts: Values, signals: Signal[]): Answer;
}
export interface MerchantTool<S, T = unknown> extends Plugin<S>, Partial<Flows<S, T>> {
  onEvent(ctx: Context, settings: S, event: ToolEvent, remembered: Remembered[]): Action[];
  rows?(ctx: Context, settings: S, request: TableRequest): { cells: Value[] }[];
}
/** A file that goes out to a partner, as `composeFile` is told. */
export interface OutgoingFile {
  /** Its name in the manifest. */
  file: string;
  /** What it is called in the partner's directory. */
  called: string;
  /** From 1, without gaps. */
  number: number;
  /** The cut-off that it is for, in Unix milliseconds. */
  cutOff: Instant;
}
export interface ChargeChannel<S, T> extends Plugin<S>, Flows<S, T> {
  beginCharge(ctx: Context, settings: S, request: ChargeRequest): Step<T>;
  beginWithdraw?(ctx: Context, settings: S, request: WithdrawRequest): Step<T>;
  beginLinkAccount?(ctx: Context, settings: S, request: LinkRequest): Step<T>;
  composeFile?(ctx: Context, settings: S, file: OutgoingFile, records: [string, Uint8Array][]): Uint8Array;
  parseFile?(ctx: Context, settings: S, file: string, content: Uint8Array): [string, Uint8Array][];
  parseSettlement?(ctx: Context, settings: S, content: Uint8Array): SettlementLine[];
}
export interface BillPayer<S, T> extends Plugin<S>, Flows<S, T> {
  recognise(ctx: Context, settings: S, code: BillCode, facts: Values): Bill | undefined;
  beginPayBill(ctx: Context, settings: S, request: BillRequest): Step<T>;
  beginLinkAccount?(ctx: Context, settings: S, request: LinkRequest): Step<T>;
  parseSettlement?(ctx: Context, settings: S, content: Uint8Array): SettlementLine[];
}
export interface Exchange<S> extends Plugin<S> {
  quote(ctx: Context, settings: S, request: QuoteRequest): Price;
  parseRates(ctx: Context, settings: S, content: Uint8Array): Rate[];
}
export interface BudgetLink<S, T = unknown> extends Plugin<S>, Partial<Flows<S, T>> {
  composeStatement(ctx: Context, settings: S, format: string, account: Account): { name: string; content: Uint8Array };
  beginSync?(ctx: Context, settings: S, request: SyncRequest): Step<T>;
  beginLinkAccount?(ctx: Context, settings: S, request: LinkRequest): Step<T>;
}

/** A plugin, ready to be exported as a file's default. */
export type Made<D> = D & { kind: string };

export declare function fraudRule<S = undefined>(rule: FraudRule<S>): Made<FraudRule<S>>;
export declare function merchantTool<S = undefined, T = unknown>(tool: MerchantTool<S, T>): Made<MerchantTool<S, T>>;
export declare function chargeChannel<S = undefined, T = unknown>(channel: ChargeChannel<S, T>): Made<ChargeChannel<S, T>>;
export declare function billPayer<S = undefined, T = unknown>(payer: BillPayer<S, T>): Made<BillPayer<S, T>>;
export declare function exchange<S = undefined>(exchange: Exchange<S>): Made<Exchange<S>>;
export declare function budgetLink<S = undefined, T = unknown>(link: BudgetLink<S, T>): Made<BudgetLink<S, T>>;

/** Lines for operators, kept with the record of the call. */
export declare const log: {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
};

/** Calendar arithmetic: guests have no clock and no time zones. */
export declare const time: {
  /** The hour of the day in Japan, 0 to 23. */
  jstHour(unixMs: Instant): number;
  /** The day in Japan as `YYYY-MM-DD`. */
  jstDay(unixMs: Instant): string;
  /** The midnight in Japan after this moment. */
  nextJstMidnight(unixMs: Instant): Instant;
  parseRfc3339(text: string): Instant | undefined;
};
