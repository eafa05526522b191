//! `koban up`: a host on embedded SQLite with demo data, the outside world and both first plugins, and a play of the main job.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use koban_service::merchants::{self, NewMerchant};
use koban_service::operators::{self, command_line};
use koban_service::plugins::{self, EndpointInput, Install};
use koban_service::{App, clock};
use koban_web::WebConfig;
use outside_world::Config as WorldConfig;

use crate::config::Global;
use crate::play::{self, Cast};
use crate::serve;

/// Arguments of `up`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  koban up            play, then stay up\n  koban up --once     play and end; exit code 0 only if every line went as it should"
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
}

/// What the channel of the demo may cost, in yen.
const EXPOSURE_CAP: i64 = 5_000_000;
const LOSS_BUDGET: i64 = 100_000;
/// The number that the ATM's user types; the demo's own.
const COMPANY_NUMBER: &str = "8284";

/// Starts everything, plays, and stays up unless told to play once.
pub(crate) async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    global.start_log()?;
    let data = fresh_data(&global.data.join("up"))?;
    let global = Global { data: data.clone(), database: None, ..global.clone() };
    let started = stopwatch();
    // The demo's books are a test's: its keys say so, and its clock can be moved.
    let app = global.serving_app(true).await?;
    println!("koban    host on {}", crate::config::shown(&global.database()));

    let listen = free_or(arguments.listen).await;
    let host = serve::start(app.clone(), listen, "127.0.0.1:0".parse()?, WebConfig::default()).await?;
    let secret = demo_secret();
    let world = outside_world::start(WorldConfig::new(format!("http://{}", host.address), vec![secret.clone()]))
        .await
        .context("the outside world cannot start")?;
    println!("world    ATM network on {}", world.base());

    install(&app, &arguments.packages, &world.base(), secret).await?;
    let cast = cast(&app, host.address.to_string(), world.addr.to_string()).await?;
    println!("ready    in {} ms; now a day in the life of a wallet, over HTTP\n", started.elapsed().as_millis());

    let good = play::play(&app, &cast).await?;
    if arguments.once {
        host.stop().await;
        world.stop();
        if !good {
            bail!("a line of the play did not go as it should");
        }
        return Ok(());
    }
    println!("\nstaying up; Ctrl-C ends it. Where to look:");
    println!("  API and documents  http://{0}/docs   (OpenAPI: http://{0}/openapi.json)", host.address);
    println!("  metrics            http://{}/metrics", host.admin_address);
    println!("  ATM network        {}/control/book", world.base());
    let at = format!("--data {}", data.display());
    println!("  on the command line  koban {at} ledger verify | plugin list | flow list | decision list");
    println!("  sign in as           {} or {} with the password `{}`", play::HANA, play::KEN, cast.password);
    serve::stop_signal().await;
    host.stop().await;
    world.stop();
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

fn demo_secret() -> String {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    clock::fill(&mut bytes);
    format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

async fn install(app: &App, packages: &Path, network: &str, secret: String) -> anyhow::Result<()> {
    let ctx = command_line("");
    for (id, caps, settings) in [
        ("fraud-rules", None, vec![]),
        ("charge-atm", Some((EXPOSURE_CAP, LOSS_BUDGET)), vec![format!("company_number={COMPANY_NUMBER}")]),
    ] {
        let dir = packages.join(id);
        let package = koban_author::package::open(&dir)
            .with_context(|| format!("no package in {}; `cargo xtask guests` builds it", dir.display()))?;
        let view = plugins::install(
            app,
            &ctx,
            Install {
                settings: crate::commands::plugins::settings(&package.manifest, &settings)?,
                component: package.component,
                manifest: package.manifest,
                exposure_cap: caps.map(|(cap, _)| cap),
                loss_budget: caps.map(|(_, budget)| budget),
            },
        )
        .await?;
        let limits = view.exposure.map_or(String::new(), |exposure| {
            format!(", may have {} unsettled and lose {}", exposure.cap, exposure.loss_budget)
        });
        println!("plugin   {} {} ({}){limits}", view.id, view.version, &view.digest.to_string()[..12]);
    }
    let endpoint = EndpointInput {
        name: "network".to_owned(),
        base: network.to_owned(),
        secrets: vec![secret],
        // The played network is on this machine: exactly this endpoint may be private.
        allow_private: true,
    };
    plugins::set_endpoint(app, &ctx, "charge-atm", endpoint).await?;
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
