//! Limits and the failure policy as operators set them. Commits read both as [`koban_domain::policy::Policy`].

use koban_domain::guest::Verdict;
use koban_domain::ledger::Audit;
use koban_domain::limits::Limit;
use koban_domain::policy::FailurePolicy;
use koban_domain::time::Timestamp;

use crate::database::{Columns as _, Store, on, on_tx};
use crate::error::StoreError;
use crate::ledger::rows::wallet_kind_code;

/// Writes dated limits; one for the same thing from the same time on is replaced. Returns the new generation.
pub async fn put(store: &Store, limits: &[Limit], audit: &Audit, now: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "insert into limits (wallet, action, win, currency, amount, valid_from)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (wallet, action, win, currency, valid_from) do update set amount = excluded.amount";
    let mut admin = store.administer().await?;
    // As many as an operator writes at once: a handful.
    for limit in limits {
        on_tx!(admin.tx(), connection => {
            sqlx::query(SQL)
                .bind(wallet_kind_code(limit.wallet))
                .bind(i16::from(limit.action as u8))
                .bind(i16::from(limit.window as u8))
                .bind(limit.amount.currency.code())
                .bind(limit.amount.minor)
                .bind(limit.from.0)
                .execute(connection)
                .await?;
        });
    }
    let generation = admin.bump_generation().await?;
    admin.audit(audit, now).await?;
    admin.commit().await?;
    Ok(generation)
}

/// Sets what happens to a payment when the fraud rules give no verdict. Returns the new generation.
pub async fn set_failure_policy(
    store: &Store,
    policy: FailurePolicy,
    audit: &Audit,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let values = [("fraud.on_fault", word(policy.on_fault)), ("fraud.on_missing", word(policy.on_missing))];
    put_settings(store, &values, audit, now).await
}

/// Writes named settings of the policy. Returns the new generation.
pub async fn put_settings(
    store: &Store,
    values: &[(&str, &str)],
    audit: &Audit,
    now: Timestamp,
) -> Result<i64, StoreError> {
    const SQL: &str = "insert into policy_settings (name, value) values ($1, $2)
        on conflict (name) do update set value = excluded.value";
    let mut admin = store.administer().await?;
    for (name, value) in values {
        on_tx!(admin.tx(), connection => {
            sqlx::query(SQL).bind(*name).bind(*value).execute(connection).await?;
        });
    }
    let generation = admin.bump_generation().await?;
    admin.audit(audit, now).await?;
    admin.commit().await?;
    Ok(generation)
}

/// A named setting of the policy, if an operator set it.
pub async fn setting(store: &Store, name: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "select value from policy_settings where name = $1";
    on!(store, pool => sqlx::query(SQL).bind(name).fetch_optional(pool).await?.map(|row| row.text(0)).transpose())
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::StepUp => "step-up",
        Verdict::Review => "review",
        Verdict::Decline => "decline",
    }
}
