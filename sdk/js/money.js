// Money as the contract has it: whole minor units with a currency, and arithmetic that says when it cannot.

/** Throws unless it is a whole number that JavaScript holds exactly. */
export function whole(value, what = "an amount") {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${what} must be a whole number up to 2^53, not ${String(value)}`);
  return value;
}

export class Money {
  /** So many minor units of a currency: 1280 is 1,280 yen, or 12 dollars and 80 cents. */
  constructor(minor, currency) {
    this.minor = whole(minor);
    this.currency = currency;
  }

  /** So many yen. */
  static yen(minor) {
    return new Money(minor, "JPY");
  }

  /** Whether it is money of this currency. */
  isIn(currency) {
    return this.currency === currency;
  }

  /** The sum; undefined when the currencies differ or the sum is too great. */
  plus(other) {
    return this.#with(other, this.minor + other.minor);
  }

  /** The difference; undefined when the currencies differ or the difference is too great. */
  minus(other) {
    return this.#with(other, this.minor - other.minor);
  }

  /** Whether it is at most the other; false when the currencies differ. */
  isAtMost(other) {
    return this.isIn(other.currency) && this.minor <= other.minor;
  }

  #with(other, minor) {
    return this.isIn(other.currency) && Number.isSafeInteger(minor) ? new Money(minor, this.currency) : undefined;
  }
}
