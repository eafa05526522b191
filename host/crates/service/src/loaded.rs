//! Loaded plugins: each is loaded once, however many calls ask for it at the same moment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use koban_domain::records::Digest;
use koban_runtime::Plugin;
use koban_store::plugins as rows;

use crate::app::App;
use crate::error::Error;
use crate::plugins::load;

/// Components that calls run on, by digest. Looking one up costs no allocation: every payment does.
#[derive(Clone, Default)]
pub struct Loaded {
    places: Arc<Mutex<HashMap<Digest, Vec<Place>>>>,
    loads: Arc<AtomicU64>,
}

/// A component under the settings of one plugin.
struct Place {
    /// The plugin's id. Two plugins may share a component.
    plugin: String,
    /// What calls get, with the generation of the policy that it was looked up under.
    ready: Option<(i64, Plugin)>,
    /// Held by whoever loads it; the others wait for what comes of it.
    loading: Arc<tokio::sync::Mutex<()>>,
}

/// Most components kept loaded; beyond it all are dropped and loaded again as they are called.
const LOADED_MAX: usize = 1_000;

/// A component under the settings of its plugin's row. Settings change in the commit that moves the policy's generation, so the
/// row is looked at again when the generation has moved, and only then. Errors: it is not installed, or cannot be loaded.
pub(crate) async fn current(app: &App, id: &str, digest: Digest) -> Result<Plugin, Error> {
    let generation = app.ledger.policy().generation;
    let loading = match app.loaded.look(id, digest, generation) {
        Ok(plugin) => return Ok(plugin),
        Err(loading) => loading,
    };
    // A switched rule would otherwise be loaded once for each of the payments that wait for it.
    let _alone = loading.lock().await;
    if let Ok(plugin) = app.loaded.look(id, digest, generation) {
        return Ok(plugin);
    }
    let row = rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("plugin"))?;
    let before = app.loaded.before(id, digest);
    let plugin = match before {
        Some(plugin) if plugin.settings_digest() == row.settings => plugin,
        before => {
            let settings = rows::settings(&app.store, row.settings).await?.ok_or(Error::NotFound("plugin settings"))?;
            match before {
                Some(plugin) => plugin.with_settings(settings),
                None => {
                    let component = rows::component(&app.store, digest).await?.ok_or(Error::NotFound("component"))?;
                    app.loaded.loads.fetch_add(1, Ordering::Relaxed);
                    load(app, component.bytes, component.manifest, settings).await?
                }
            }
        }
    };
    app.loaded.keep(id, digest, generation, plugin.clone());
    Ok(plugin)
}

impl Loaded {
    /// How often a component was loaded for calls since the host started.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// What calls get under this generation of the policy, or whose turn it is to make it ready.
    fn look(&self, id: &str, digest: Digest, generation: i64) -> Result<Plugin, Arc<tokio::sync::Mutex<()>>> {
        let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= LOADED_MAX && !all.contains_key(&digest) {
            all.clear();
        }
        let places = all.entry(digest).or_default();
        let at = places.iter().position(|place| place.plugin == id).unwrap_or_else(|| {
            places.push(Place { plugin: id.to_owned(), ready: None, loading: Arc::default() });
            places.len() - 1
        });
        match &places[at].ready {
            // A newer one is as good: whoever asks has only not yet seen that the policy moved.
            Some((known, plugin)) if *known >= generation => Ok(plugin.clone()),
            _ => Err(Arc::clone(&places[at].loading)),
        }
    }

    /// What was loaded under an earlier generation. Its code is the digest's, so at most its settings are others now.
    fn before(&self, id: &str, digest: Digest) -> Option<Plugin> {
        let all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = all.get(&digest)?.iter().find(|place| place.plugin == id)?;
        place.ready.as_ref().map(|(_, plugin)| plugin.clone())
    }

    fn keep(&self, id: &str, digest: Digest, generation: i64, plugin: Plugin) {
        let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = all.get_mut(&digest).and_then(|places| places.iter_mut().find(|place| place.plugin == id));
        // Dropped meanwhile with all others: the next call loads it again.
        if let Some(place) = place {
            place.ready = Some((generation, plugin));
        }
    }
}
