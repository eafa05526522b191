//! The world that is measured in: a fresh database with verified users who hold money, merchants, sessions and the rules.
//!
//! Users and sessions are written in bulk, as a hundred thousand sign-ups would take hours of password hashing. Their money
//! comes through the ledger itself, as charges of the ATM channel: the books are true from the first entry on.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::Router;
use koban_domain::accounts::PluginKey;
use koban_domain::charges::ChargeCredit;
use koban_domain::ids::{FlowId, MerchantId, UserId};
use koban_domain::ledger::{Command, Decided, Work};
use koban_domain::limits::{Action, Limit, WalletKind, Window};
use koban_domain::money::Money;
use koban_outside::{Outside, Settings};
use koban_runtime::{Door, Plugin};
use koban_service::clock::{self, Clock};
use koban_service::merchants::{self, NewMerchant};
use koban_service::operators::command_line;
use koban_service::plugins::{self, Install};
use koban_service::sealing::Sealer;
use koban_service::{App, identity, limits};
use koban_store::{Config, Store};
use koban_web::{Rates, WebConfig};

use super::database::{Bulk, Fresh};
use super::processor::Processor;
use super::random::Zipf;

/// The channel that brings the users' money.
const CHANNEL: &str = "charge-atm";
/// The rules that judge payments.
const RULES: &str = "fraud-rules";
/// What each user begins with, in yen: more than any run takes from the most frequent one.
const HOLDING: i64 = 900_000;
/// The most that an operator can allow a plugin, in yen; the bench's users hold a tenth of it.
const NUMBERS_MAX: i64 = 1_000_000_000_000;
/// Merchants to choose from.
const MERCHANTS: usize = 100;
/// Users who are signed in, for the full payment path.
const SIGNED_IN_MAX: usize = 10_000;
/// Credits in one unit of work, and units under way while the users get their money.
const FUNDED_TOGETHER: usize = 64;
const FUNDERS: usize = 24;

/// Everything that clients need.
#[derive(Clone)]
pub(super) struct World {
    /// The database's address.
    url: String,
    /// The host, without its jobs: nothing runs beside what is measured.
    pub(super) app: App,
    /// Verified users with money.
    pub(super) users: Vec<UserId>,
    /// Who is drawn how often.
    pub(super) zipf: Zipf,
    /// Merchants.
    pub(super) merchants: Vec<MerchantId>,
    /// Session tokens of the first users.
    pub(super) tokens: Vec<String>,
    /// Every route of the host, called without a socket. Requests are counted against rates that nobody reaches.
    pub(super) routes: Router,
    /// The fraud rules as they are in force.
    pub(super) rules: Plugin,
    /// Whose processor time the runs take.
    pub(super) processor: Processor,
}

impl World {
    /// Makes the world in a fresh database. The packages are those that `koban plugin build` wrote.
    pub(super) async fn make(
        fresh: &Fresh,
        door: Door,
        packages: &Path,
        accounts: usize,
    ) -> anyhow::Result<Arc<World>> {
        let store = Store::open(&Config::new(fresh.url())).await.context("the bench's database cannot be opened")?;
        store.migrate().await?;
        let outside = Outside::new(Settings::default()).context("the way out cannot be opened")?;
        let app = App::start(store, door, outside, Clock::machine(), Sealer::none()).await?;
        let users: Vec<UserId> = (0..accounts).map(|_| UserId(app.clock.id())).collect();
        let tokens: Vec<String> = users.iter().take(SIGNED_IN_MAX).map(|_| clock::token()).collect();
        let sessions: Vec<_> =
            tokens.iter().map(|token| identity::token_hash(token)).zip(users.iter().copied()).collect();
        let mut bulk = Bulk::open(fresh).await?;
        bulk.users(&users, app.clock.now()).await?;
        bulk.sessions(&sessions, app.clock.now()).await?;
        lift_limits(&app).await?;
        install(&app, packages, CHANNEL, Some(NUMBERS_MAX), &["company_number=8284"]).await?;
        // The rules judge every payment; the velocity that a bench has by nature is set out of their way.
        let calm = ["user_10m_count=1000000", "user_1d_sum=1000000000", "merchant_10m_count=100000000"];
        install(&app, packages, RULES, None, &calm).await?;
        let rules = plugins::in_force(&app, RULES).await?.context("the rules were installed and are not in force")?;
        let merchants = merchants(&app).await?;
        fund(&app, &users).await?;
        // The planner knows the tables as they are now, for both sides of every comparison.
        bulk.analyze().await?;
        let processor = bulk.processor().await?;
        let zipf = Zipf::over(users.len());
        let config = WebConfig { rates: Rates::UNREACHED, ..WebConfig::default() };
        let routes = koban_web::router(app.clone(), config);
        let url = fresh.url().to_owned();
        Ok(Arc::new(World { url, routes, app, users, zipf, merchants, tokens, rules, processor }))
    }
}

impl World {
    /// The same world through another host: its own connections, queue and caches over the same database.
    pub(super) async fn another_host(&self) -> anyhow::Result<Arc<World>> {
        let store = Store::open(&Config::new(self.url.as_str())).await.context("a second host found no database")?;
        let outside = Outside::new(Settings::default()).context("the way out cannot be opened")?;
        let app = App::start(store, self.app.door.clone(), outside, Clock::machine(), Sealer::none()).await?;
        let config = WebConfig { rates: Rates::UNREACHED, ..WebConfig::default() };
        Ok(Arc::new(World { routes: koban_web::router(app.clone(), config), app, ..self.clone() }))
    }
}

/// Limits are checked and counted in every run, at heights that no run reaches.
async fn lift_limits(app: &App) -> anyhow::Result<()> {
    for (action, window) in [
        (Action::Hold, Window::Once),
        (Action::Charge, Window::Once),
        (Action::Send, Window::Day),
        (Action::Pay, Window::Day),
    ] {
        let amount = Money::yen(NUMBERS_MAX);
        let limit = Limit { wallet: WalletKind::Funds, action, window, amount, from: app.clock.now() };
        limits::put(app, &command_line(""), limit).await?;
    }
    Ok(())
}

async fn install(app: &App, packages: &Path, id: &str, cap: Option<i64>, settings: &[&str]) -> anyhow::Result<()> {
    let dir = packages.join(id);
    let package = koban_author::package::open(&dir)
        .with_context(|| format!("no package in {}; `cargo xtask guests` builds it", dir.display()))?;
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let input = Install {
        settings: crate::commands::plugins::settings(&package.manifest, &settings)?,
        component: package.component,
        manifest: package.manifest,
        exposure_cap: cap,
        loss_budget: cap,
    };
    plugins::install(app, &command_line(""), input).await?;
    Ok(())
}

async fn merchants(app: &App) -> anyhow::Result<Vec<MerchantId>> {
    let mut ids = Vec::with_capacity(MERCHANTS);
    for number in 1..=MERCHANTS {
        let input = NewMerchant { name: format!("Shop {number}"), category: "5812".to_owned() };
        ids.push(merchants::create(app, &command_line(""), input).await?.id);
    }
    Ok(ids)
}

/// Credits every user through the commit queue.
async fn fund(app: &App, users: &[UserId]) -> anyhow::Result<()> {
    let plugin = PluginKey::of(CHANNEL);
    let groups: Vec<Vec<UserId>> = users.chunks(FUNDED_TOGETHER).map(<[UserId]>::to_vec).collect();
    let mut funders = tokio::task::JoinSet::new();
    for share in groups.chunks(groups.len().div_ceil(FUNDERS).max(1)).map(<[Vec<UserId>]>::to_vec) {
        let app = app.clone();
        funders.spawn(async move {
            for group in share {
                let mut work = Work::new(app.clock.id(), "system");
                work.commands = group
                    .iter()
                    .map(|user| {
                        Command::Credit(ChargeCredit {
                            plugin,
                            flow: FlowId(work.id),
                            user: *user,
                            amount: Money::yen(HOLDING),
                            reference: user.to_string(),
                            arrived: false,
                        })
                    })
                    .collect();
                match app.ledger.commit(work).await? {
                    Decided::Done(_) => {}
                    other => bail!("the users could not be given money: {other:?}"),
                }
            }
            Ok(())
        });
    }
    while let Some(done) = funders.join_next().await {
        done.context("a funder panicked")??;
    }
    Ok(())
}
