// What a fraud rule says.

/** What shall be done with a payment. */
export const Verdict = Object.freeze({ Allow: "allow", StepUp: "step-up", Review: "review", Decline: "decline" });

const SCORE_MAX = 1000;

export class Answer {
  /** A verdict with a score of 0 to 1000 (a greater one counts as 1000). */
  constructor(verdict, score) {
    this.verdict = verdict;
    this.score = Math.min(score, SCORE_MAX);
    this.reasons = [];
  }

  /** Nothing suspicious. */
  static allow() {
    return new Answer(Verdict.Allow, 0);
  }

  /** No, with the highest score. */
  static decline() {
    return new Answer(Verdict.Decline, SCORE_MAX);
  }

  /** With a reason: one of the manifest's codes, and how much it weighed. */
  because(code, weight) {
    this.reasons.push({ code, weight });
    return this;
  }
}
