//! What a plugin asks for: the serde image of `plugin.toml`, checked as far as it can be without the component.
//!
//! docs/reference/manifest.md documents every field. Author reads the TOML, service stores the same value as JSON.

mod credentials;
mod directories;
mod engine;
mod facts;
mod inbound;
mod kinds;
mod offers;
mod settings;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::guest::Named;
pub use credentials::{
    ClientShown, CredentialKind, DigestHash, DigestSpec, Hash, HmacSpec, OauthSpec, Part, Piece, SecretForm, Signing,
    TimeForm, Writing, is_credential_header, pieces,
};
pub use directories::{DirectorySpec, IncomingSpec, OutgoingSpec, is_file_name};
pub use engine::EngineKind;
pub use facts::{FACTS, Fact, fact};
pub use inbound::InboundSpec;
pub use kinds::{BEGINS_FLOWS, Beginning, Kind, NOT_DRIVEN, ProposalKind};
pub use offers::{BudgetSpec, ColumnSpec, FormatSpec, LinkSpec, TableSpec};
pub use settings::{Setting, SettingDefault, SettingKind};

/// A plugin's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `[a-z0-9-]`, 3 to 40 characters, unique on the platform.
    pub id: String,
    /// Semantic version.
    pub version: String,
    /// The contract it is built against: `koban:plugin@0.1.0`.
    pub contract: String,
    /// What sort of plugin it is.
    pub kind: Kind,
    /// Which of the host's two engines runs it; native unless it says otherwise.
    #[serde(default, skip_serializing_if = "EngineKind::is_native")]
    pub engine: EngineKind,
    /// What it is called, by language.
    pub name: Words,
    /// What it is for, in plain words, by language.
    pub purpose: Words,
    /// What an operator may set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
    /// The facts it asks for, from the published catalogue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
    /// The windowed counters it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<SignalSpec>,
    /// The partners it talks to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointSpec>,
    /// The directories it shares with partners that work in batches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<DirectorySpec>,
    /// Which proposals about money each beginning may make.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub proposals: BTreeMap<Beginning, BTreeSet<ProposalKind>>,
    /// Codes that its failures and reasons may carry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<CodeSpec>,
    /// What users are shown, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, Words>,
    /// The kinds of links that its flows may save.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkSpec>,
    /// The formats in which it writes statements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<FormatSpec>,
    /// The events that it hears, from the catalogue of events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// The budgets that it grants bonuses from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetSpec>,
    /// The pages of the console that it fills.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableSpec>,
}

/// A text in the two languages of the house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Japanese.
    pub ja: String,
    /// English.
    pub en: String,
}

/// A counter over a window, kept by the host in the payment's own commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalSpec {
    /// The name under which the plugin gets it.
    pub name: String,
    /// Whose payments are counted.
    pub subject: Subject,
    /// The window in seconds: 60 to 86,400. Counted in minutes up to an hour, in hours beyond.
    pub window_s: u32,
}

/// Whose payments a signal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The payer's.
    User,
    /// The merchant's.
    Merchant,
    /// Those made with the same device.
    Device,
}

/// A partner, with what is asked of it and what it may ask of us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// Unique in the manifest. The operator gives base address and secret under this name.
    pub name: String,
    /// How both sides prove who they are.
    pub credential: CredentialKind,
    /// The headers that carry secrets, in lower case; for `header` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// What is signed and where the signature stands; for `hmac` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<HmacSpec>,
    /// What the OAuth server is asked for; for `oauth-client` and `oauth-user` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OauthSpec>,
    /// What the plugin may ask of the partner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OperationSpec>,
    /// What the partner may ask of the plugin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inbound: Vec<InboundSpec>,
}

/// An operation that the plugin may ask of a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationSpec {
    /// Unique in the endpoint.
    pub name: String,
    /// The HTTP method.
    pub method: Method,
    /// Appended to the endpoint's base address; begins with `/`.
    pub path: String,
    /// Whether the host may repeat it when no answer came.
    pub repeat: Repeat,
    /// How long one attempt may take, in seconds (1 to 60).
    pub timeout_s: u32,
    /// How long attempts may go on, in seconds (1 to 86,400).
    pub deadline_s: u32,
    /// Set for a feed: the host asks for it by itself, so many seconds apart (60 to 86,400), and gives the answer to `rates`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed_every_s: Option<u32>,
    /// The media type of the body; told from the body unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// It changes nothing at the partner: `koban plugin endpoint test` may call it, without a body.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
}

/// Whether an operation may be asked again when no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// The partner does it once however often it is asked with the same idempotency key.
    Safe,
    /// A lost answer is `unknown` at once.
    Never,
}

/// A code that a plugin's failures or reasons may carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeSpec {
    /// `snake_case`.
    pub code: String,
    /// What it means, by language.
    pub about: Words,
}

/// What is wrong with a manifest or with settings, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ManifestError {
    /// The field, such as `settings.night_from`.
    pub place: String,
    /// What is wrong and what to write instead.
    pub problem: String,
}

fn wrong(place: impl Into<String>, problem: impl Into<String>) -> ManifestError {
    ManifestError { place: place.into(), problem: problem.into() }
}

/// What no plugin's id begins with: who reads a log or a list must not take a plugin for the platform.
const RESERVED: &str = "koban";
/// Most items of any list in a manifest.
const LIST_MAX: usize = 200;

impl Manifest {
    /// Everything that is wrong with the manifest as such; an empty list means that it can be used.
    pub fn check(&self) -> Vec<ManifestError> {
        let mut errors = Vec::new();
        if !is_plugin_id(&self.id) {
            errors.push(wrong("id", "use 3 to 40 of a-z, 0-9 and `-`, beginning with a letter"));
        }
        if self.id.starts_with(RESERVED) {
            errors.push(wrong("id", format!("`{RESERVED}…` is what the platform calls its own: choose another name")));
        }
        if !is_version(&self.version) {
            errors.push(wrong("version", "use three numbers such as 1.0.0"));
        }
        if self.contract != crate::guest::CONTRACT {
            errors.push(wrong("contract", format!("this host speaks {}", crate::guest::CONTRACT)));
        }
        words::check(self, &mut errors);
        self.check_settings_declared(&mut errors);
        for fact in &self.facts {
            if facts::fact(fact).is_none() {
                errors.push(wrong("facts", format!("`{fact}` is not in the catalogue (docs/reference/facts.md)")));
            }
        }
        for signal in &self.signals {
            if !(60..=86_400).contains(&signal.window_s) {
                errors.push(wrong(format!("signals.{}", signal.name), "`window_s` is 60 to 86400"));
            }
        }
        unique("signals", self.signals.iter().map(|signal| signal.name.as_str()), &mut errors);
        unique("codes", self.codes.iter().map(|code| code.code.as_str()), &mut errors);
        self.check_endpoints(&mut errors);
        self.check_proposals(&mut errors);
        offers::check(self, &mut errors);
        directories::check(self, &mut errors);
        if self.kind == Kind::FraudRule && (!self.endpoints.is_empty() || !self.proposals.is_empty()) {
            errors.push(wrong("kind", "a fraud-rule has neither endpoints nor proposals"));
        }
        for (place, length) in [
            ("settings", self.settings.len()),
            ("signals", self.signals.len()),
            ("endpoints", self.endpoints.len()),
            ("directories", self.directories.len()),
            ("codes", self.codes.len()),
            ("texts", self.texts.len()),
            ("links", self.links.len()),
            ("formats", self.formats.len()),
            ("events", self.events.len()),
            ("budgets", self.budgets.len()),
            ("tables", self.tables.len()),
        ] {
            if length > LIST_MAX {
                errors.push(wrong(place, format!("at most {LIST_MAX}")));
            }
        }
        errors
    }

    fn check_proposals(&self, errors: &mut Vec<ManifestError>) {
        for (beginning, proposals) in &self.proposals {
            let word = beginning.word();
            if !self.kind.beginnings().contains(beginning) && self.kind != Kind::FraudRule {
                let problem = format!("a {} begins no {word}; take it out", self.kind.word());
                errors.push(wrong(format!("proposals.{word}"), problem));
            }
            for proposal in proposals.iter().filter(|proposal| !beginning.may_propose().contains(proposal)) {
                let problem = format!("a {word} may never propose `{}`", proposal.word());
                errors.push(wrong(format!("proposals.{word}"), problem));
            }
        }
    }

    fn check_settings_declared(&self, errors: &mut Vec<ManifestError>) {
        unique("settings", self.settings.iter().map(|setting| setting.name.as_str()), errors);
        for setting in &self.settings {
            if let Some(default) = &setting.default {
                let value = default.value(setting.kind);
                match value {
                    Some(value) => errors.extend(setting.check(&value)),
                    None => errors.push(wrong(
                        format!("settings.{}.default", setting.name),
                        format!("is not of type {:?}", setting.kind),
                    )),
                }
            }
        }
    }

    fn check_endpoints(&self, errors: &mut Vec<ManifestError>) {
        unique("endpoints", self.endpoints.iter().map(|endpoint| endpoint.name.as_str()), errors);
        let inbound = self.endpoints.iter().flat_map(|endpoint| endpoint.inbound.iter());
        unique("endpoints.inbound", inbound.map(|operation| operation.name.as_str()), errors);
        for operation in self.endpoints.iter().flat_map(|endpoint| &endpoint.inbound) {
            inbound::check(operation, errors);
        }
        for endpoint in &self.endpoints {
            credentials::check(endpoint, errors);
            unique(
                &format!("endpoints.{}.operations", endpoint.name),
                endpoint.operations.iter().map(|operation| operation.name.as_str()),
                errors,
            );
            for operation in &endpoint.operations {
                let place = format!("endpoints.{}.operations.{}", endpoint.name, operation.name);
                if !operation.path.starts_with('/') || operation.path.contains(['?', '#', '\\', ' ']) {
                    errors.push(wrong(&place, "`path` begins with `/` and has no query"));
                }
                let media = |text: &String| {
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/+-._;= ".contains(&byte);
                    (3..=100).contains(&text.len()) && text.contains('/') && text.bytes().all(plain)
                };
                if operation.content_type.as_ref().is_some_and(|text| !media(text)) {
                    errors.push(wrong(&place, "`content_type` is a media type such as application/json"));
                }
                if operation.probe && operation.method != Method::Get {
                    errors.push(wrong(&place, "only a GET can be marked as a `probe`"));
                }
                if !(1..=60).contains(&operation.timeout_s) || !(1..=86_400).contains(&operation.deadline_s) {
                    errors.push(wrong(&place, "`timeout_s` is 1 to 60 and `deadline_s` 1 to 86400"));
                }
                if operation.feed_every_s.is_some_and(|every_s| !(60..=86_400).contains(&every_s)) {
                    errors.push(wrong(&place, "`feed_every_s` is 60 to 86400"));
                }
                if operation.feed_every_s.is_some()
                    && (operation.method, operation.repeat) != (Method::Get, Repeat::Safe)
                {
                    errors.push(wrong(&place, "a feed is asked for with `GET` and `repeat = \"safe\"`"));
                }
            }
        }
    }

    /// Completes and checks what an operator set: defaults filled in, in the manifest's order. Errors: every setting that is
    /// missing, unknown, of another type or out of its bounds.
    pub fn settings(&self, given: &[Named]) -> Result<Vec<Named>, Vec<ManifestError>> {
        let mut errors = Vec::new();
        for named in given {
            if !self.settings.iter().any(|setting| setting.name == named.name) {
                errors.push(wrong(format!("settings.{}", named.name), "is not a setting of this plugin"));
            }
        }
        let mut complete = Vec::new();
        for setting in &self.settings {
            let values: Vec<&Named> = given.iter().filter(|named| named.name == setting.name).collect();
            if values.len() > if setting.list { 1_000 } else { 1 } {
                errors.push(wrong(format!("settings.{}", setting.name), "is given too often"));
            }
            for named in &values {
                errors.extend(setting.check(&named.value));
                complete.push((*named).clone());
            }
            if values.is_empty() {
                match setting.default.as_ref().and_then(|default| default.value(setting.kind)) {
                    Some(value) => complete.push(Named { name: setting.name.clone(), value }),
                    None if setting.list => {}
                    None => errors.push(wrong(format!("settings.{}", setting.name), "is required: give it a value")),
                }
            }
        }
        if errors.is_empty() { Ok(complete) } else { Err(errors) }
    }

    /// The endpoint of this name.
    pub fn endpoint(&self, name: &str) -> Option<&EndpointSpec> {
        self.endpoints.iter().find(|endpoint| endpoint.name == name)
    }

    /// An operation that the plugin may ask of a partner.
    pub fn operation(&self, endpoint: &str, operation: &str) -> Option<&OperationSpec> {
        self.endpoint(endpoint)?.operations.iter().find(|known| known.name == operation)
    }

    /// The operations that are feeds, each with its endpoint.
    pub fn feeds(&self) -> impl Iterator<Item = (&EndpointSpec, &OperationSpec)> {
        self.endpoints.iter().flat_map(|endpoint| {
            let feeds = endpoint.operations.iter().filter(|operation| operation.feed_every_s.is_some());
            feeds.map(move |operation| (endpoint, operation))
        })
    }

    /// The kind of link with this name.
    pub fn link(&self, name: &str) -> Option<&LinkSpec> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The table with this name.
    pub fn table(&self, name: &str) -> Option<&TableSpec> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// An operation that a partner may ask, with the endpoint whose secret signs it.
    pub fn inbound(&self, operation: &str) -> Option<(&EndpointSpec, &InboundSpec)> {
        self.endpoints.iter().find_map(|endpoint| {
            endpoint.inbound.iter().find(|known| known.name == operation).map(|known| (endpoint, known))
        })
    }

    /// Whether a beginning may make this kind of proposal: both the closed table and the manifest must say so.
    pub fn may_propose(&self, beginning: Beginning, proposal: ProposalKind) -> bool {
        beginning.may_propose().contains(&proposal)
            && self.proposals.get(&beginning).is_some_and(|granted| granted.contains(&proposal))
    }

    /// Whether failures and reasons may carry this code.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|known| known.code == code)
    }
}

fn unique<'a>(place: &str, names: impl Iterator<Item = &'a str>, errors: &mut Vec<ManifestError>) {
    let mut seen = BTreeSet::new();
    for name in names {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        if name.is_empty() || name.len() > 40 || !name.bytes().all(plain) {
            errors.push(wrong(format!("{place}.{name}"), "use 1 to 40 of a-z, 0-9, `_` and `-`"));
        }
        if !seen.insert(name) {
            errors.push(wrong(format!("{place}.{name}"), "stands there twice"));
        }
    }
}

/// Whether this is how a plugin's id looks.
pub fn is_plugin_id(id: &str) -> bool {
    (3..=40).contains(&id.len())
        && id.starts_with(|first: char| first.is_ascii_lowercase())
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_version(version: &str) -> bool {
    let parts: Vec<&str> = version.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.len() <= 6 && part.parse::<u32>().is_ok())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn words() -> Words {
        Words { ja: "あ".into(), en: "a".into() }
    }

    pub(super) fn manifest() -> Manifest {
        Manifest {
            id: "charge-test".into(),
            version: "1.0.0".into(),
            contract: crate::guest::CONTRACT.into(),
            kind: Kind::ChargeChannel,
            engine: EngineKind::Native,
            name: words(),
            purpose: words(),
            settings: vec![Setting {
                name: "company_number".into(),
                kind: SettingKind::Digits,
                about: words(),
                default: None,
                min: Some(4),
                max: Some(4),
                list: false,
            }],
            facts: vec![],
            signals: vec![],
            endpoints: vec![],
            directories: vec![],
            proposals: BTreeMap::from([(Beginning::Charge, BTreeSet::from([ProposalKind::Credit]))]),
            codes: vec![],
            texts: BTreeMap::new(),
            links: vec![],
            formats: vec![],
            events: vec![],
            budgets: vec![],
            tables: vec![],
        }
    }

    #[test]
    fn a_good_manifest_has_nothing_wrong() {
        assert_eq!(manifest().check(), vec![]);
    }

    #[test]
    fn no_plugin_is_called_as_the_platform_is() {
        for (id, good) in [("charge-koban", true), ("koban", false), ("koban-charge", false)] {
            let manifest = Manifest { id: id.into(), ..manifest() };
            assert_eq!(manifest.check().is_empty(), good, "{id}");
        }
    }

    #[test]
    fn a_rate_is_an_exact_decimal_within_its_bounds() {
        let mut setting = manifest().settings.remove(0);
        (setting.kind, setting.min, setting.max) = (SettingKind::Rate, Some(0), Some(1));
        let read = |text| SettingKind::Rate.read(text).unwrap();
        assert_eq!(read("0.015"), crate::guest::Value::Rate(crate::guest::Decimal { mantissa: 15, scale: 3 }));
        assert_eq!(setting.check(&read("0.015")), None);
        assert_eq!(setting.check(&read("1.000")), None);
        assert!(setting.check(&read("1.001")).is_some());
        assert!(setting.check(&read("-0.1")).is_some());
        assert_eq!(SettingKind::Rate.read("1e-3"), None);
    }

    #[test]
    fn a_charge_can_never_be_granted_a_capture() {
        let mut greedy = manifest();
        greedy.proposals.get_mut(&Beginning::Charge).unwrap().insert(ProposalKind::Capture);
        assert_eq!(greedy.check()[0].place, "proposals.charge");
        assert!(!greedy.may_propose(Beginning::Charge, ProposalKind::Capture));
        assert!(!greedy.may_propose(Beginning::Charge, ProposalKind::Reverse), "not asked for, not granted");
    }

    #[test]
    fn settings_are_named_when_they_are_missing_unknown_or_out_of_bounds() {
        let missing = manifest().settings(&[]).unwrap_err();
        assert_eq!(missing[0].to_string(), "settings.company_number: is required: give it a value");
        let long = manifest().settings(&[Named::text("company_number", "12345")]).unwrap_err();
        assert_eq!(long[0].to_string(), "settings.company_number: the number of digits must be 4 to 4, not 5");
        let unknown =
            manifest().settings(&[Named::text("company_number", "1234"), Named::flag("x", true)]).unwrap_err();
        assert_eq!(unknown[0].place, "settings.x");
    }
}
