//! OFX 1.0.2, which is SGML, and OFX 2.2, which is XML: the same elements in the same order, with and without end tags.

use std::fmt::Write as _;

use koban_sdk::statement::{Account, Row};
use koban_sdk::{Context, time};

use crate::Names;
use crate::money::decimal;

/// Common readers take Japanese text under these two words, and under no others.
const SGML_HEADER: &str = "OFXHEADER:100\r\nDATA:OFXSGML\r\nVERSION:102\r\nSECURITY:NONE\r\nENCODING:UTF-8\r\nCHARSET:NONE\r\n\
    COMPRESSION:NONE\r\nOLDFILEUID:NONE\r\nNEWFILEUID:NONE\r\n\r\n";
const XML_HEADER: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\r\n\
    <?OFX OFXHEADER=\"200\" VERSION=\"220\" SECURITY=\"NONE\" OLDFILEUID=\"NONE\" NEWFILEUID=\"NONE\"?>\r\n";

/// Longest texts of the format, in characters.
const ACCTID_MAX: usize = 22;
const NAME_MAX: usize = 32;
const MEMO_MAX: usize = 255;

/// OFX 1.0.2.
pub(crate) fn sgml(ctx: &Context, names: &Names, account: &Account) -> String {
    written(Ofx { out: SGML_HEADER.to_owned(), ends: false }, ctx, names, account)
}

/// OFX 2.2.
pub(crate) fn xml(ctx: &Context, names: &Names, account: &Account) -> String {
    written(Ofx { out: XML_HEADER.to_owned(), ends: true }, ctx, names, account)
}

struct Ofx {
    out: String,
    /// Whether elements have end tags.
    ends: bool,
}

impl Ofx {
    fn open(&mut self, tag: &str) {
        let _ = write!(self.out, "<{tag}>\r\n");
    }

    fn close(&mut self, tag: &str) {
        let _ = write!(self.out, "</{tag}>\r\n");
    }

    fn element(&mut self, tag: &str, text: &str) {
        let _ = write!(self.out, "<{tag}>{}", escaped(text));
        if self.ends {
            let _ = write!(self.out, "</{tag}>");
        }
        self.out.push_str("\r\n");
    }

    fn status(&mut self) {
        self.open("STATUS");
        self.element("CODE", "0");
        self.element("SEVERITY", "INFO");
        self.close("STATUS");
    }
}

fn written(mut ofx: Ofx, ctx: &Context, names: &Names, account: &Account) -> String {
    let currency = account.currency.as_str();
    ofx.open("OFX");
    ofx.open("SIGNONMSGSRSV1");
    ofx.open("SONRS");
    ofx.status();
    ofx.element("DTSERVER", &moment(ctx.now));
    ofx.element("LANGUAGE", "JPN");
    ofx.close("SONRS");
    ofx.close("SIGNONMSGSRSV1");
    ofx.open("BANKMSGSRSV1");
    ofx.open("STMTTRNRS");
    ofx.element("TRNUID", "0");
    ofx.status();
    ofx.open("STMTRS");
    ofx.element("CURDEF", currency);
    ofx.open("BANKACCTFROM");
    ofx.element("BANKID", &names.bank_id);
    ofx.element("ACCTID", &cut(&account.name, ACCTID_MAX));
    ofx.element("ACCTTYPE", "SAVINGS");
    ofx.close("BANKACCTFROM");
    ofx.open("BANKTRANLIST");
    ofx.element("DTSTART", &moment(account.since));
    ofx.element("DTEND", &moment(account.until));
    for row in &account.rows {
        transaction(&mut ofx, row, currency);
    }
    ofx.close("BANKTRANLIST");
    ofx.open("LEDGERBAL");
    ofx.element("BALAMT", &decimal(account.closing, currency));
    ofx.element("DTASOF", &moment(account.until.min(ctx.now)));
    ofx.close("LEDGERBAL");
    ofx.close("STMTRS");
    ofx.close("STMTTRNRS");
    ofx.close("BANKMSGSRSV1");
    ofx.close("OFX");
    ofx.out
}

fn transaction(ofx: &mut Ofx, row: &Row, currency: &str) {
    ofx.open("STMTTRN");
    ofx.element("TRNTYPE", kind(row));
    ofx.element("DTPOSTED", &moment(row.at));
    ofx.element("TRNAMT", &decimal(row.amount.minor, currency));
    ofx.element("FITID", &row.id);
    let name = if row.counterpart.trim().is_empty() { words(&row.kind) } else { row.counterpart.as_str() };
    ofx.element("NAME", &cut(name, NAME_MAX));
    if !row.memo.trim().is_empty() {
        ofx.element("MEMO", &cut(&row.memo, MEMO_MAX));
    }
    ofx.close("STMTTRN");
}

/// The sort of a transaction, of those that both versions know.
fn kind(row: &Row) -> &'static str {
    match row.kind.as_str() {
        "payment" => "POS",
        "bill" => "DIRECTDEBIT",
        "transfer" | "withdrawal" | "exchange" => "XFER",
        "fee" => "FEE",
        "charge" | "refund" | "bonus" if row.amount.minor >= 0 => "CREDIT",
        "charge" | "refund" | "bonus" => "DEBIT",
        _ => "OTHER",
    }
}

/// What a row is called that has no counterpart.
pub(crate) fn words(kind: &str) -> &'static str {
    match kind {
        "charge" => "チャージ",
        "payment" => "支払い",
        "refund" => "返金",
        "transfer" => "送金",
        "exchange" => "両替",
        "withdrawal" => "出金",
        "bill" => "請求書払い",
        "bonus" => "ボーナス",
        "fee" => "手数料",
        "adjustment" => "訂正",
        _ => "その他",
    }
}

/// `YYYYMMDDHHMMSS[+9:JST]`.
fn moment(at: u64) -> String {
    let jst = time::jst(at);
    format!("{}{:02}{:02}{:02}[+9:JST]", jst.date(""), jst.hour, jst.minute, jst.second)
}

/// One line without the signs that would be read as tags.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// At most so many characters.
fn cut(text: &str, characters_max: usize) -> String {
    text.trim().chars().take(characters_max).collect()
}
