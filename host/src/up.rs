//! `koban up`: a host on a database of its own with demo data, the outside world and the first plugins, and a play of the
//! main job.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use koban_author::sign::{self, SigningKey};
use koban_domain::manifest::Kind;
use koban_domain::permissions::touches_money;
use koban_domain::records::Digest;
use koban_domain::releases::State;
use koban_service::endpoints::OauthAddresses;
use koban_service::merchants::{self, NewMerchant};
use koban_service::operators::{self, command_line};
use koban_service::plugins::{self, EndpointInput};
use koban_service::releases::{self, Accept, Move, Upload};
use koban_service::{App, beside, clock, publishers};
use koban_store::shadows::Agreement;
use koban_web::WebConfig;
use outside_world::Config as WorldConfig;
use serde_json::{Value, json};

use crate::config::Global;
use crate::play::{self, Cast};
use crate::serve;

/// Most times that the play looks whether calls in shadow are still open, ten times a second.
const SHADOW_LOOKS: u32 = 600;

/// Arguments of `up`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  koban up            play, then stay up\n  koban up --once     play and end; exit code 0 only if every line went as it should\n  koban up --once --with target/packages/first-payment   play with a plugin of your own\n  koban --json up --once | jq 'select(.event == \"line\")'\n  koban --database postgres://koban@localhost/play up --once\n\nWithout --database it plays on an SQLite in DATA/up, which it empties. A database that is named must be empty: it becomes a test's for ever."
)]
pub(crate) struct Arguments {
    /// Play and end; exit code 0 only if every line went as it should
    #[arg(long)]
    once: bool,
    /// Where the API listens; a free port is taken if this one is busy
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the packages of the first plugins are
    #[arg(long, env = "KOBAN_PACKAGES", value_name = "DIR", default_value = "plugins/target/packages")]
    packages: PathBuf,
    /// A package to install beside the first plugins, with its default settings; a rule is asked in shadow. Repeat it for more
    #[arg(long = "with", value_name = "PACKAGE")]
    with: Vec<PathBuf>,
}

/// What the channel of the demo may cost, in yen.
const EXPOSURE_CAP: i64 = 5_000_000;
const LOSS_BUDGET: i64 = 100_000;
/// Who vouches for the demo's plugins.
const PUBLISHER: &str = "demo";
/// The number that the ATM's user types; the demo's own.
const COMPANY_NUMBER: &str = "8284";

/// Starts everything, plays, and stays up unless told to play once.
pub(crate) async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    global.start_log()?;
    let data = fresh_data(&global.data.join("up"))?;
    let global = Global { data: data.clone(), ..global.clone() };
    let stage = Stage { json: global.json };
    let started = stopwatch();
    if global.database.is_some() {
        must_be_empty(&global).await?;
    }
    // The demo's books are a test's: its keys say so, and its clock can be moved.
    let app = global.serving_app(true).await?;
    let database = crate::config::shown(&global.database());
    stage.tell("host", json!({ "database": database }), || format!("koban    host on {database}"));

    let listen = free_or(arguments.listen).await;
    let host = serve::start(app.clone(), listen, "127.0.0.1:0".parse()?, WebConfig::default()).await?;
    let secret = demo_secret();
    let world = outside_world::start(WorldConfig::new(format!("http://{}", host.address), vec![secret.clone()]))
        .await
        .context("the outside world cannot start")?;
    stage.tell("world", json!({ "atm_network": world.base() }), || {
        format!("world    ATM network, bill collector, banks and a budgeting app on {}", world.base())
    });

    let key = publisher(&app, &data).await?;
    install(stage, &app, &arguments.packages, &key, &world.base(), secret).await?;
    let mut shadows = Vec::new();
    for dir in &arguments.with {
        let release = install_one(stage, &app, dir, &key, None, &[], State::Shadow).await?;
        shadows.extend(release.in_shadow.then_some((release.plugin, release.digest)));
    }
    let cast = cast(&app, host.address.to_string(), world.addr.to_string()).await?;
    let ms = started.elapsed().as_millis();
    let addresses = json!({ "ms": ms, "api": format!("http://{}", host.address), "metrics": format!("http://{}/metrics", host.admin_address),
        "users": [play::HANA, play::KEN], "operator": cast.operator, "password": cast.password });
    stage.tell("ready", addresses, || format!("ready    in {ms} ms; now a day in the life of a wallet, over HTTP\n"));

    let good = play::play(stage, &app, &cast).await?;
    for (plugin, digest) in shadows {
        tell_of_shadow(stage, &app, &plugin, digest).await?;
    }
    stage.tell("end", json!({ "good": good, "stays_up": !arguments.once }), String::new);
    if arguments.once {
        host.stop().await;
        world.stop();
        if !good {
            bail!("a line of the play did not go as it should");
        }
        return Ok(());
    }
    if !stage.json {
        println!("staying up; Ctrl-C ends it. Where to look:");
        println!("  API and documents  http://{0}/docs   (OpenAPI: http://{0}/openapi.json)", host.address);
        println!("  metrics            http://{}/metrics", host.admin_address);
        println!("  ATM network        {}/control/book", world.base());
        println!("  bill collector     {}/control/bills", world.base());
        let mut at = format!("--data {}", data.display());
        if global.database.is_some() {
            at.push_str(&format!(" --database {database}"));
        }
        println!("  on the command line  koban {at} ledger verify | plugin list | flow list | decision list");
        println!("  sign in as           {} or {} with the password `{}`", play::HANA, play::KEN, cast.password);
    }
    serve::stop_signal().await;
    host.stop().await;
    world.stop();
    Ok(())
}

/// Where the play is told: as text, or as one object of JSON a line, each with its `event`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    /// As JSON.
    pub json: bool,
}

impl Stage {
    /// Tells of one thing.
    pub(crate) fn tell(self, event: &str, mut value: Value, text: impl FnOnce() -> String) {
        use std::io::Write as _;
        let line = if self.json {
            value["event"] = event.into();
            value.to_string()
        } else {
            text()
        };
        // A reader that has seen enough is no failure; stages follow each other at human speed, so each line is written out.
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// The play fills its database with demo data and makes it a test's for ever: not one that somebody uses.
async fn must_be_empty(global: &Global) -> anyhow::Result<()> {
    let store = global.open().await?;
    let schema = store.schema().await?;
    store.close().await;
    if schema != koban_store::Schema::Empty {
        bail!(
            "{} has tables of Koban already; `koban up` plays on an empty database alone, make one and name it",
            crate::config::shown(&global.database())
        );
    }
    Ok(())
}

/// The demo begins anew each time: its own folder is emptied. Nothing else is ever deleted.
fn fresh_data(dir: &Path) -> anyhow::Result<PathBuf> {
    const MARK: &str = "this-is-a-koban-demo";
    if dir.exists() {
        if !dir.join(MARK).exists() {
            bail!("{} exists and is no demo of Koban; give another place with --data", dir.display());
        }
        for name in ["koban.db", "koban.db-wal", "koban.db-shm"] {
            match std::fs::remove_file(dir.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("{} cannot be emptied", dir.display()));
                }
                _ => {}
            }
        }
    }
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    std::fs::write(dir.join(MARK), "koban up empties this folder when it starts\n")?;
    Ok(dir.to_owned())
}

async fn free_or(wanted: SocketAddr) -> SocketAddr {
    match tokio::net::TcpListener::bind(wanted).await {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}

/// The key of the demo's publisher, the same each time.
fn demo_key(file: &Path) -> anyhow::Result<SigningKey> {
    let key = if file.exists() { SigningKey::open(file) } else { SigningKey::create(file) };
    key.context("the demo's publisher has no key")
}

fn demo_secret() -> String {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    clock::fill(&mut bytes);
    format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// The demo vouches for its own plugins, as a publisher that the demo trusts.
async fn publisher(app: &App, data: &Path) -> anyhow::Result<SigningKey> {
    let (ctx, key) = (command_line(""), demo_key(&data.join("demo-publisher.key"))?);
    publishers::add(app, &ctx, PUBLISHER, &key.public_key()).await?;
    publishers::trust(app, &ctx, PUBLISHER, "the demo's own key").await?;
    Ok(key)
}

async fn install(
    stage: Stage,
    app: &App,
    packages: &Path,
    key: &SigningKey,
    network: &str,
    secret: String,
) -> anyhow::Result<()> {
    let ctx = command_line("");
    for (id, caps, settings) in [
        ("fraud-rules", None, vec![]),
        ("charge-atm", Some((EXPOSURE_CAP, LOSS_BUDGET)), vec![format!("company_number={COMPANY_NUMBER}")]),
        ("charge-campaign", None, vec![format!("spend_min={}", play::CAMPAIGN_FROM)]),
        ("budget-export", None, vec![]),
        ("budget-live", None, vec![]),
        ("bill-slip", Some((EXPOSURE_CAP, LOSS_BUDGET)), vec!["fee=110".to_owned()]),
        ("bank-transfer", Some((EXPOSURE_CAP, LOSS_BUDGET)), vec![]),
        ("exchange-ecb", None, vec![]),
    ] {
        install_one(stage, app, &packages.join(id), key, caps, &settings, State::Enabled).await?;
    }
    let signed = vec![secret];
    for (id, name, secrets) in [
        ("charge-atm", "network", &signed),
        ("bill-slip", "collector", &signed),
        ("bank-transfer", "bank", &signed),
        // What everybody may read is signed by nobody.
        ("exchange-ecb", "bank", &vec![]),
    ] {
        let endpoint = EndpointInput {
            name: name.to_owned(),
            base: network.to_owned(),
            secrets: secrets.clone(),
            // The played partners are on this machine: exactly these endpoints may be private.
            allow_private: true,
            ..EndpointInput::default()
        };
        plugins::set_endpoint(app, &ctx, id, endpoint).await?;
    }
    let budgeting = EndpointInput {
        name: "app".to_owned(),
        base: format!("{network}/app/api"),
        allow_private: true,
        credential: [("client_id".to_owned(), outside_world::budget::CLIENT.to_owned())].into(),
        oauth: OauthAddresses {
            token: Some(format!("{network}/app/oauth/token")),
            authorize: Some(format!("{network}/app/agree")),
            redirect: Some("https://wallet.example/back".to_owned()),
            revoke: Some(format!("{network}/app/oauth/revoke")),
        },
        ..EndpointInput::default()
    };
    plugins::set_endpoint(app, &ctx, "budget-live", budgeting).await?;
    Ok(())
}

/// A package that was installed for the play.
struct Installed {
    plugin: String,
    digest: Digest,
    in_shadow: bool,
}

/// Installs one package and tells of it. What cannot be in shadow is enabled: only rules judge without acting.
async fn install_one(
    stage: Stage,
    app: &App,
    dir: &Path,
    key: &SigningKey,
    caps: Option<(i64, i64)>,
    settings: &[String],
    state: State,
) -> anyhow::Result<Installed> {
    let mut package = sign::open(dir).with_context(|| {
        format!("no package in {}; `cargo xtask guests` builds ours, `koban plugin build` any", dir.display())
    })?;
    // Whoever brings a channel of their own to the play lets it cost what ours may.
    let caps = caps.or(touches_money(&package.manifest).then_some((EXPOSURE_CAP, LOSS_BUDGET)));
    let kind = package.manifest.kind;
    key.sign(&mut package);
    let ctx = command_line("");
    let settings = crate::commands::plugins::settings(&package.manifest, settings)?;
    let release = releases::upload(app, &ctx, Upload { package, unsigned: false }).await?;
    let (exposure_cap, loss_budget) = (caps.map(|(cap, _)| cap), caps.map(|(_, budget)| budget));
    let accept = Accept { settings: Some(settings), exposure_cap, loss_budget, asks: Some(release.asks) };
    releases::install(app, &ctx, &release.plugin, release.digest, accept).await?;
    let in_shadow = state == State::Shadow && kind == Kind::FraudRule;
    let state = if in_shadow { State::Shadow } else { State::Enabled };
    releases::move_to(app, &ctx, &release.plugin, release.digest, &Move::to(state)).await?;
    let view = plugins::get(app, &release.plugin).await?;
    let limits = view.exposure.map_or(String::new(), |exposure| {
        format!(", may have {} unsettled and lose {}", exposure.cap, exposure.loss_budget)
    });
    let beside = if in_shadow { ", in shadow" } else { "" };
    let value = json!({ "id": view.id, "version": view.version, "digest": view.digest, "in_shadow": in_shadow,
        "exposure_cap": caps.map(|(cap, _)| cap), "loss_budget": caps.map(|(_, budget)| budget) });
    stage.tell("plugin", value, || {
        format!("plugin   {} {} ({}){limits}{beside}", view.id, view.version, &view.digest.to_string()[..12])
    });
    Ok(Installed { plugin: release.plugin, digest: release.digest, in_shadow })
}

/// Tells what a rule in shadow would have decided, once it was asked: calls in shadow are made behind the payments that they are about.
async fn tell_of_shadow(stage: Stage, app: &App, plugin: &str, digest: Digest) -> anyhow::Result<()> {
    for _ in 0..SHADOW_LOOKS {
        if app.shadows.open() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found = beside::agreement(app, plugin, digest).await?;
    let Agreement { calls, differ, faults } = found;
    let value = json!({ "id": plugin, "digest": digest, "calls": calls, "differ": differ, "faults": faults });
    stage.tell("shadow", value, || {
        format!("shadow   {plugin} was asked {calls} times beside what counted: {differ} otherwise, {faults} faults")
    });
    Ok(())
}

/// The people of the play: an operator and a shop. The users sign up over HTTP.
async fn cast(app: &App, host: String, world: String) -> anyhow::Result<Cast> {
    let ctx = command_line("");
    let password = format!("demo-{}", &clock::token()[..12]);
    let operator = "operator@example.com";
    operators::create(app, &ctx, operator, "Operator", password.clone()).await?;
    let shop = merchants::create(app, &ctx, NewMerchant { name: "Wasm Cafe".into(), category: "5812".into() }).await?;
    Ok(Cast { host, world, password, operator: operator.to_owned(), shop: shop.id })
}

#[expect(clippy::disallowed_methods, reason = "the play's stopwatch")]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}
