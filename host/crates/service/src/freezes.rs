//! Freezing users, merchants, API keys and devices: an operator's act that binds from the next commit on.

use koban_domain::access::{Freeze, Holder};
use koban_domain::ids::KeyId;
use koban_domain::ledger::{Answer, Command};
use koban_store::freezes::Named;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered};
use crate::plugins::check_reason;
use crate::users::audit;

#[derive(Serialize)]
struct Asked<'a> {
    holder: Holder,
    frozen: bool,
    reason: &'a str,
}

/// Freezes a user or a merchant, or lets them go on.
pub async fn set(app: &App, ctx: &Ctx, holder: Holder, frozen: bool, reason: &str) -> Result<Answered<Answer>, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    let (noun, id) = match holder {
        Holder::User(user) => ("user", user.to_string()),
        Holder::Merchant(merchant) => ("merchant", merchant.to_string()),
    };
    let act = format!("{noun}.{}", if frozen { "freeze" } else { "thaw" });
    let row = audit(app, ctx, &act, id, &json!({ "reason": reason }).to_string());
    let asked = Asked { holder, frozen, reason };
    let command = Command::Freeze(Freeze { holder, frozen });
    operations::act(app, ctx, ("PUT /v1/operator/access", &asked), command, Some(row)).await
}

/// Freezes an API key, or lets it be used again. Errors: no merchant has such a key.
pub async fn set_key(app: &App, ctx: &Ctx, key: KeyId, frozen: bool, reason: &str) -> Result<(), Error> {
    koban_store::keys::find(&app.store, key).await?.ok_or(Error::NotFound("key"))?;
    set_named(app, ctx, Named::Key(key), frozen, reason).await
}

/// Freezes a device by the name that requests give it, or lets it be used again.
pub async fn set_device(app: &App, ctx: &Ctx, device: &str, frozen: bool, reason: &str) -> Result<(), Error> {
    if device.is_empty() || device.len() > 128 || !device.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        return Err(Error::invalid(
            "device",
            "use 1 to 128 printable ASCII characters, as the Koban-Device header does",
        ));
    }
    set_named(app, ctx, Named::Device(device.to_owned()), frozen, reason).await
}

async fn set_named(app: &App, ctx: &Ctx, what: Named, frozen: bool, reason: &str) -> Result<(), Error> {
    ctx.operator()?;
    check_reason(reason)?;
    let (noun, name) = match &what {
        Named::Key(key) => ("key", key.to_string()),
        Named::Device(device) => ("device", device.clone()),
    };
    let act = format!("{noun}.{}", if frozen { "freeze" } else { "thaw" });
    let row = audit(app, ctx, &act, name, &json!({ "reason": reason }).to_string());
    koban_store::freezes::set(&app.store, &what, frozen, &row, app.clock.now()).await?;
    app.ledger.refresh().await
}
