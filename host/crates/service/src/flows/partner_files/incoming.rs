//! What comes in: a partner's file is taken when it is whole, once by its digest, and each of its records goes to the flow that expects it.

use std::collections::HashMap;

use koban_domain::accounts::PluginKey;
use koban_domain::flows::Arrival;
use koban_domain::guest::{Message, What};
use koban_domain::ids::ReceivedFileId;
use koban_domain::ledger::SealedRecord;
use koban_domain::manifest::{DirectorySpec, IncomingSpec};
use koban_domain::records::{Digest, FaultClass, Input, Output};
use koban_outside::{DirectoryError, Listed};
use koban_runtime::Plugin;
use koban_store::inbound as calls;
use koban_store::partner_files::{self as rows, ReceivedRow};

use super::{FILE_BYTES_MAX, blocking, short};
use crate::app::App;
use crate::crash::{self, Point};
use crate::error::Error;
use crate::flows::inbound::keep;
use crate::guests::{self, For};
use crate::plugins;

/// Most correlations without a flow that are named.
const NAMED_MAX: usize = 10;

/// Which file in which directory.
type Where = (String, String, String);
/// What was seen at a look, and whether it was seen to.
type Seen = HashMap<Where, (Listed, bool)>;

/// What was seen in partners' directories at the last look.
#[derive(Debug, Default)]
pub(super) struct Watcher(Seen);

impl Watcher {
    /// Looks into every directory of every plugin in force, and takes what has not changed since the last look.
    pub(super) async fn look(&mut self, app: &App) -> Result<(), Error> {
        let mut seen = Seen::new();
        let ids: Vec<String> = app.ledger.policy().plugins.keys().cloned().collect();
        for id in ids {
            let Some(plugin) = plugins::in_force(app, &id).await? else { continue };
            for directory in plugin.manifest().directories.iter().filter(|directory| !directory.incoming.is_empty()) {
                self.look_into(app, &plugin, directory, &mut seen).await?;
            }
        }
        self.0 = seen;
        Ok(())
    }

    async fn look_into(
        &self,
        app: &App,
        plugin: &Plugin,
        directory: &DirectorySpec,
        seen: &mut Seen,
    ) -> Result<(), Error> {
        let (own, id, name) = (app.clone(), plugin.id().to_owned(), directory.name.clone());
        let listed = match blocking(move || own.outside.directories().list((&id, &name))).await? {
            Ok(listed) => listed,
            Err(DirectoryError::None) => return Ok(()),
            Err(error) => {
                tracing::warn!(plugin = plugin.id(), directory = directory.name, %error, "a partner's directory cannot be read");
                return Ok(());
            }
        };
        for file in listed {
            let Some(spec) = directory.incoming.iter().find(|spec| spec.takes(&file.name)) else { continue };
            let place = (plugin.id().to_owned(), directory.name.clone(), file.name.clone());
            let before = self.0.get(&place).filter(|(before, _)| *before == file);
            let mut done = before.is_some_and(|(_, done)| *done);
            // Whoever still writes it changes its size or time between two looks.
            if before.is_some() && !done {
                done = take(app, plugin, &directory.name, spec, &file).await.unwrap_or_else(|error| {
                    let error = crate::ledger::chain(&error);
                    tracing::warn!(
                        plugin = plugin.id(),
                        name = file.name,
                        error,
                        "a partner's file could not be taken; it is tried again"
                    );
                    false
                });
            }
            seen.insert(place, (file, done));
        }
        Ok(())
    }
}

/// Takes a whole file. Whether nothing is left to do about it as it is.
async fn take(app: &App, plugin: &Plugin, directory: &str, spec: &IncomingSpec, file: &Listed) -> Result<bool, Error> {
    let (own, id, place, name) = (app.clone(), plugin.id().to_owned(), directory.to_owned(), file.name.clone());
    let limit = FILE_BYTES_MAX as u64;
    let content = match blocking(move || own.outside.directories().read((&id, &place), &name, limit)).await? {
        Ok(content) => content,
        Err(error) => {
            tracing::warn!(plugin = plugin.id(), name = file.name, %error, "a partner's file cannot be read");
            return Ok(matches!(error, DirectoryError::TooLong { .. } | DirectoryError::NotPlain(_)));
        }
    };
    let digest = Digest::of(&content);
    let known = rows::received(&app.store, plugin.id(), &spec.name, digest).await?;
    if known.is_some_and(|known| known.taken) {
        tracing::info!(plugin = plugin.id(), name = file.name, %digest, "a partner's file came before; nothing of it is taken again");
        return Ok(true);
    }
    let mut received = ReceivedRow {
        id: ReceivedFileId(app.clock.id()),
        plugin: plugin.id().to_owned(),
        file: spec.name.clone(),
        digest,
        name: file.name.clone(),
        taken: false,
        records: 0,
        note: None,
        at: app.clock.now(),
    };
    let input = Input::ParseFile(spec.name.clone(), content);
    let (answer, record) = guests::call(app, plugin, For::PLATFORM, input).await;
    let why = match answer {
        Ok(Output::Records(records)) => return deliver(app, plugin, received, records, record).await,
        Err(fault) if fault.class == FaultClass::Busy => return Ok(false),
        Ok(Output::Failure(failure)) => format!("{}: {}", failure.code, failure.message),
        Ok(_) => "the plugin gave another answer".to_owned(),
        Err(fault) => format!("the plugin faulted: {fault}"),
    };
    tracing::warn!(plugin = plugin.id(), name = file.name, decision = %record.id, why, "a partner's file cannot be read; nothing of it is taken");
    keep(app, plugin, record).await?;
    received.note = Some(short(&why));
    rows::take(&app.store, &received, &[]).await?;
    Ok(true)
}

/// Gives each record to the flow that expects it. Records that nobody expects are named: an operator looks at them.
async fn deliver(
    app: &App,
    plugin: &Plugin,
    mut received: ReceivedRow,
    records: Vec<(String, Vec<u8>)>,
    record: SealedRecord,
) -> Result<bool, Error> {
    // A partner who is faster than we are: a flow is told that its file is sealed before it is told what came of it.
    let untold = rows::untold(&app.store, plugin.id()).await?;
    if records.iter().any(|(correlation, _)| untold.contains(correlation)) {
        tracing::info!(
            plugin = plugin.id(),
            name = received.name,
            "a partner's file answers one whose flows are not told yet; it waits"
        );
        return Ok(false);
    }
    keep(app, plugin, record).await?;
    let key = PluginKey::of(plugin.id());
    let (mut arrivals, mut nobodys) = (Vec::new(), Vec::new());
    for (correlation, body) in records {
        let expected = calls::expectation(&app.store, key, &correlation).await?;
        let Some((flow, name)) = expected.and_then(|known| known.flow.map(|flow| (flow, known.key))) else {
            nobodys.push(correlation);
            continue;
        };
        let message = Message { operation: received.file.clone(), path: String::new(), query: Vec::new(), body };
        arrivals.push(Arrival { flow, key: name, what: What::Message(message), call: None, at: received.at });
    }
    received.taken = true;
    received.records = i32::try_from(arrivals.len()).unwrap_or(i32::MAX);
    if !nobodys.is_empty() {
        let named = nobodys.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
        let note = format!("{} records concern no flow: {named}", nobodys.len());
        tracing::warn!(
            plugin = plugin.id(),
            name = received.name,
            note,
            "a partner's file has records that nobody expects"
        );
        received.note = Some(short(&note));
    }
    crash::pass(Point::FileRead);
    if rows::take(&app.store, &received, &arrivals).await? {
        crash::pass(Point::FileTaken);
        tracing::info!(plugin = plugin.id(), name = received.name, digest = %received.digest, records = arrivals.len(), "a partner's file was taken");
        for arrival in arrivals {
            app.bell.flow(arrival.flow);
        }
    }
    Ok(true)
}
