//! What the fraud rules say of a payment, with the operator's failure policy already applied.

use koban_domain::guest::{AssessPayment, Named, Verdict};
use koban_domain::ids::{RecordId, UserId};
use koban_domain::ledger::SealedRecord;
use koban_domain::limits::WalletKind;
use koban_domain::manifest::{Kind, Manifest};
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use koban_domain::records::{Input, Output};
use koban_domain::releases::Scope;
use koban_domain::signals::{self, Ring, SubjectKey, Subjects};
use koban_domain::time::Timestamp;

use crate::app::App;
use crate::beside::{self, Beside};
use crate::error::Error;
use crate::guests::{self, For};
use crate::plugins;

/// What is known of a payment before it is judged.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// What shall be paid.
    pub payment: AssessPayment,
    /// Who pays, and who falls into a canary's share. No rule is told; records are.
    pub payer: UserId,
    /// Its subjects, for signals.
    pub subjects: Subjects,
    /// The rings of those subjects, in the same order.
    pub rings: Vec<(SubjectKey, Ring)>,
    /// The payer's account.
    pub kind: WalletKind,
    /// When the payer signed up.
    pub since: Timestamp,
    /// Whether the payer has never paid this payee.
    pub first_time: bool,
    /// The device, if named.
    pub device: Option<&'a str>,
    /// The merchant's category, for payments to merchants.
    pub category: Option<&'a str>,
    /// The payer's language.
    pub locale: &'a str,
    /// Where it happens, the narrowest scope first.
    pub scopes: &'a [Scope],
}

/// What came of the judgement.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The strictest verdict of all rules, or the failure policy's.
    pub verdict: Verdict,
    /// The decision that gave it.
    pub decision: Option<RecordId>,
    /// The generation of the policy that it was given under.
    pub under: i64,
    /// The components that it rests on.
    pub relies_on: Vec<Reliance>,
    /// Records of every rule that was asked.
    pub records: Vec<SealedRecord>,
}

impl Judged {
    /// The refusal that the verdict means, if it is not `allow`.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.verdict {
            Verdict::Allow => None,
            Verdict::StepUp => Some(Refusal::StepUpRequired),
            Verdict::Review => Some(Refusal::ReviewRequired),
            Verdict::Decline => Some(Refusal::DeclinedByFraud),
        }
    }
}

/// Asks every rule in force; the strictest verdict wins.
pub async fn assess(app: &App, case: &Case<'_>) -> Result<Judged, Error> {
    let in_force = app.ledger.policy();
    let (under, policy) = (in_force.generation, in_force.fraud);
    let person = case.payer.bytes();
    let rules = plugins::all_in_force_at(app, Kind::FraudRule, case.scopes, &person).await?;
    let mut judged = Judged {
        verdict: if rules.is_empty() { policy.on_missing } else { Verdict::Allow },
        decision: None,
        under,
        relies_on: Vec::with_capacity(rules.len()),
        records: Vec::with_capacity(rules.len()),
    };
    let mut said = Vec::with_capacity(rules.len());
    for (scope, rule) in &rules {
        let input = input(case, rule.manifest());
        let scope = scope.to_string();
        let whom = For { scope: &scope, locale: case.locale, about: Some(case.payer) };
        let (answer, record) = guests::call(app, rule, whom, input).await;
        let verdict = match answer {
            Ok(Output::Assessment(assessment)) => assessment.verdict,
            // A rule that refuses to judge, or faults, has given no verdict.
            Ok(_) | Err(_) => policy.on_fault,
        };
        if verdict > judged.verdict || judged.decision.is_none() {
            judged.verdict = verdict.max(judged.verdict);
            judged.decision = Some(record.id);
        }
        said.push((rule.id().to_owned(), record.id, verdict));
        judged.records.push(record);
        judged.relies_on.push(Reliance { plugin: rule.id().to_owned(), digest: rule.digest(), in_force: true });
    }
    // The decision is made: whoever is asked beside it cannot change it any more, and is not waited for.
    let made = Beside { case, verdict: judged.verdict, decision: judged.decision, said: &said };
    beside::offer(app, &made, |manifest| input(case, manifest));
    Ok(judged)
}

/// What a rule with this manifest is told of the case.
fn input(case: &Case<'_>, manifest: &Manifest) -> Input {
    let facts = facts(&manifest.facts, case);
    let ring = |key: SubjectKey| {
        case.rings.iter().find(|(known, _)| *known == key).map(|(_, ring)| ring.clone()).unwrap_or_default()
    };
    let at = Timestamp(i64::try_from(case.payment.at).unwrap_or(i64::MAX));
    let signals = signals::read(&manifest.signals, &case.subjects, ring, case.payment.amount, at);
    Input::Assess(case.payment.clone(), facts, signals)
}

fn facts(asked: &[String], case: &Case<'_>) -> Vec<Named> {
    const DAY_MS: i64 = 86_400_000;
    let at = Timestamp(i64::try_from(case.payment.at).unwrap_or(i64::MAX));
    let mut facts = Vec::with_capacity(asked.len());
    for name in asked {
        let fact = match name.as_str() {
            "account.kind" => Some(Named::text(name, case.kind.word())),
            "account.age_days" => Some(Named::whole(name, at.since_ms(case.since).max(0) / DAY_MS)),
            "payee.first_time" => Some(Named::flag(name, case.first_time)),
            "device.id" => case.device.map(|device| Named::text(name, device)),
            "merchant.category" => case.category.map(|category| Named::text(name, category)),
            _ => None,
        };
        facts.extend(fact);
    }
    facts
}
