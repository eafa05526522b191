//! `koban flow`: what plugins are in the middle of, and the operator's hand where one is needed.

use clap::{Args, Subcommand};
use koban_domain::flows::Resolution;
use koban_domain::ids::{AdjustmentId, FlowId};
use koban_domain::money::{Currency, Money};
use koban_service::flows::{self, FlowDetail, FlowFilter, FlowSummary, Prospect, Reply};
use koban_service::page::Page;
use koban_store::flows::Which;
use serde_json::json;

use crate::commands::{PageArguments, backtests, fresh_key, releases, say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with flows.
#[derive(Debug, Subcommand)]
pub(crate) enum Flows {
    /// The newest flows, or those that need an operator
    #[command(after_help = "Examples:\n  koban flow list --stuck\n  koban flow list --plugin charge-atm")]
    List {
        /// Only flows that need an operator
        #[arg(long)]
        stuck: bool,
        /// Of one plugin only
        #[arg(long)]
        plugin: Option<String>,
        #[command(flatten)]
        page: PageArguments,
    },
    /// One flow: where it stands, what it waits for, which money is in it
    #[command(after_help = "Example:\n  koban flow show flw_0193…")]
    Show {
        /// The flow, `flw_…`
        id: FlowId,
    },
    /// What another component would have made of a flow, up to the first step that differs
    #[command(
        after_help = "Examples:\n  koban flow what-if flw_0193… packages/charge-atm\n  koban flow what-if flw_0193… charge-atm --set company_number=8284\n\nThe flow's recorded events are given to the candidate one after the other. Changes nothing."
    )]
    WhatIf(backtests::WhatIfArguments),
    /// Let a stuck flow go on with the event it is stuck at
    #[command(after_help = "Example:\n  koban flow retry flw_0193… --reason 'the partner is back'")]
    Retry {
        /// The flow, `flw_…`
        id: FlowId,
        /// Why; goes into the audit log
        #[arg(long)]
        reason: String,
    },
    /// Move a flow to another release of its plugin, and let it go on there. Tried first; --dry-run only tries
    #[command(
        after_help = "Examples:\n  koban flow move flw_0193… --release 1.1.0 --dry-run\n  koban flow move flw_0193… --release 1.1.0 --reason 'its release is revoked'"
    )]
    Move {
        /// The flow, `flw_…`
        id: FlowId,
        /// The release: its version, or its digest from the first 8 digits on
        #[arg(long, value_name = "RELEASE")]
        release: String,
        /// Only say what would come of it
        #[arg(long)]
        dry_run: bool,
        /// Why; goes into the audit log
        #[arg(long, required_unless_present = "dry_run")]
        reason: Option<String>,
    },
    /// End a flow that cannot go on. Each way is an ordinary command with your name and reason
    #[command(
        after_help = "Examples:\n  koban flow resolve flw_0193… --confirm-credit 10000 --reference ATM1/20181001/42 --reply accept --reason 'on the partner'\\''s list'\n  koban flow resolve flw_0193… --confirm-capture 12800 --reference C-0000042 --reason 'the collector has it'\n  koban flow resolve flw_0193… --reverse-credits --reason 'the partner took it back'\n  koban --operator two@example.com flow resolve flw_0193… --adjustment adj_0193… --reason 'agreed with the partner'\n  koban flow resolve flw_0193… --end --reason 'nothing was deposited'"
    )]
    Resolve(ResolveArguments),
}

/// Arguments of `resolve`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("how").required(true))]
pub(crate) struct ResolveArguments {
    /// The flow, `flw_…`
    id: FlowId,
    /// The partner proved a credit: post this many yen
    #[arg(long, value_name = "YEN", group = "how", requires = "reference")]
    confirm_credit: Option<i64>,
    /// The partner proved that it took what is set aside: take this many yen, and let go of the rest
    #[arg(long, value_name = "YEN", group = "how", requires = "reference")]
    confirm_capture: Option<i64>,
    /// The partner's reference of that credit or capture
    #[arg(long, value_name = "REFERENCE")]
    reference: Option<String>,
    /// Take back what the flow credited
    #[arg(long, group = "how")]
    reverse_credits: bool,
    /// Post what another operator proposed for this flow with `koban adjustment propose --flow`
    #[arg(long, value_name = "ADJUSTMENT", group = "how")]
    adjustment: Option<AdjustmentId>,
    /// End it without money; what it has set aside is let go
    #[arg(long, group = "how")]
    end: bool,
    /// What the partner's call that waits first is told. Needed with --confirm-credit, --confirm-capture and --adjustment while a call waits; otherwise `refuse`
    #[arg(long, value_enum)]
    reply: Option<ReplyWord>,
    /// Why; goes into the audit log
    #[arg(long)]
    reason: String,
    /// The same key gives the first answer again [default: made from the flow and what is asked]
    #[arg(long)]
    key: Option<String>,
}

/// What a waiting call is told.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum ReplyWord {
    /// Yes, as the plugin's manifest says it: an ATM keeps the cash
    Accept,
    /// No: an ATM gives the cash back
    Refuse,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Flows) -> anyhow::Result<()> {
    global.start_log()?;
    if let Flows::WhatIf(arguments) = command {
        return backtests::what_if(global, arguments).await;
    }
    let app = global.app().await?;
    match command {
        Flows::WhatIf(_) => {}
        Flows::List { stuck, plugin, page } => {
            let which = if stuck { Which::Stuck } else { Which::All };
            let filter = FlowFilter { which, plugin };
            let list = flows::list(&app, &filter, &Page::from(&page)).await?;
            say_page(global, &list, json_of, || {
                let rows: Vec<Vec<String>> = list.items.iter().map(row).collect();
                table(&["FLOW", "PLUGIN", "STANDING", "AGE", "CREDITED", "MAY COME", "HELD", "TAKEN", "STUCK"], &rows)
            });
        }
        Flows::Show { id } => {
            let flow = flows::get(&app, id).await?;
            let value = json_of_detail(&flow);
            say(global, &value, || serde_json::to_string_pretty(&value).unwrap_or_default());
        }
        Flows::Retry { id, reason } => {
            let ctx = person::ctx(global, &app.store, fresh_key(&app, "retry")).await?;
            flows::retry(&app, &ctx, id, &reason).await?;
            say(global, &json!({ "flow": id, "retried": true }), || format!("{id} goes on"));
        }
        Flows::Move { id, release, dry_run, reason } => {
            let plugin = flows::get(&app, id).await?.summary.plugin;
            let release = releases::find(&app, &plugin, Some(&release)).await?;
            let ctx = person::ctx(global, &app.store, fresh_key(&app, "move")).await?;
            let prospect = flows::foresee(&app, &ctx, id, release.digest).await?;
            if !dry_run {
                flows::move_to(&app, &ctx, id, release.digest, reason.as_deref().unwrap_or_default()).await?;
            }
            let mut value = json!(prospect);
            (value["flow"], value["moved"]) = (json!(id), json!(!dry_run));
            say(global, &value, || prospects(id, &prospect, dry_run));
        }
        Flows::Resolve(arguments) => {
            let id = arguments.id;
            let mut ctx = person::ctx(global, &app.store, "").await?;
            let resolution = match arguments {
                ResolveArguments { confirm_credit: Some(yen), reference: Some(ref reference), .. } => {
                    Resolution::ConfirmCredit { amount: Money::new(yen, Currency::JPY), reference: reference.clone() }
                }
                ResolveArguments { confirm_capture: Some(yen), reference: Some(ref reference), .. } => {
                    Resolution::ConfirmCapture { amount: Money::new(yen, Currency::JPY), reference: reference.clone() }
                }
                ResolveArguments { adjustment: Some(adjustment), .. } => {
                    flows::adjusting(&app, &ctx, id, adjustment).await?
                }
                ResolveArguments { reverse_credits: true, .. } => Resolution::ReverseCredits,
                _ => Resolution::End,
            };
            let reply = arguments.reply.map(|word| match word {
                ReplyWord::Accept => Reply::Accept,
                ReplyWord::Refuse => Reply::Refuse,
            });
            ctx.key = arguments.key.unwrap_or_else(|| {
                let what = serde_json::to_string(&resolution).unwrap_or_default();
                let reply = format!("{reply:?}");
                let parts = [id.to_string(), what, reply];
                koban_domain::records::Digest::of_parts(&parts.each_ref().map(String::as_bytes)).to_string()
            });
            flows::resolve(&app, &ctx, id, &resolution, reply, &arguments.reason).await?;
            say(global, &json!({ "flow": id, "resolved": true }), || format!("{id} is resolved"));
        }
    }
    Ok(())
}

/// What would come of a move, or came of it.
fn prospects(id: FlowId, prospect: &Prospect, dry_run: bool) -> String {
    let next = prospect.next.as_ref().map_or_else(
        || String::from("nothing waits in its inbox: what it will make of the next event is not known"),
        |next| {
            let list = |items: &[String]| if items.is_empty() { String::from("nothing") } else { items.join(", ") };
            format!(
                "the event `{}` makes it {}\n  proposes  {}\n  asks for  {}",
                next.event,
                serde_json::to_value(next.standing)
                    .ok()
                    .and_then(|word| word.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                list(&next.proposals),
                list(&next.effects)
            )
        },
    );
    let (from, to) = (&prospect.from.to_string()[..12], &prospect.to.to_string()[..12]);
    let head = if dry_run { "would go" } else { "goes" };
    let tail = if dry_run { "\nnothing was changed; without --dry-run, and with --reason, it is moved" } else { "" };
    format!("{id} {head} from {from} to {to} ({})\n{next}{tail}", prospect.version)
}

fn row(flow: &FlowSummary) -> Vec<String> {
    vec![
        flow.id.to_string(),
        flow.plugin.clone(),
        serde_json::to_value(flow.standing).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default(),
        age(flow.age_ms / 1_000),
        flow.credited.to_string(),
        flow.may_come.to_string(),
        flow.held.to_string(),
        flow.taken.to_string(),
        flow.stuck.clone().unwrap_or_else(|| String::from("-")),
    ]
}

fn age(seconds: i64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn json_of(flow: &FlowSummary) -> serde_json::Value {
    json!({
        "id": flow.id, "plugin": flow.plugin, "component": flow.digest, "user": flow.user,
        "standing": flow.standing, "stuck": flow.stuck, "stuck_since": flow.stuck_since.map(|at| at.to_string()),
        "credited": flow.credited, "may_come": flow.may_come, "held": flow.held, "taken": flow.taken,
        "steps": flow.steps, "age_s": flow.age_ms / 1_000,
        "opened_at": flow.opened_at.to_string(), "changed_at": flow.changed_at.to_string(),
        "final_at": flow.final_at.map(|at| at.to_string()),
    })
}

fn json_of_detail(flow: &FlowDetail) -> serde_json::Value {
    let mut value = json_of(&flow.summary);
    value["at_most"] = json!(flow.at_most);
    value["expires_at"] = json!(flow.expires_at.to_string());
    value["credits"] = json!(flow.credits);
    value["holds"] = json!(flow.holds);
    value["unsure"] = json!(flow.unsure.as_ref().map(
        |unsure| json!({ "key": unsure.key, "since": unsure.since.to_string(), "ask_at": unsure.ask_at.to_string() })
    ));
    value["bill"] = json!(flow.bill);
    value["note"] = json!(flow.note);
    value["faults"] = json!(flow.faults);
    value["refused"] = json!(flow.refused);
    value["effects"] = flow
        .effects
        .iter()
        .map(|effect| json!({ "key": effect.key, "kind": effect.kind, "state": effect.state, "attempts": effect.attempts, "due_at": effect.due_at.map(|at| at.to_string()) }))
        .collect();
    value["decisions"] = flow
        .decisions
        .iter()
        .map(|decision| json!({ "act": decision.act, "actor": decision.actor, "at": decision.at.to_string(), "detail": serde_json::from_str::<serde_json::Value>(&decision.detail).unwrap_or(json!(decision.detail)) }))
        .collect();
    value
}
