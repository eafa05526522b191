//! What operators decided, as every commit must know it: read in the commit's own transaction when the generation has moved.

use koban_domain::arrangements::CutOff;
use koban_domain::disputes::DAYS_MAX;
use koban_domain::guest::Verdict;
use koban_domain::limits::{Action, Limit, Limits, Window};
use koban_domain::manifest::Kind;
use koban_domain::money::Money;
use koban_domain::policy::{Canary, FailurePolicy, PluginInForce, Policy, ReviewPolicy, Stable};
use koban_domain::releases::{Scope, State};

use crate::database::{Columns, Store, Tx, on_tx};
use crate::error::StoreError;
use crate::ledger::rows::wallet_kind;
use crate::{exchanges, platform, releases};

impl Store {
    /// The policy of now, for readers outside a commit.
    pub async fn policy(&self) -> Result<Policy, StoreError> {
        let mut tx = self.begin_read().await?;
        let generation = on_tx!(&mut tx, connection => {
            sqlx::query("select generation from lane_heads where lane = 0").fetch_one(connection).await?.long(0)?
        });
        read(&mut tx, generation).await
    }
}

/// Reads the policy inside a transaction that has seen this generation.
pub(crate) async fn read(tx: &mut Tx<'_>, generation: i64) -> Result<Policy, StoreError> {
    let mut policy = Policy { generation, fraud: FailurePolicy::default(), ..Policy::default() };
    on_tx!(tx, connection => {
        let sql = "select wallet, action, win, currency, amount, valid_from from limits
            order by wallet, action, win, currency, valid_from";
        let rows = sqlx::query(sql).fetch_all(&mut *connection).await?;
        policy.limits = Limits(rows.iter().map(limit).collect::<Result<_, StoreError>>()?);

        for row in &sqlx::query("select kind, name from frozen").fetch_all(&mut *connection).await? {
            let name = row.text(1)?;
            match row.small(0)? {
                1 => drop(policy.frozen_keys.insert(
                    name.parse().map_err(|_| StoreError::damaged(format!("`{name}` is frozen and no key")))?,
                )),
                _ => drop(policy.frozen_devices.insert(name)),
            }
        }

        for row in &sqlx::query("select digest from revoked_digests").fetch_all(&mut *connection).await? {
            policy.revoked.insert(row.digest(0)?);
        }

        let sql = "select e.plugin, e.scope, e.digest, e.settings, e.state, e.share, p.kind
            from enablements e join plugins p on p.id = e.plugin order by e.plugin, e.scope, e.digest";
        for row in &sqlx::query(sql).fetch_all(&mut *connection).await? {
            enablement(&mut policy, row)?;
        }

        for row in &sqlx::query("select name, value from policy_settings").fetch_all(&mut *connection).await? {
            setting(&mut policy, &row.text(0)?, &row.text(1)?)?;
        }
    });
    Ok(policy)
}

/// Takes a release at one scope into the policy. Nothing rests on a revoked one; where it was enabled, nothing is in its place.
fn enablement(policy: &mut Policy, row: &impl Columns) -> Result<(), StoreError> {
    let (plugin, scope) = (row.text(0)?, releases::scope(&row.text(1)?)?);
    let version = PluginInForce { kind: kind(&row.text(6)?)?, digest: row.digest(2)?, settings: row.digest(3)? };
    let share = u16::try_from(row.small(5)?).unwrap_or(0);
    let is_good = !policy.revoked.contains(&version.digest);
    let live = policy.live.entry(plugin.clone()).or_default().entry(scope.clone()).or_default();
    match releases::state(&row.text(4)?)? {
        State::Enabled if is_good => {
            live.stable = Stable::On(version);
            if scope == Scope::Platform {
                policy.enable(&plugin, version);
            }
        }
        State::Canary if is_good => live.canary = Some(Canary { version, share }),
        State::Shadow if is_good => live.shadow = Some(version),
        State::Canary | State::Shadow => {}
        _ if live.stable == Stable::Unsaid => live.stable = Stable::Off,
        _ => {}
    }
    Ok(())
}

/// Takes one named setting into the policy. Names that commits need not know are others' business.
fn setting(policy: &mut Policy, name: &str, value: &str) -> Result<(), StoreError> {
    match name {
        "fraud.on_fault" => policy.fraud.on_fault = verdict(value)?,
        "fraud.on_missing" => policy.fraud.on_missing = verdict(value)?,
        "review.hours" => policy.review.hours = hours(value)?,
        "dispute.days" => policy.dispute.days = days(value)?,
        "dispute.when_over" => policy.dispute.lost_when_over = value == "lost",
        "release.backtest" => policy.backtest_required = value == "required",
        "closing.cut_off" => policy.cut_off = cut_off(value)?,
        platform::AHEAD => policy.clock_ahead_ms = platform::parse_ahead(Some(value))?,
        _ => exchanges::setting(policy, name, value)?,
    }
    Ok(())
}

fn limit(row: &impl Columns) -> Result<Limit, StoreError> {
    let damaged = |what: &str, code: i16| StoreError::damaged(format!("a limit has the {what} {code}"));
    Ok(Limit {
        wallet: wallet_kind(row.small(0)?)?,
        action: match row.small(1)? {
            1 => Action::Charge,
            2 => Action::Pay,
            3 => Action::Send,
            4 => Action::Hold,
            5 => Action::Withdraw,
            other => return Err(damaged("action", other)),
        },
        window: match row.small(2)? {
            1 => Window::Once,
            2 => Window::Day,
            3 => Window::Month,
            other => return Err(damaged("window", other)),
        },
        amount: Money::new(row.long(4)?, row.currency(3)?),
        from: row.time(5)?,
    })
}

fn kind(word: &str) -> Result<Kind, StoreError> {
    Kind::of(word).ok_or_else(|| StoreError::damaged(format!("a plugin has the kind `{word}`")))
}

fn hours(text: &str) -> Result<u16, StoreError> {
    let hours = text.parse().ok().filter(|hours| (1..=ReviewPolicy::HOURS_MAX).contains(hours));
    hours.ok_or_else(|| StoreError::damaged(format!("a review cannot wait `{text}` hours")))
}

fn days(text: &str) -> Result<u16, StoreError> {
    let days = text.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days));
    days.ok_or_else(|| StoreError::damaged(format!("a dispute cannot wait `{text}` days")))
}

fn cut_off(word: &str) -> Result<CutOff, StoreError> {
    let known = CutOff::ALL.into_iter().find(|cut_off| cut_off.word() == word);
    known.ok_or_else(|| StoreError::damaged(format!("`{word}` is no cut-off")))
}

fn verdict(word: &str) -> Result<Verdict, StoreError> {
    match word {
        "allow" => Ok(Verdict::Allow),
        "step-up" => Ok(Verdict::StepUp),
        "review" => Ok(Verdict::Review),
        "decline" => Ok(Verdict::Decline),
        other => Err(StoreError::damaged(format!("`{other}` is not a verdict; use allow, step-up, review or decline"))),
    }
}
