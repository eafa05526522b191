//! `koban user`: wallet users, and what operators decide about them.

use clap::{Args, Subcommand};
use koban_domain::access::Holder;
use koban_domain::ids::UserId;
use koban_service::page::Page;
use koban_service::users::{self, UserView};
use koban_service::{App, Ctx, closures, freezes, verification, wallets};
use serde_json::{Value, json};

use crate::commands::{PageArguments, documents, fresh_key, say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// Users, newest first
    #[command(after_help = "Examples:\n  koban user list\n  koban --json user list --limit 100")]
    List {
        #[command(flatten)]
        page: PageArguments,
    },
    /// One user: who, what the wallet holds, where the verification stands
    #[command(after_help = "Examples:\n  koban user show hana@example.com\n  koban user show usr_0193…")]
    Show {
        #[command(flatten)]
        user: Whom,
    },
    /// Keep a user from dealing, from the next commit on. What arrives is still taken, what was held still captured
    #[command(after_help = "Example:\n  koban user freeze hana@example.com --reason 'the phone was stolen'")]
    Freeze(Decision),
    /// Let a frozen user go on
    #[command(after_help = "Example:\n  koban user thaw hana@example.com --reason 'has a new phone'")]
    Thaw(Decision),
    /// Close an account for ever and set aside what it holds. Nothing may be owed, held or under way
    #[command(after_help = "Example:\n  koban user close hana@example.com --reason 'asked for it, letter of 3 May'")]
    Close(Decision),
    /// What a user submitted to be verified; that you looked goes into the audit log
    #[command(after_help = "Example:\n  koban user submission hana@example.com")]
    Submission {
        #[command(flatten)]
        user: Whom,
    },
    /// A user's statement as a file, in a format that a plugin writes; that it was handed out goes into the audit log
    #[command(
        after_help = "Example:\n  koban user document hana@example.com --plugin budget-export --format ofx --from 2019-12-01 --until 2019-12-31 --out december.ofx"
    )]
    Document {
        #[command(flatten)]
        user: Whom,
        #[command(flatten)]
        document: documents::Arguments,
    },
    /// A user is who they say: prepaid value becomes funds
    #[command(after_help = "Example:\n  koban user verify hana@example.com")]
    Verify {
        #[command(flatten)]
        user: Whom,
    },
    /// What a user submitted is not enough; they may submit anew
    #[command(after_help = "Example:\n  koban user reject hana@example.com --reason 'the address cannot be read'")]
    Reject(Decision),
    /// Take a verification back: what is there may be paid with, nothing is sent and nothing charged
    #[command(after_help = "Example:\n  koban user revoke hana@example.com --reason 'the document was forged'")]
    Revoke(Decision),
}

/// Which user.
#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// The user: `usr_…`, or an email address
    #[arg(value_name = "USER", value_parser = who)]
    user: Who,
}

/// Which user, and why.
#[derive(Debug, Args)]
pub(crate) struct Decision {
    #[command(flatten)]
    whom: Whom,
    /// Why; goes into the audit log
    #[arg(long)]
    reason: String,
}

/// A user as somebody names them.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    Id(UserId),
    Email(String),
}

fn who(text: &str) -> Result<Who, String> {
    if text.contains('@') {
        return Ok(Who::Email(text.to_owned()));
    }
    text.parse()
        .map(Who::Id)
        .map_err(|_| "write an id, `usr_` and 32 hexadecimal digits, or an email address".to_owned())
}

async fn find(app: &App, whom: &Whom) -> anyhow::Result<UserView> {
    Ok(match &whom.user {
        Who::Id(id) => users::get(app, *id).await?,
        Who::Email(email) => users::find_by_email(app, email).await?,
    })
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Users) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    let (decision, what) = match command {
        Users::Document { user, document } => {
            let user = find(&app, &user).await?.id;
            return documents::write(global, &app, user, document).await;
        }
        Users::List { page } => {
            let list = users::list(&app, &Page::from(&page)).await?;
            say_page(global, &list, json_of, || {
                table(
                    &["USER", "EMAIL", "NAME", "ACCESS", "VERIFICATION", "SINCE"],
                    &list.items.iter().map(row).collect::<Vec<_>>(),
                )
            });
            return Ok(());
        }
        Users::Show { user } => return show(global, &app, &user).await,
        Users::Submission { user } => return submission(global, &app, &user).await,
        Users::Verify { user } => {
            let ctx = person::ctx(global, &app.store, fresh_key(&app, "verify")).await?;
            let user = find(&app, &user).await?;
            let converted = users::verify(&app, &ctx, user.id).await?.value;
            let value = json!({ "id": user.id, "verification": "verified", "converted": converted, "currency": "JPY" });
            say(global, &value, || format!("{} is verified; {converted} JPY of prepaid value became funds", user.id));
            return Ok(());
        }
        Users::Freeze(decision) => (decision, What::Access(true)),
        Users::Thaw(decision) => (decision, What::Access(false)),
        Users::Close(decision) => (decision, What::Close),
        Users::Reject(decision) => (decision, What::Reject),
        Users::Revoke(decision) => (decision, What::Revoke),
    };
    let ctx = person::ctx(global, &app.store, fresh_key(&app, "user")).await?;
    decide(global, &app, &ctx, &decision, what).await
}

/// A decision with a reason.
enum What {
    Access(bool),
    Close,
    Reject,
    Revoke,
}

async fn decide(global: &Global, app: &App, ctx: &Ctx, decision: &Decision, what: What) -> anyhow::Result<()> {
    let id = find(app, &decision.whom).await?.id;
    let reason = &decision.reason;
    match what {
        What::Access(frozen) => drop(freezes::set(app, ctx, Holder::User(id), frozen, reason).await?),
        What::Close => drop(closures::close(app, ctx, id, reason).await?),
        What::Reject => drop(verification::reject(app, ctx, id, reason).await?),
        What::Revoke => drop(verification::revoke(app, ctx, id, reason).await?),
    }
    let user = users::get(app, id).await?;
    say(global, &json_of(&user), || {
        format!("{id} ({}): access {}, verification {}", user.email, user.access.word(), user.verification.word())
    });
    Ok(())
}

async fn show(global: &Global, app: &App, whom: &Whom) -> anyhow::Result<()> {
    let user = find(app, whom).await?;
    let wallets = wallets::all(app, user.id).await?;
    let mut value = json_of(&user);
    value["wallets"] = wallets
        .iter()
        .map(|wallet| {
            json!({ "currency": wallet.prepaid.currency, "prepaid": wallet.prepaid.minor, "funds": wallet.funds.minor,
                "receivable": wallet.receivable.minor, "available": wallet.available.minor })
        })
        .collect();
    say(global, &value, || {
        let mut lines =
            vec![table(&["USER", "EMAIL", "NAME", "ACCESS", "VERIFICATION", "SINCE"], &[row(&user)]), String::new()];
        let cells = wallets.iter().map(|wallet| {
            [wallet.prepaid, wallet.funds, wallet.receivable, wallet.available].map(|money| money.to_string()).to_vec()
        });
        lines.push(table(&["PREPAID", "FUNDS", "OWED", "AVAILABLE"], &cells.collect::<Vec<_>>()));
        lines.join("\n")
    });
    Ok(())
}

async fn submission(global: &Global, app: &App, whom: &Whom) -> anyhow::Result<()> {
    let ctx = person::ctx(global, &app.store, "").await?;
    let user = find(app, whom).await?;
    let (told, at) = verification::read(app, &ctx, user.id).await?;
    let value = json!({ "user": user.id, "at": at.to_string(), "name": told.name, "birth_date": told.birth_date,
        "address": told.address, "purpose": told.purpose, "occupation": told.occupation });
    say(global, &value, || {
        format!(
            "submitted   {at}\nname        {}\nborn        {}\naddress     {}\npurpose     {}\noccupation  {}",
            told.name, told.birth_date, told.address, told.purpose, told.occupation
        )
    });
    Ok(())
}

fn row(user: &UserView) -> Vec<String> {
    vec![
        user.id.to_string(),
        user.email.clone(),
        user.name.clone(),
        user.access.word().to_owned(),
        user.verification.word().to_owned(),
        user.created_at.to_string(),
    ]
}

fn json_of(user: &UserView) -> Value {
    json!({
        "id": user.id, "email": user.email, "name": user.name, "kind": user.kind, "access": user.access,
        "verification": user.verification, "locale": user.locale, "created_at": user.created_at.to_string(),
    })
}
