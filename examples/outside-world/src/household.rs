//! A household book that reads OFX: it knows the format from its specification and nothing of who wrote the file.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::vec::IntoIter;

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// TRNTYPE.
    pub kind: String,
    /// DTPOSTED, as it stands there.
    pub posted: String,
    /// TRNAMT in the smallest unit that the file writes.
    pub amount: i64,
    /// FITID.
    pub id: String,
    /// NAME.
    pub name: String,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// CURDEF.
    pub currency: String,
    /// ACCTID.
    pub account: String,
    /// The transactions, in the file's order.
    pub transactions: Vec<Transaction>,
    /// BALAMT of LEDGERBAL.
    pub balance: i64,
}

/// Why a file is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotOfx(String);

impl std::fmt::Display for NotOfx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "this is no OFX 1.0.2: {}", self.0)
    }
}

impl std::error::Error for NotOfx {}

const HEADER: [(&str, &str); 9] = [
    ("OFXHEADER", "100"),
    ("DATA", "OFXSGML"),
    ("VERSION", "102"),
    ("SECURITY", "NONE"),
    ("ENCODING", "UTF-8"),
    ("CHARSET", "NONE"),
    ("COMPRESSION", "NONE"),
    ("OLDFILEUID", "NONE"),
    ("NEWFILEUID", "NONE"),
];

/// An element of SGML: an aggregate that has an end tag, or a value that has none.
#[derive(Debug)]
enum Element {
    Aggregate(String, Vec<Element>),
    Value(String, String),
}

/// Reads an OFX 1.0.2 file whole. Errors: what is wrong, also if transactions share an id.
pub fn read(file: &[u8]) -> Result<Statement, NotOfx> {
    let wrong = |what: &str| NotOfx(what.to_owned());
    let text = std::str::from_utf8(file).map_err(|_| wrong("it is not the UTF-8 that its header promises"))?;
    let (header, body) = text.split_once("\r\n\r\n").ok_or_else(|| wrong("no empty line ends the header"))?;
    let lines: Vec<(&str, &str)> = header.split("\r\n").filter_map(|line| line.split_once(':')).collect();
    if lines != HEADER {
        return Err(NotOfx(format!("its header is {lines:?}")));
    }
    let mut tokens = tokens(body)?.into_iter().peekable();
    let ofx = aggregate(&mut tokens, "OFX")?;
    let status = find(&ofx, &["SIGNONMSGSRSV1", "SONRS", "STATUS"])?;
    if value(status, "CODE")? != "0" {
        return Err(wrong("the server says that it went wrong"));
    }
    let statement = find(&ofx, &["BANKMSGSRSV1", "STMTTRNRS", "STMTRS"])?;
    let mut transactions = Vec::new();
    let mut ids = BTreeSet::new();
    for element in find(statement, &["BANKTRANLIST"])? {
        if let Element::Aggregate(name, parts) = element
            && name == "STMTTRN"
        {
            let id = value(parts, "FITID")?;
            if !ids.insert(id.clone()) {
                return Err(NotOfx(format!("two transactions have the id {id}")));
            }
            transactions.push(Transaction {
                kind: value(parts, "TRNTYPE")?,
                posted: value(parts, "DTPOSTED")?,
                amount: number(&value(parts, "TRNAMT")?)?,
                id,
                name: value(parts, "NAME")?,
            });
        }
    }
    Ok(Statement {
        currency: value(statement, "CURDEF")?,
        account: value(find(statement, &["BANKACCTFROM"])?, "ACCTID")?,
        transactions,
        balance: number(&value(find(statement, &["LEDGERBAL"])?, "BALAMT")?)?,
    })
}

/// Tags, and the text behind each until the next one.
fn tokens(body: &str) -> Result<Vec<(String, String)>, NotOfx> {
    let mut tokens = Vec::new();
    for part in body.split('<').skip(1) {
        let (tag, text) = part.split_once('>').ok_or_else(|| NotOfx(format!("the tag <{part} has no end")))?;
        let text = text.trim().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        tokens.push((tag.to_owned(), text));
    }
    Ok(tokens)
}

type Tokens = Peekable<IntoIter<(String, String)>>;

/// What stands between the tag of this name and its end.
fn aggregate(tokens: &mut Tokens, name: &str) -> Result<Vec<Element>, NotOfx> {
    match tokens.next() {
        Some((tag, text)) if tag == name && text.is_empty() => {}
        other => return Err(NotOfx(format!("<{name}> is expected, and {other:?} stands there"))),
    }
    let mut parts = Vec::new();
    loop {
        match tokens.peek() {
            None => return Err(NotOfx(format!("<{name}> has no end"))),
            Some((tag, _)) if tag.strip_prefix('/') == Some(name) => {
                tokens.next();
                return Ok(parts);
            }
            Some((tag, _)) if tag.starts_with('/') => {
                return Err(NotOfx(format!("<{name}> has no end: <{tag}> stands there")));
            }
            Some((tag, text)) if text.is_empty() => {
                let tag = tag.clone();
                parts.push(Element::Aggregate(tag.clone(), aggregate(tokens, &tag)?));
            }
            Some((tag, text)) => {
                parts.push(Element::Value(tag.clone(), text.clone()));
                tokens.next();
            }
        }
    }
}

fn find<'a>(parts: &'a [Element], path: &[&str]) -> Result<&'a [Element], NotOfx> {
    let Some((first, rest)) = path.split_first() else { return Ok(parts) };
    let inner = parts.iter().find_map(|part| match part {
        Element::Aggregate(name, inner) if name == first => Some(inner),
        _ => None,
    });
    find(inner.ok_or_else(|| NotOfx(format!("<{first}> is missing")))?, rest)
}

fn value(parts: &[Element], name: &str) -> Result<String, NotOfx> {
    let found = parts.iter().find_map(|part| match part {
        Element::Value(known, text) if known == name => Some(text.clone()),
        _ => None,
    });
    found.ok_or_else(|| NotOfx(format!("<{name}> is missing")))
}

fn number(text: &str) -> Result<i64, NotOfx> {
    text.replace('.', "").parse().map_err(|_| NotOfx(format!("`{text}` is no amount")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(transactions: &str) -> String {
        let header: String = HEADER.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
        format!(
            "{header}\r\n<OFX><SIGNONMSGSRSV1><SONRS><STATUS><CODE>0<SEVERITY>INFO</STATUS></SONRS></SIGNONMSGSRSV1>\
             <BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>JPY<BANKACCTFROM><ACCTID>1</BANKACCTFROM><BANKTRANLIST>{transactions}\
             </BANKTRANLIST><LEDGERBAL><BALAMT>-5</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"
        )
    }

    #[test]
    fn a_file_is_read_with_what_its_texts_stand_for() {
        let one = "<STMTTRN><TRNTYPE>POS<DTPOSTED>20180911<TRNAMT>-5<FITID>a<NAME>A &amp; &lt;B&gt;</STMTTRN>";
        let read_back = read(file(one).as_bytes()).unwrap();
        assert_eq!((read_back.balance, read_back.transactions[0].name.as_str()), (-5, "A & <B>"));
        assert!(read(file(&one.repeat(2)).as_bytes()).unwrap_err().to_string().contains("two transactions"));
    }

    #[test]
    fn what_is_not_as_the_format_says_is_named() {
        for (from, to, says) in [
            ("VERSION:102", "VERSION:103", "its header is"),
            ("</STMTRS>", "", "<STMTRS> has no end"),
            ("<BALAMT>-5", "<BALAMT>-5 yen", "is no amount"),
            ("<CURDEF>JPY", "", "<CURDEF> is missing"),
            ("<CODE>0", "<CODE>2000", "went wrong"),
        ] {
            let error = read(file("").replace(from, to).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
