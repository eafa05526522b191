//! `koban`: arguments, configuration, wiring and signals. Everything it does is done by the rooms behind it.

mod bench;
mod chart;
mod claim;
mod client;
mod commands;
mod config;
mod person;
mod play;
mod progress;
mod selftest;
mod serve;
mod traces;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Global;

/// A payment platform whose host owns the ledger and the keys, and whose every channel and rule is a sandboxed plugin.
#[derive(Debug, Parser)]
#[command(name = "koban", version, arg_required_else_help = true, propagate_version = true)]
#[command(
    after_help = "First steps:\n  cargo xtask up            build everything, play a day of a wallet, stay up\n  koban serve               run the host on .koban/koban.db\n  koban doctor              is everything as it should be, and what is the next step\n  koban ledger verify       check every entry, balance and record\n\nWho acts: with --operator EMAIL and that operator's password it is they, as over the API; without it the audit log names\nthe user of this machine. Data goes to standard output, talk to standard error.\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 not allowed, 5 conflict, 69 unavailable (try again)."
)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a host with demo data, a played outside world and the first plugins; play the main job visibly
    Up(up::Arguments),
    /// Run the host
    Serve(serve::Arguments),
    /// Bring the database's tables up to date
    #[command(after_help = "Example:\n  koban --database postgres://koban@db/koban migrate")]
    Migrate,
    /// Look at everything a host rests on: each line ok, warn or fail, with the next step
    #[command(
        after_help = "Examples:\n  koban doctor\n  koban --json doctor\n\nChanges nothing. Exit code 1 if a line says fail."
    )]
    Doctor(commands::doctor::Arguments),
    /// The audit log: who did what
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  koban audit list --subject usr_0193…\n  koban audit export --out audit.jsonl")]
    Audit(commands::audit::AuditCommands),
    /// Backups: make, restore and verify them, on both databases and while hosts run
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  koban backup create koban.backup\n  koban backup verify koban.backup")]
    Backup(commands::backup::Backups),
    /// Accounts of the people who run the platform
    #[command(subcommand)]
    #[command(after_help = "Example:\n  koban operator create --email ops@example.com --name Ops")]
    Operator(commands::operators::Operators),
    /// Users: find them, decide on their verification, freeze and close accounts
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  koban user show hana@example.com\n  koban user freeze usr_0193… --reason 'the phone was stolen'"
    )]
    User(commands::users::Users),
    /// Merchants: find them, freeze them
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  koban merchant list\n  koban merchant freeze mer_0193… --reason 'goods do not arrive'"
    )]
    Merchant(commands::merchants::Merchants),
    /// API keys of merchants: list them, freeze them
    #[command(subcommand)]
    #[command(after_help = "Example:\n  koban api-key freeze key_0193… --reason 'found in a public repository'")]
    ApiKey(commands::api_keys::ApiKeys),
    /// Devices: freeze them
    #[command(subcommand)]
    #[command(after_help = "Example:\n  koban device freeze phone-7 --reason 'reported stolen'")]
    Device(commands::devices::Devices),
    /// Corrections of the books that two operators make together
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  koban --operator one@example.com adjustment propose --line 'write-off prepaid/usr_0193… 700' --reason 'the machine kept a note'\n  koban --operator two@example.com adjustment approve adj_0193… --reason 'checked with the network'"
    )]
    Adjustment(commands::adjustments::Adjustments),
    /// The host's own keys, which seal what must not lie open in the database
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  koban key list\n  koban key rotate")]
    Key(commands::keys::Keys),
    /// The journal: verify it, see its head
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  koban ledger verify\n  koban --json ledger head")]
    Ledger(commands::ledger::LedgerCommands),
    /// Bills: what the plugins that pay them make of a code
    #[command(subcommand)]
    #[command(after_help = "Example:\n  koban bill recognise 91912345000000000000000000045218103100128004")]
    Bill(commands::bills::Bills),
    /// Banking calendars: on which days cut-offs are
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  koban calendar show jp-banking\n  koban calendar add jp-banking-2028.txt")]
    Calendar(commands::calendars::Calendars),
    /// Files that go to partners at cut-offs, and files that came from them
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  koban partner-file list\n  koban partner-file send pfl_0193… --reason 'the bank lost it'"
    )]
    PartnerFile(commands::partner_files::PartnerFiles),
    /// Flows: what plugins are in the middle of
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  koban flow list --stuck\n  koban flow show flw_0193…")]
    Flow(commands::flows::Flows),
    /// Reviews: amounts that are held until you have looked
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  koban review list\n  koban review approve rev_0193… --reason 'the payer confirmed it by phone'"
    )]
    Review(commands::reviews::Reviews),
    /// Subscriptions: what plugins hear of what happens, and events that one could not take
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  koban subscription list\n  koban subscription parked charge-campaign\n  koban subscription retry charge-campaign evt_0193…"
    )]
    Subscription(commands::subscriptions::Subscriptions),
    /// Decisions: what guests were asked and answered
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  koban decision list --plugin fraud-rules\n  koban decision replay dec_0193…")]
    Decision(commands::decisions::Decisions),
    /// Publishers: whose signature under a plugin's package counts
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  koban publisher keygen publisher.key\n  koban publisher add example-inc 0f1e2d…\n  koban publisher trust example-inc --reason 'key compared by phone'"
    )]
    Publisher(commands::publishers::Publishers),
    /// Plugins: make, test, build, sign, install, try, enable, take back
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  koban plugin new fraud-rule first-payment\n  koban plugin test\n  koban plugin install plugins/target/packages/fraud-rules --unsigned\n  koban plugin releases fraud-rules"
    )]
    Plugin(commands::plugins::PluginCommands),
    /// Webhooks: receive them here, test, list, send again
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  koban webhook listen\n  koban webhook trigger whk_0193…")]
    Webhook(commands::webhooks::Webhooks),
    /// Attack a host of its own, put together like this one, with hostile plugins: is each attack contained here
    Selftest(selftest::Arguments),
    /// Measure the ledger and the door beside a baseline (release builds only)
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    // The host started itself to compile a component: nothing else happens in that process.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|first| first == koban_runtime::worker::ARGUMENT) {
        return koban_runtime::worker::work(&words.next().unwrap_or_default().to_string_lossy());
    }
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return commands::failed(&anyhow::anyhow!(error).context("the async runtime cannot start"), false);
        }
    };
    let as_json = arguments.global.json;
    let done = runtime.block_on(run(arguments));
    // Guests and hashing run on blocking threads that end by themselves; nobody waits for them here.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => commands::failed(&error, as_json),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let global = arguments.global;
    match arguments.command {
        Command::Up(arguments) => up::run(&global, arguments).await,
        Command::Serve(arguments) => serve::run(&global, arguments).await,
        Command::Migrate => commands::migrate(&global).await,
        Command::Doctor(arguments) => commands::doctor::run(&global, arguments).await,
        Command::Backup(command) => commands::backup::run(&global, command).await,
        Command::Audit(command) => commands::audit::run(&global, command).await,
        Command::User(command) => commands::users::run(&global, command).await,
        Command::Merchant(command) => commands::merchants::run(&global, command).await,
        Command::ApiKey(command) => commands::api_keys::run(&global, command).await,
        Command::Device(command) => commands::devices::run(&global, command).await,
        Command::Adjustment(command) => commands::adjustments::run(&global, command).await,
        Command::Key(command) => commands::keys::run(&global, command).await,
        Command::Operator(command) => commands::operators::run(&global, command).await,
        Command::Ledger(command) => commands::ledger::run(&global, command).await,
        Command::Bill(command) => commands::bills::run(&global, command).await,
        Command::Calendar(command) => commands::calendars::run(&global, command).await,
        Command::PartnerFile(command) => commands::partner_files::run(&global, command).await,
        Command::Flow(command) => commands::flows::run(&global, command).await,
        Command::Review(command) => commands::reviews::run(&global, command).await,
        Command::Subscription(command) => commands::subscriptions::run(&global, command).await,
        Command::Decision(command) => commands::decisions::run(&global, command).await,
        Command::Publisher(command) => commands::publishers::run(&global, command).await,
        Command::Plugin(command) => commands::plugins::run(&global, command).await,
        Command::Webhook(command) => commands::webhooks::run(&global, command).await,
        Command::Selftest(arguments) => selftest::run(&global, arguments).await,
        Command::Bench(arguments) => bench::run(&global, arguments).await,
    }
}
