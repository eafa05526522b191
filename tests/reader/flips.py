#!/usr/bin/env python3
"""Which decisions of fraud-rules would flip under another `amount_high`, worked out from the records alone: no guest is called.

    flips.py pages.jsonl AMOUNT_HIGH AMOUNT_LIMIT FROM_MS TO_MS    one line for each flip: id, was, would be
"""

import sys

from read_records import FUNCTIONS_OF_RULES, assessment, records


def verdict(score):
    """The bands that plugin.toml gives by default."""
    return "decline" if score >= 900 else "review" if score >= 600 else "step-up" if score >= 300 else "allow"


def main(path, high, limit, from_ms, to_ms):
    with open(path, encoding="utf-8") as lines:
        for head, content in records(lines):
            is_meant = head["plugin"] == "fraud-rules" and head["function"] == FUNCTIONS_OF_RULES
            if not is_meant or head["beside"] or content is None or not from_ms <= head["at"] < to_ms:
                continue
            asked = assessment(content)
            others = sum(weight for code, weight in asked["reasons"] if code not in ("amount_high", "amount_over_limit"))
            by_amount = 1000 if asked["amount"] > limit else 400 if asked["amount"] > high else 0
            would = verdict(min(1000, others + by_amount))
            if would != asked["verdict"]:
                print(f"dec_{head['id']} {asked['verdict']} {would}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
