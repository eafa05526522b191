//! Statements as files for accounting programs and household books: OFX in two versions, CSV in the forms of two Japanese household books.

use koban_sdk::statement::{Account, Document};
use koban_sdk::{Context, Failure, Named, Plugin, Reader, Settings, Statement, budget_link, time};

mod csv;
mod money;
mod moneyforward;
mod ofx;
mod sjis;
#[cfg(test)]
mod tests;
mod zaim;

/// The plugin.
pub struct BudgetExport;

budget_link!(BudgetExport);

/// What an operator may set; plugin.toml says what each means.
pub struct Names {
    pub(crate) bank_id: String,
    pub(crate) wallet: String,
    pub(crate) category: String,
}

impl Settings for Names {
    fn read(list: &[Named]) -> Result<Names, Vec<Failure>> {
        let mut read = Reader::of(list);
        let names =
            Names { bank_id: read.one("bank_id"), wallet: read.one("wallet_name"), category: read.one("category") };
        read.finish(names)
    }
}

impl Plugin for BudgetExport {
    type Settings = Names;
}

impl Statement for BudgetExport {
    fn compose(ctx: &Context, names: &Names, format: &str, account: &Account) -> Result<Document, Failure> {
        let (ending, content) = match format {
            "ofx" => ("ofx", ofx::sgml(ctx, names, account).into_bytes()),
            "ofx-2" => ("ofx", ofx::xml(ctx, names, account).into_bytes()),
            "zaim" => ("csv", zaim::write(names, account).into_bytes()),
            "zaim-sjis" => ("csv", sjis::encode(&zaim::write(names, account))),
            "moneyforward" if account.currency == "JPY" => ("csv", sjis::encode(&moneyforward::write(names, account))),
            "moneyforward" => {
                let why = format!("the form of Money Forward ME has no column for {}", account.currency);
                return Err(Failure::new("currency_not_supported", why).text("yen_only"));
            }
            other => {
                return Err(Failure::new("format_unknown", format!("`{other}` is none of the manifest's formats")));
            }
        };
        let day = |at: u64| time::jst(at).date("");
        let (since, until) = (day(account.since), day(account.until.saturating_sub(1)));
        Ok(Document::new(&format!("koban-{}-{since}-{until}.{ending}", account.currency.to_lowercase()), content))
    }
}
