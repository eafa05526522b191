//! `koban merchant`: merchants, and what operators decide about them.

use clap::{Args, Subcommand};
use koban_domain::access::Holder;
use koban_domain::ids::MerchantId;
use koban_service::merchants::{self, MerchantView, NewMerchant};
use koban_service::page::Page;
use koban_service::{App, freezes};
use serde_json::{Value, json};

use crate::commands::{PageArguments, fresh_key, say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with merchants.
#[derive(Debug, Subcommand)]
pub(crate) enum Merchants {
    /// Merchants, newest first
    #[command(after_help = "Example:\n  koban merchant list")]
    List {
        #[command(flatten)]
        page: PageArguments,
    },
    /// One merchant, and what it is owed
    #[command(after_help = "Example:\n  koban merchant show mer_0193…")]
    Show {
        /// The merchant, `mer_…`
        id: MerchantId,
    },
    /// Make a merchant that is paid in yen. Its first API key is made over the API
    #[command(after_help = "Example:\n  koban merchant create --name 'Wasm Cafe' --category 5812")]
    Create {
        /// What payers see
        #[arg(long)]
        name: String,
        /// ISO 18245 category code, four digits
        #[arg(long)]
        category: String,
    },
    /// Keep a merchant from being paid and from capturing, from the next commit on. Refunds go on
    #[command(after_help = "Example:\n  koban merchant freeze mer_0193… --reason 'goods do not arrive'")]
    Freeze(Decision),
    /// Let a frozen merchant go on
    #[command(after_help = "Example:\n  koban merchant thaw mer_0193… --reason 'the goods came'")]
    Thaw(Decision),
}

/// Which merchant, and why.
#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// The merchant, `mer_…`
    id: MerchantId,
    /// Why; goes into the audit log
    #[arg(long)]
    reason: String,
}

const HEADER: &[&str] = &["MERCHANT", "NAME", "CATEGORY", "ACCESS", "SINCE"];

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Merchants) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    match command {
        Merchants::List { page } => {
            let list = merchants::list(&app, &Page::from(&page)).await?;
            say_page(global, &list, json_of, || table(HEADER, &list.items.iter().map(row).collect::<Vec<_>>()));
            Ok(())
        }
        Merchants::Show { id } => {
            let (merchant, owed) = (merchants::get(&app, id).await?, merchants::balance(&app, id).await?);
            let mut value = json_of(&merchant);
            value["owed"] = json!(owed.minor);
            value["currency"] = json!(owed.currency);
            say(global, &value, || format!("{}\n\nowed to it: {owed}", table(HEADER, &[row(&merchant)])));
            Ok(())
        }
        Merchants::Create { name, category } => {
            let ctx = person::ctx(global, &app.store, "").await?;
            let merchant = merchants::create(&app, &ctx, NewMerchant { name, category }).await?;
            say(global, &json_of(&merchant), || table(HEADER, &[row(&merchant)]));
            Ok(())
        }
        Merchants::Freeze(decision) => set(global, &app, decision, true).await,
        Merchants::Thaw(decision) => set(global, &app, decision, false).await,
    }
}

async fn set(global: &Global, app: &App, Decision { id, reason }: Decision, frozen: bool) -> anyhow::Result<()> {
    let ctx = person::ctx(global, &app.store, fresh_key(app, "merchant")).await?;
    merchants::get(app, id).await?;
    freezes::set(app, &ctx, Holder::Merchant(id), frozen, &reason).await?;
    let merchant = merchants::get(app, id).await?;
    say(global, &json_of(&merchant), || format!("{id} ({}): access {}", merchant.name, merchant.access.word()));
    Ok(())
}

fn row(merchant: &MerchantView) -> Vec<String> {
    vec![
        merchant.id.to_string(),
        merchant.name.clone(),
        merchant.category.clone(),
        merchant.access.word().to_owned(),
        merchant.created_at.to_string(),
    ]
}

fn json_of(merchant: &MerchantView) -> Value {
    json!({
        "id": merchant.id, "name": merchant.name, "category": merchant.category, "currencies": merchant.currencies,
        "access": merchant.access, "created_at": merchant.created_at.to_string(),
    })
}
