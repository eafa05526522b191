#!/usr/bin/env python3
"""Reads Koban's records of guest calls with nothing but docs/reference/records.md and Python's standard library.

    read_records.py pages.jsonl             chain and contents of all pages; exit code 1 and the place if they differ
    read_records.py --vectors records.md    the published vectors

A line of pages.jsonl is a row of record_pages: sequence, page, contents (or null) and hash, bytes in hexadecimal.
"""

import hashlib
import json
import sys

FUNCTIONS_OF_RULES = "assess.assess"
VERDICTS = ["allow", "step-up", "review", "decline"]


class Differs(Exception):
    """The first place that is not what it must be."""


def digest_of(*parts):
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.digest()


def unpack(block):
    """An lz4 block behind its unpacked length."""
    size, data, at, out = int.from_bytes(block[:4], "little"), block[4:], 0, bytearray()

    def length(start):
        nonlocal at
        total = start
        while start == 15:
            total += data[at]
            at += 1
            if data[at - 1] != 255:
                break
        return total

    while at < len(data):
        token = data[at]
        at += 1
        literals = length(token >> 4)
        out += data[at : at + literals]
        at += literals
        if at >= len(data):
            break
        offset = data[at] | data[at + 1] << 8
        at += 2
        match = length(token & 15) + 4
        begin = len(out) - offset
        for place in range(begin, begin + match):
            out.append(out[place])
    if len(out) != size:
        raise Differs("a page is not as long as it says")
    return bytes(out)


class Postcard:
    def __init__(self, data):
        self.data, self.at = data, 0

    def unsigned(self):
        number = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def signed(self):
        number = self.unsigned()
        return number >> 1 if number & 1 == 0 else -(number >> 1) - 1

    def fixed(self, count):
        self.at += count
        return self.data[self.at - count : self.at]

    def bytes(self):
        return self.fixed(self.unsigned())

    def text(self):
        return self.bytes().decode("utf-8")

    def list(self, read):
        return [read() for _ in range(self.unsigned())]

    def option(self, read):
        return read() if self.unsigned() == 1 else None


def head(raw):
    """The fields of version 2."""
    if raw[0] != 2:
        raise Differs(f"a record has version {raw[0]}")
    read = Postcard(raw[1:])
    fields = {"id": read.fixed(16).hex(), "at": read.signed(), "plugin": read.text(), "function": read.text()}
    fields["beside"] = read.fixed(16).hex() if read.unsigned() == 1 else None
    about = read.option(lambda: read.fixed(16).hex())
    fields |= {"about": about, "component": read.fixed(32), "contract": read.text(), "engine": read.text()}
    fields |= {"settings": read.fixed(32), "grants": read.fixed(32), "content": read.fixed(32)}
    fields["holds"] = read.list(read.text)
    kind = read.unsigned()
    outcomes = [lambda: "answered", lambda: (VERDICTS[read.unsigned()], read.unsigned()), read.text, read.unsigned]
    fields["outcome"] = outcomes[kind]()
    fields["fuel"] = read.unsigned()
    if read.at != len(read.data):
        raise Differs(f"something follows the record {fields['id']}")
    return fields


def value(read):
    kinds = [read.text, read.signed, lambda: (read.signed(), read.text()), lambda: (read.signed(), read.fixed(1)[0])]
    kinds += [lambda: read.fixed(1)[0] == 1, read.unsigned, read.text]
    return kinds[read.unsigned()]()


def assessment(content):
    """What a rule was asked about, and what it answered; none if it gave no verdict."""
    read = Postcard(content)
    asked = {"scope": read.text(), "now": read.unsigned(), "seed": read.unsigned(), "locale": read.text()}
    if read.unsigned() != 2:
        raise Differs("the content is not of a rule")
    asked |= {"payment": read.text(), "kind": read.text(), "amount": read.signed(), "currency": read.text()}
    asked["at"] = read.unsigned()
    asked["facts"] = read.list(lambda: (read.text(), value(read)))
    signal = lambda: (read.text(), read.unsigned(), read.unsigned(), read.signed(), read.text())
    asked["signals"] = read.list(signal)
    read.list(lambda: (read.fixed(1), read.text()))
    if (read.unsigned(), read.unsigned()) != (0, 2):
        return None
    asked["verdict"], asked["score"] = VERDICTS[read.unsigned()], read.unsigned()
    asked["reasons"] = read.list(lambda: (read.text(), read.unsigned()))
    return asked


def records(lines):
    """Every record in order, head and content (none if it was erased), with the chain checked on the way."""
    before, sequence = bytes(32), 0
    for line in lines:
        row, sequence = json.loads(line), sequence + 1
        if row["sequence"] != sequence:
            raise Differs(f"page {sequence} is missing")
        read = Postcard(unpack(bytes.fromhex(row["page"])))
        heads = read.list(lambda: (read.text(), read.bytes()))
        contents = [None] * len(heads)
        if row["contents"] is not None:
            inner = Postcard(unpack(bytes.fromhex(row["contents"])))
            contents = inner.list(lambda: inner.option(lambda: (inner.fixed(16), inner.bytes())))
        for (named, raw), content in zip(heads, contents, strict=True):
            fields = head(raw)
            if named != "dec_" + fields["id"]:
                raise Differs(f"the record {named} says that it is {fields['id']}")
            if content and digest_of(b"koban record content 1", *content) != fields["content"]:
                raise Differs(f"the record {named} has another content")
            before = digest_of(b"koban record 2", before, hashlib.sha256(raw).digest())
            yield fields, content[1] if content else None
        if before.hex() != row["hash"]:
            raise Differs(f"page {sequence} has a hash that does not follow")


def vectors(path):
    with open(path, encoding="utf-8") as page:
        named = dict(line.split() for line in page if line.split()[:1] and line.split()[0] in
                     ("content", "content-digest", "head", "digest", "link") and len(line.split()) == 2)
    content, raw = bytes.fromhex(named["content"]), bytes.fromhex(named["head"])
    fields, asked = head(raw), assessment(content)
    digest = hashlib.sha256(raw).digest()
    found = [digest_of(b"koban record content 1", bytes([9] * 16), content).hex(), fields["content"].hex(), digest.hex()]
    found.append(digest_of(b"koban record 2", bytes(32), digest).hex())
    if found != [named["content-digest"], named["content-digest"], named["digest"], named["link"]]:
        raise Differs("the published vectors")
    said = (fields["plugin"], fields["outcome"], asked["amount"], asked["verdict"], asked["reasons"], asked["facts"])
    facts = [("payee.first_time", True), ("device.id", "phone")]
    if said != ("fraud-rules", ("step-up", 400), 60_000, "step-up", [("amount_high", 400)], facts):
        raise Differs(f"the published call: {said}")


def main(arguments):
    try:
        if arguments[0] == "--vectors":
            vectors(arguments[1])
            print("clean: the published vectors")
            return 0
        with open(arguments[0], encoding="utf-8") as lines:
            all_of_them = list(records(lines))
        erased = sum(content is None for _, content in all_of_them)
        print(f"clean: {len(all_of_them)} records, {erased} erased")
        return 0
    except Differs as place:
        print(f"DIFFERS: {place}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
