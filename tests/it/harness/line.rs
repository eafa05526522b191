//! A line between a host and its database server that breaks in the middle when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server commits, and nobody hears of it.
    AnswerLost,
    /// The server never hears of it.
    RequestLost,
}

/// The line. Dropping it cuts it for good.
pub(crate) struct Line {
    address: String,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// Commits that pass before one is cut; zero cuts none.
    until_cut: AtomicU32,
    request_lost: AtomicBool,
    /// How many were cut.
    cuts: AtomicU32,
    /// Nothing passes in either direction, and nobody is told.
    dead: AtomicBool,
}

impl Line {
    /// A line to this server, `host:port`.
    pub(crate) async fn to(server: &str) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (state, server) = (Arc::new(State::default()), server.to_owned());
        let known = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, state) = (server.clone(), Arc::clone(&known));
                tokio::spawn(async move { carry(client, &server, &state).await });
            }
        });
        Line { address, state, accepting }
    }

    /// A database's address, over this line.
    pub(crate) fn over(&self, url: &str) -> String {
        let (before, name) = url.rsplit_once('/').expect("a URL");
        let (start, _) = before.rsplit_once('@').expect("a URL with a user");
        format!("{start}@{}/{name}", self.address)
    }

    /// The server of a database's address, `host:port`.
    pub(crate) fn server_of(url: &str) -> String {
        let (before, _) = url.rsplit_once('/').expect("a URL");
        before.rsplit_once('@').expect("a URL with a user").1.to_owned()
    }

    /// Cuts the commit that comes after so many others, once.
    pub(crate) fn cut_after(&self, commits: u32, cut: Cut) {
        self.state.request_lost.store(cut == Cut::RequestLost, Ordering::SeqCst);
        self.state.until_cut.store(commits + 1, Ordering::SeqCst);
    }

    /// How many commits were cut.
    pub(crate) fn cuts(&self) -> u32 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// From now on nothing passes and nobody is told, as when a cable is drawn; or it is put back.
    pub(crate) fn is_dead(&self, dead: bool) {
        self.state.dead.store(dead, Ordering::SeqCst);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    /// Whether this is the commit that is cut.
    fn cuts_this(&self) -> bool {
        let count = |left: u32| left.checked_sub(1);
        let cut = self.until_cut.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) == Ok(1);
        if cut {
            self.cuts.fetch_add(1, Ordering::SeqCst);
        }
        cut
    }

    async fn wait_while_dead(&self) {
        while self.dead.load(Ordering::SeqCst) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

async fn carry(mut client: TcpStream, server: &str, state: &State) {
    state.wait_while_dead().await;
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut asked, mut said) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                state.wait_while_dead().await;
                let commits = asked[..read].windows(7).any(|part| part == b"COMMIT\0");
                let is_cut = commits && state.cuts_this();
                if is_cut && state.request_lost.load(Ordering::SeqCst) {
                    return;
                }
                if server.write_all(&asked[..read]).await.is_err() {
                    return;
                }
                if is_cut {
                    let _ = server.read(&mut said).await;
                    return;
                }
            }
            read = server.read(&mut said) => {
                let Ok(read @ 1..) = read else { return };
                state.wait_while_dead().await;
                if client.write_all(&said[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
