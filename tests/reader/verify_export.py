#!/usr/bin/env python3
"""Verifies an export of Koban's journal with nothing but docs/reference/encoding.md and Python's standard library.

    verify_export.py journal.jsonl            chain, sums and balances of an export; exit code 1 and the place if they differ
    verify_export.py --vectors encoding.md    the published vectors
"""

import hashlib
import json
import re
import struct
import sys


class Differs(Exception):
    """The first place that is not what it must be."""


def text(value):
    raw = value.encode("utf-8")
    return struct.pack(">H", len(raw)) + raw


def fixed(value, length):
    if len(value) != 2 * length:
        raise Differs(f"{length} bytes are expected where {value} stands")
    return bytes.fromhex(value)


def encode(entry):
    """Canonical bytes, version 1."""
    out = [b"KBN\x01", struct.pack(">q", entry["sequence"]), fixed(entry["id"], 16)]
    out += [struct.pack(">Bq", entry["kind"], entry["at"]), text(entry["actor"])]
    out += [fixed(entry["subject"], 16), fixed(entry["reverses"], 16), struct.pack(">H", len(entry["postings"]))]
    for account, side, amount, currency in entry["postings"]:
        out += [fixed(account, 16), struct.pack(">Bq", side, amount), currency.encode("ascii")]
    out.append(struct.pack(">H", len(entry["records"])))
    out += [fixed(record, 32) for record in entry["records"]]
    out.append(text(entry["meta"]))
    return b"".join(out)


def decode(raw):
    """The fields of canonical bytes."""
    at = 4

    def take(form):
        nonlocal at
        at += struct.calcsize(form)
        return struct.unpack_from(form, raw, at - struct.calcsize(form))[0]

    def items(read):
        return [read() for _ in range(take(">H"))]

    entry = {"sequence": take(">q"), "id": take("16s").hex(), "kind": take(">B"), "at": take(">q")}
    entry["actor"] = take(f"{take('>H')}s").decode("utf-8")
    entry["subject"], entry["reverses"] = take("16s").hex(), take("16s").hex()
    entry["postings"] = items(lambda: [take("16s").hex(), take(">B"), take(">q"), take("3s").decode("ascii")])
    entry["records"] = items(lambda: take("32s").hex())
    return entry | {"meta": take(f"{take('>H')}s").decode("utf-8")}


def check_entry(entry, before, made):
    if entry["sequence"] != before["sequence"] + 1:
        raise Differs(f"entry {before['sequence'] + 1} is missing")
    found = hashlib.sha256(bytes.fromhex(before["hash"]) + encode(entry)).hexdigest()
    if found != entry["hash"]:
        raise Differs(f"entry {entry['sequence']}: its hash does not follow from its content and the entry before it")
    if entry["at"] < before["at"]:
        raise Differs(f"entry {entry['sequence']} lies before the entry before it")
    sums = {}
    for account, side, amount, currency in entry["postings"]:
        if amount <= 0 or not 0 <= side <= 5:
            raise Differs(f"entry {entry['sequence']} has a posting that there cannot be")
        layer, credit = divmod(side, 2)  # layers: 0 posted, 1 reserved, 2 released
        sums[currency, layer] = sums.get((currency, layer), 0) + (-amount if credit else amount)
        of = made.setdefault(account, {"currency": currency, "sums": [0, 0, 0, 0]})
        if of["currency"] != currency:
            raise Differs(f"entry {entry['sequence']} posts to an account in another currency")
        of["sums"][credit if layer == 0 else 2 + credit] += -amount if layer == 2 else amount
    if any(sums.values()):
        raise Differs(f"entry {entry['sequence']} does not sum to zero")


def check_account(line, made):
    key = b"koban account 1" + bytes([line["class"]]) + fixed(line["owner"], 16) + line["currency"].encode("ascii")
    if hashlib.sha256(key).hexdigest()[:32] != line["id"]:
        raise Differs(f"account {line['id']} does not follow from its class, owner and currency")
    stored = [line[name] for name in ("debits_posted", "credits_posted", "debits_pending", "credits_pending")]
    of = made.pop(line["id"], {"currency": line["currency"], "sums": [0, 0, 0, 0]})
    if of != {"currency": line["currency"], "sums": stored}:
        raise Differs(f"account {line['id']} says {stored}, the entries make {of['sums']}")


def verify(lines):
    head, counts, ended, made = None, {"entry": 0, "account": 0}, False, {}
    before = {"sequence": 0, "hash": "00" * 32, "at": 0}
    for number, raw in enumerate(lines, 1):
        line = json.loads(raw)
        kind = line["type"]
        if ended or (head is None) != (kind == "head"):
            raise Differs(f"line {number} stands where it must not")
        if kind == "head" and line["version"] == 1:
            head = line
        elif kind == "entry" and not counts["account"]:
            check_entry(line, before, made)
            before = line
        elif head is None or any(before[field] != head[field] for field in ("sequence", "hash")):
            raise Differs(f"line {number}: the entries end at {before['sequence']}, the head says otherwise")
        elif kind == "account":
            check_account(line, made)
        elif kind == "end":
            if (line["entries"], line["accounts"]) != (counts["entry"], counts["account"]):
                raise Differs("the last line counts other entries or accounts than there are")
            ended = True
        else:
            raise Differs(f"line {number} is of the kind {kind}, which must not stand there")
        if kind in counts:
            counts[kind] += 1
    if not ended or any(any(of["sums"]) for of in made.values()):
        raise Differs("the export was cut off, or an account is not listed")
    return f"clean: {counts['entry']} entries, {counts['account']} accounts, head {head['hash']}"


def verify_vectors(page):
    before, found = "00" * 32, dict(re.findall(r"^(entry \d+ (?:bytes|hash)) +([0-9a-f]+)$", page, re.M))
    if len(found) < 12:
        raise Differs("the page has no vectors")
    for sequence in range(1, len(found) // 2 + 1):
        raw = bytes.fromhex(found[f"entry {sequence} bytes"])
        if encode(decode(raw)) != raw:
            raise Differs(f"entry {sequence} is not encoded as it is decoded")
        before = hashlib.sha256(bytes.fromhex(before) + raw).hexdigest()
        if before != found[f"entry {sequence} hash"]:
            raise Differs(f"entry {sequence} has another hash than its bytes make")
    return f"{len(found) // 2} vectors hold"


def main(arguments):
    try:
        with open(arguments[-1], encoding="utf-8") as file:
            print(verify_vectors(file.read()) if arguments[0] == "--vectors" else verify(file))
    except (Differs, KeyError, ValueError, TypeError, AttributeError, struct.error) as error:
        return f"DIFFERENT: {error if isinstance(error, Differs) else repr(error)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
