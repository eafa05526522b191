//! `koban serve`: the host, until it is told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use koban_service::{App, checkpoints, jobs};
use koban_web::{Web, WebConfig};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::claim::Claim;
use crate::config::{CheckpointFiles, Global};
use crate::traces::Tracing;

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  koban serve\n  koban --database postgres://koban@db/koban serve --listen 0.0.0.0:8080\n\nPrints `listening on http://ADDRESS` once it answers. SIGTERM or Ctrl-C ends it: /readyz says no, requests that were begun are finished."
)]
pub(crate) struct Arguments {
    /// Where the API listens; port 0 takes a free one
    #[arg(long, env = "KOBAN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where metrics listen; keep it on the loopback address. Port 0 takes a free one
    #[arg(long, env = "KOBAN_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    admin_listen: SocketAddr,
    /// Tell browsers to use TLS only; for hosts behind a TLS proxy
    #[arg(long, env = "KOBAN_HSTS", value_parser = clap::builder::BoolishValueParser::new(), default_missing_value = "true", num_args = 0..=1, default_value = "false", hide_default_value = true, hide_possible_values = true)]
    hsts: bool,
    /// The address of a proxy in front of the host whose `X-Forwarded-For` is believed; repeat it for several
    #[arg(long = "trusted-proxy", env = "KOBAN_TRUSTED_PROXIES", value_name = "IP", value_delimiter = ',')]
    trusted_proxies: Vec<std::net::IpAddr>,
    /// Most connections of one address at a time; a trusted proxy has no such bound
    #[arg(long, env = "KOBAN_CONNECTIONS_PER_ADDRESS", value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    connections_per_address: u16,
    #[command(flatten)]
    checkpoints: CheckpointFiles,
    /// Seconds between checkpoints; none is written while nothing was posted
    #[arg(long, env = "KOBAN_CHECKPOINT_EVERY", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    checkpoint_every: u64,
    /// Serve a database for tests, whose clock operators can move on over the API; refused beside live money
    #[arg(long, env = "KOBAN_TEST_CLOCK", value_parser = clap::builder::BoolishValueParser::new(), default_missing_value = "true", num_args = 0..=1, default_value = "false", hide_default_value = true, hide_possible_values = true)]
    test_clock: bool,
    /// Let this host serve an SQLite file that another one on this machine serves, such as during a handover
    #[arg(long, env = "KOBAN_SHARED_FILE", value_parser = clap::builder::BoolishValueParser::new(), default_missing_value = "true", num_args = 0..=1, default_value = "false", hide_default_value = true, hide_possible_values = true)]
    shared_file: bool,
    /// For tests of builds for development: end like a power cut at this place, the nth time, such as `step-committed:3`
    #[arg(long, env = "KOBAN_END_AT", value_name = "PLACE:N", hide = true)]
    end_at: Option<String>,
    #[command(flatten)]
    tracing: Tracing,
}

/// Runs the host until SIGTERM or Ctrl-C.
pub(crate) async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let (traces, begun) = arguments.tracing.begin();
    global.start_log_and(traces)?;
    let claim = if arguments.shared_file { None } else { Some(Claim::of(global)?) };
    if let Some(place) = &arguments.end_at {
        koban_service::crash::arm(place).map_err(anyhow::Error::msg)?;
    }
    let app = global.serving_app(arguments.test_clock).await?;
    let keeper = arguments.checkpoints.keeper(global)?;
    eprintln!("checkpoints in {}, signed by {}", arguments.checkpoints.file(global).display(), keeper.public_key());
    let keeping = checkpoints::start(&app, keeper, Duration::from_secs(arguments.checkpoint_every));
    let config = WebConfig {
        hsts: arguments.hsts,
        trusted_proxies: arguments.trusted_proxies,
        connections_per_address: arguments.connections_per_address.into(),
        ..WebConfig::default()
    };
    let host = start(app, arguments.listen, arguments.admin_listen, config).await?;
    let exporting = begun.map(|begun| begun.start(host.address));
    println!("listening on http://{}", host.address);
    eprintln!("metrics on http://{}/metrics, documents on http://{}/docs", host.admin_address, host.address);
    stop_signal().await;
    eprintln!("stopping: finishing what was begun");
    host.stop().await;
    keeping.stop().await;
    if let Some(exporting) = exporting {
        exporting.stop().await;
    }
    drop(claim);
    Ok(())
}

/// A host that runs.
pub(crate) struct Host {
    /// Where the API listens.
    pub address: SocketAddr,
    /// Where metrics listen.
    pub admin_address: SocketAddr,
    stopping: watch::Sender<bool>,
    web: tokio::task::JoinHandle<()>,
    jobs: jobs::Jobs,
}

/// Starts jobs and both listeners over an app.
pub(crate) async fn start(
    app: App,
    listen: SocketAddr,
    admin_listen: SocketAddr,
    config: WebConfig,
) -> anyhow::Result<Host> {
    let bind = |address: SocketAddr| async move {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("{address} cannot be listened on; port 0 takes a free one"))
    };
    let (listener, admin_listener) = (bind(listen).await?, bind(admin_listen).await?);
    let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let jobs = jobs::start(&app);
    let web = Web::new(app, config);
    let (stopping, stopped) = watch::channel(false);
    let until = |mut stopped: watch::Receiver<bool>| async move {
        // A dropped sender is a stop, too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let admin = tokio::spawn(koban_web::serve_admin(admin_listener, web.clone(), until(stopped.clone())));
    let public = tokio::spawn(koban_web::serve(listener, web, until(stopped)));
    let web = tokio::spawn(async move {
        let _ = public.await;
        admin.abort();
    });
    Ok(Host { address, admin_address, stopping, web, jobs })
}

impl Host {
    /// Finishes what was begun, then ends.
    pub(crate) async fn stop(self) {
        let _ = self.stopping.send(true);
        let _ = self.web.await;
        self.jobs.stop().await;
    }
}

/// Resolves with SIGTERM or Ctrl-C.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
