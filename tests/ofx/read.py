"""Reads a statement from standard input as JSON: OFX 1.0.2 with ofxparse, OFX 2.2 with Python's own XML."""

import io
import json
import sys
from xml.etree import ElementTree

from ofxparse import OfxParser


def sgml(file):
    account = OfxParser.parse(io.BytesIO(file), fail_fast=True).account
    lines = [(line.id, line.type.upper(), str(line.amount), line.payee, line.memo) for line in account.statement.transactions]
    return account.account_id, account.statement.currency.upper(), str(account.statement.balance), lines


def xml(file):
    found = ElementTree.fromstring(file).find("BANKMSGSRSV1/STMTTRNRS/STMTRS")
    fields = ("FITID", "TRNTYPE", "TRNAMT", "NAME", "MEMO")
    lines = [tuple(line.findtext(field, "") for field in fields) for line in found.iter("STMTTRN")]
    return found.findtext("BANKACCTFROM/ACCTID"), found.findtext("CURDEF"), found.findtext("LEDGERBAL/BALAMT"), lines


file = sys.stdin.buffer.read()
if file.startswith(b"{"):
    sys.exit(f"no file: {file}")
account, currency, balance, lines = (xml if file.startswith(b"<?xml") else sgml)(file)
print(json.dumps({"account": account, "currency": currency, "balance": balance, "lines": lines}))
