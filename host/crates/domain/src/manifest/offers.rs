//! What a plugin offers beside calls and proposals: links that last, formats of statements, events it hears, budgets it grants from, tables it fills.

use serde::{Deserialize, Serialize};

use super::{CredentialKind, Kind, Manifest, ManifestError, Words, unique, wrong};
use crate::events::{CATALOGUE, TEST};

/// A kind of link that the plugin's flows may save.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// Unique in the manifest.
    pub name: String,
    /// What the user is asked to agree to, by language.
    pub about: Words,
    /// The longest that a link lasts before the user must link again, in days: 1 to 3,660.
    pub days_max: u32,
    /// Whether the user may agree to flows that begin without them, within caps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mandate: bool,
}

/// A format in which the plugin writes statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatSpec {
    /// Unique in the manifest.
    pub name: String,
    /// What the host sends it as, such as `text/csv; charset=utf-8`.
    pub media_type: String,
    /// What it is good for, by language.
    pub about: Words,
}

/// A budget that the plugin grants bonuses from. The operator binds it to one of the platform's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    /// Unique in the manifest.
    pub name: String,
    /// What it is for, by language.
    pub about: Words,
}

/// A page of the console that the plugin fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Unique in the manifest.
    pub name: String,
    /// The page's title, by language.
    pub about: Words,
    /// Its columns, 1 to 20.
    pub columns: Vec<ColumnSpec>,
}

/// A column of such a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSpec {
    /// Unique in the table.
    pub name: String,
    /// Its heading, by language.
    pub about: Words,
}

/// Most columns of a table.
const COLUMNS_MAX: usize = 20;
/// Longest validity of a link in days.
const DAYS_MAX: u32 = 3_660;
const MEDIA_TYPE_BYTES_MAX: usize = 100;

/// Everything that is wrong with what the plugin offers.
pub(super) fn check(manifest: &Manifest, errors: &mut Vec<ManifestError>) {
    unique("links", manifest.links.iter().map(|link| link.name.as_str()), errors);
    unique("formats", manifest.formats.iter().map(|format| format.name.as_str()), errors);
    unique("budgets", manifest.budgets.iter().map(|budget| budget.name.as_str()), errors);
    unique("tables", manifest.tables.iter().map(|table| table.name.as_str()), errors);
    for link in manifest.links.iter().filter(|link| !(1..=DAYS_MAX).contains(&link.days_max)) {
        errors.push(wrong(format!("links.{}", link.name), format!("`days_max` is 1 to {DAYS_MAX}")));
    }
    for format in &manifest.formats {
        let printable = |byte: u8| (b' '..=b'~').contains(&byte);
        let plain = format.media_type.contains('/') && format.media_type.bytes().all(printable);
        if !plain || format.media_type.len() > MEDIA_TYPE_BYTES_MAX {
            let problem = format!("`media_type` is such as `text/csv`, in at most {MEDIA_TYPE_BYTES_MAX} bytes");
            errors.push(wrong(format!("formats.{}", format.name), problem));
        }
    }
    for table in &manifest.tables {
        let place = format!("tables.{}.columns", table.name);
        unique(&place, table.columns.iter().map(|column| column.name.as_str()), errors);
        if table.columns.is_empty() || table.columns.len() > COLUMNS_MAX {
            errors.push(wrong(place, format!("name 1 to {COLUMNS_MAX} columns")));
        }
    }
    let kind = manifest.kind;
    // What is offered, to which kinds it belongs, and whether they need it.
    let rows: [(&str, usize, &[Kind], bool); 5] = [
        ("links", manifest.links.len(), &[Kind::ChargeChannel, Kind::BillPayer, Kind::BudgetLink], false),
        ("formats", manifest.formats.len(), &[Kind::BudgetLink], true),
        ("events", manifest.events.len(), &[Kind::MerchantTool], true),
        ("budgets", manifest.budgets.len(), &[Kind::MerchantTool], false),
        ("tables", manifest.tables.len(), &[Kind::MerchantTool], false),
    ];
    for (field, given, kinds, needed) in rows {
        if given > 0 && !kinds.contains(&kind) {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
            errors.push(wrong(field, format!("only a {} has these; take them out", kinds.join(" or a "))));
        }
        if given == 0 && needed && kinds.contains(&kind) {
            errors.push(wrong(field, format!("a {} names at least one", kind.word())));
        }
    }
    for event in &manifest.events {
        if !CATALOGUE.iter().any(|known| known.name == event && event != TEST) {
            errors.push(wrong("events", format!("`{event}` is not in the catalogue (docs/reference/events.md)")));
        }
    }
    for endpoint in manifest.endpoints.iter().filter(|endpoint| endpoint.credential == CredentialKind::None) {
        let feeds_only = endpoint.operations.iter().all(|operation| operation.feed_every_s.is_some());
        if !feeds_only || !endpoint.inbound.is_empty() {
            let problem = "`none` is for feeds alone: a flow needs partners who prove who they are";
            errors.push(wrong(format!("endpoints.{}.credential", endpoint.name), problem));
        }
    }
    let feeds = manifest.feeds().count();
    match kind {
        Kind::Exchange if feeds != 1 => {
            errors.push(wrong("endpoints", "an exchange has exactly one operation with `feed_every_s`"));
        }
        Kind::Exchange => {}
        _ if feeds > 0 => errors.push(wrong("endpoints", "only an exchange has an operation with `feed_every_s`")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{EndpointSpec, EngineKind, Method, OperationSpec, Repeat};

    fn words() -> Words {
        Words { ja: "あ".into(), en: "a".into() }
    }

    fn manifest(kind: Kind) -> Manifest {
        Manifest {
            id: "some-plugin".into(),
            version: "1.0.0".into(),
            contract: crate::guest::CONTRACT.into(),
            kind,
            engine: EngineKind::Native,
            name: words(),
            purpose: words(),
            settings: vec![],
            facts: vec![],
            signals: vec![],
            endpoints: vec![],
            directories: vec![],
            proposals: [].into(),
            codes: vec![],
            texts: [].into(),
            links: vec![],
            formats: vec![],
            events: vec![],
            budgets: vec![],
            tables: vec![],
        }
    }

    fn feed(credential: CredentialKind, feed_every_s: Option<u32>) -> EndpointSpec {
        let operation = OperationSpec {
            name: "daily".into(),
            method: Method::Get,
            path: "/daily.xml".into(),
            repeat: Repeat::Safe,
            timeout_s: 5,
            deadline_s: 60,
            feed_every_s,
            content_type: None,
            probe: false,
        };
        EndpointSpec {
            name: "bank".into(),
            credential,
            headers: vec![],
            hmac: None,
            oauth: None,
            operations: vec![operation],
            inbound: vec![],
        }
    }

    fn places(manifest: &Manifest) -> Vec<String> {
        manifest.check().into_iter().map(|error| error.to_string()).collect()
    }

    #[test]
    fn what_a_kind_needs_is_named_when_it_is_missing() {
        assert_eq!(places(&manifest(Kind::BudgetLink)), ["formats: a budget-link names at least one"]);
        assert_eq!(places(&manifest(Kind::MerchantTool)), ["events: a merchant-tool names at least one"]);
        let feedless = places(&manifest(Kind::Exchange));
        assert_eq!(feedless, ["endpoints: an exchange has exactly one operation with `feed_every_s`"]);
        let exchange =
            Manifest { endpoints: vec![feed(CredentialKind::None, Some(3_600))], ..manifest(Kind::Exchange) };
        assert_eq!(places(&exchange), Vec::<String>::new());
    }

    #[test]
    fn what_a_kind_does_not_have_is_refused() {
        let link = LinkSpec { name: "account".into(), about: words(), days_max: 0, mandate: true };
        let rule =
            Manifest { links: vec![link.clone()], events: vec!["payment.gone".into()], ..manifest(Kind::FraudRule) };
        assert_eq!(
            places(&rule),
            [
                "links.account: `days_max` is 1 to 3660",
                "links: only a charge-channel or a bill-payer or a budget-link has these; take them out",
                "events: only a merchant-tool has these; take them out",
                "events: `payment.gone` is not in the catalogue (docs/reference/events.md)",
            ]
        );
        let channel = Manifest { links: vec![LinkSpec { days_max: 365, ..link }], ..manifest(Kind::ChargeChannel) };
        assert_eq!(places(&channel), Vec::<String>::new());
    }

    #[test]
    fn an_endpoint_without_credential_serves_feeds_alone() {
        let open = Manifest { endpoints: vec![feed(CredentialKind::None, None)], ..manifest(Kind::ChargeChannel) };
        assert_eq!(
            places(&open),
            ["endpoints.bank.credential: `none` is for feeds alone: a flow needs partners who prove who they are"]
        );
        let often = Manifest { endpoints: vec![feed(CredentialKind::None, Some(59))], ..manifest(Kind::Exchange) };
        assert_eq!(places(&often), ["endpoints.bank.operations.daily: `feed_every_s` is 60 to 86400"]);
    }

    #[test]
    fn a_table_has_columns_with_names_of_their_own() {
        let column = ColumnSpec { name: "stamps".into(), about: words() };
        let table = |columns| TableSpec { name: "cards".into(), about: words(), columns };
        let tool = |columns| Manifest {
            events: vec!["payment.captured".into()],
            tables: vec![table(columns)],
            ..manifest(Kind::MerchantTool)
        };
        assert_eq!(places(&tool(vec![column.clone()])), Vec::<String>::new());
        assert_eq!(places(&tool(vec![])), ["tables.cards.columns: name 1 to 20 columns"]);
        let twice = places(&tool(vec![column.clone(), column]));
        assert_eq!(twice, ["tables.cards.columns.stamps: stands there twice"]);
    }
}
