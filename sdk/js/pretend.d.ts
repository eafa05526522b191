// A host for unit tests: it asks a plugin as the real one does, and holds it to the host's rules.

import type { Action, Answer, ChargeRequest, Context, Failure, Instant, Made, Money, Named, Payment, Routing, Signal, Standing, Value, What } from "./index.js";

/** A context at this time, in Unix milliseconds. */
export declare function context(now: Instant, more?: Partial<Context>): Context;
/** Everything that is wrong with these settings. */
export declare function checkSettings(plugin: Made<any>, settings: Named[]): Failure[];
/** Asks a fraud rule about a payment. Throws the plugin's `Failure`, or the host's rule that its answer breaks. */
export declare function assess(
  plugin: Made<any>,
  asked: { now: Instant; settings?: Named[]; payment: Partial<Payment> & { amount: Money }; facts?: Named[]; signals?: Signal[] },
): Answer;

/** One scope with its users, as a merchant tool remembers them. */
export declare class Tool {
  constructor(plugin: Made<any>, settings?: Named[], more?: { scope?: string });
  /** Something happens; the actions that follow are taken and given back. */
  happens(kind: string, event: { now: Instant; user?: string; merchant?: string; amount?: Money; facts?: Named[] }): Action[];
  /** What is remembered about a user, or about the scope when no user is named. */
  remembers(name: string, user?: string): Value["val"] | undefined;
  granted: { user: string; budget: string; minor: number }[];
  reclaimed: string[];
  told: { user: string; text: string }[];
}

/** What the user authorised: so much at most, with these facts. */
export declare function request(atMost: Money, facts?: Named[]): ChargeRequest;

/** A step as the host takes it: the state as bytes. */
export interface Taken {
  state: Uint8Array;
  standing: Standing;
  effects: { key: string; act: { tag: string; val: any } }[];
  proposals: { tag: string; val: any }[];
  reply: { status: number; headers: [string, string][]; body: Uint8Array } | null;
  note: { code: string; message: string; text: string | null; retryable: boolean } | null;
}

/** A flow of one plugin in a pretend host. */
export declare class Flow {
  static begin(plugin: Made<any>, asked: { now: Instant; settings?: Named[]; request: ChargeRequest }): [Flow, Taken];
  readonly standing: Standing;
  /** What the wallet got from this flow, after reversals, in minor units. */
  readonly creditedMinor: number;
  isDead(reference: string): boolean;
  waitMs(milliseconds: number): void;
  /** Makes the ledger refuse the first proposal of the next step that has one, with this outcome. */
  refuseNext(outcome: string): void;
  answer(key: string, status: number, body: unknown): Taken;
  lost(key: string, how: "refused" | "not-sent" | "unknown" | "bad-signature"): Taken;
  ring(key: string): Taken;
  form(key: string, answers: Record<string, string | Value>): Taken;
  askToCancel(): Taken;
  partnerCalls(operation: string, body: unknown): Taken;
  resume(key: string, what: What): Taken;
}

/** Where the plugin would send this call. */
export declare function route(
  plugin: Made<any>,
  asked: { now: Instant; settings?: Named[]; operation: string; body: unknown; endpoint?: string },
): Routing;
