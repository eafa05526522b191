//! Loaded plugins: each component is loaded once, however many calls ask for it at the same moment and under whatever settings.

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
    places: Arc<Mutex<HashMap<Digest, Place>>>,
    loads: Arc<AtomicU64>,
}

/// A component under each of the settings that calls came with, the latest last.
#[derive(Default)]
struct Place {
    ready: Vec<Plugin>,
    /// Held by whoever loads it; the others wait for what comes of it.
    loading: Arc<tokio::sync::Mutex<()>>,
}

/// Most components kept loaded; beyond it all are dropped and loaded again as they are called.
const LOADED_MAX: usize = 1_000;
/// Most components that are made ready before anybody asks, so that those of flows find room beside them.
pub(crate) const READY_MAX: usize = LOADED_MAX / 2;
/// Most settings that a component is kept ready under: those in force, and those of flows that began under others.
const SETTINGS_MAX: usize = 16;

/// A component under settings, both by digest: what they name never changes, so what is ready stays good. Errors: it is not
/// installed, or cannot be loaded.
pub(crate) async fn loaded(app: &App, component: Digest, settings: Digest) -> Result<Plugin, Error> {
    let loading = match app.loaded.look(component, settings) {
        Ok(plugin) => return Ok(plugin),
        Err(loading) => loading,
    };
    // A switched rule would otherwise be loaded once for each of the payments that wait for it.
    let _alone = loading.lock().await;
    if let Ok(plugin) = app.loaded.look(component, settings) {
        return Ok(plugin);
    }
    let named = rows::settings(&app.store, settings).await?.ok_or(Error::NotFound("plugin settings"))?;
    let plugin = match app.loaded.under_others(component) {
        Some(plugin) => plugin.with_settings(named),
        None => {
            let row = rows::component(&app.store, component).await?.ok_or(Error::NotFound("component"))?;
            app.loaded.loads.fetch_add(1, Ordering::Relaxed);
            load(app, row.bytes, row.manifest, named).await?
        }
    };
    app.loaded.keep(plugin.clone());
    Ok(plugin)
}

/// A component under settings if it is ready; nothing is loaded.
pub(crate) fn ready(app: &App, component: Digest, settings: Digest) -> Option<Plugin> {
    app.loaded.look(component, settings).ok()
}

impl Loaded {
    /// How often a component was loaded for calls since the host started.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// What calls get, or whose turn it is to make it ready.
    fn look(&self, component: Digest, settings: Digest) -> Result<Plugin, Arc<tokio::sync::Mutex<()>>> {
        let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= LOADED_MAX && !all.contains_key(&component) {
            all.clear();
        }
        let place = all.entry(component).or_default();
        let ready = place.ready.iter().find(|plugin| plugin.settings_digest() == settings);
        ready.cloned().ok_or_else(|| Arc::clone(&place.loading))
    }

    /// The same code under other settings.
    fn under_others(&self, component: Digest) -> Option<Plugin> {
        let all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&component)?.ready.last().cloned()
    }

    fn keep(&self, plugin: Plugin) {
        let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Dropped meanwhile with all others: the next call loads it again.
        if let Some(place) = all.get_mut(&plugin.digest()) {
            if place.ready.len() >= SETTINGS_MAX {
                place.ready.remove(0);
            }
            place.ready.push(plugin);
        }
    }
}
