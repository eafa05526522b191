//! Running a recorded call again: the same component, settings and input in a fresh instance must end the same way.

use koban_domain::guest::Named;
use koban_domain::manifest::Manifest;
use koban_domain::records::{Digest, Ending, Record, settings_digest};

use crate::door::Door;
use crate::plugin::{LoadError, Plugin, grants_digest};

/// Longest account of a difference, in characters.
const SHOWN_CHARS_MAX: usize = 2_000;

/// Something that is not as the record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What: `component`, `settings`, `grants`, `ending`, `log` or `fuel`.
    pub what: &'static str,
    /// What the record says.
    pub recorded: String,
    /// What was found now.
    pub found: String,
}

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Whether the record is confirmed: everything compared is the same.
    pub same: bool,
    /// Everything that is not.
    pub differences: Vec<Difference>,
    /// Whether fuel was compared: it is under the same engine only.
    pub fuel_compared: bool,
    /// How the call ended this time; absent if it was not run because component, settings or grants differ, or because an ending like the
    /// recorded one says nothing about the guest.
    pub ending: Option<Ending>,
    /// Fuel used this time.
    pub fuel: u64,
}

impl Door {
    /// Runs a recorded call again. The component, the manifest and the settings must be those that the record names. For a fault only its
    /// class is compared. A `deadline` or `busy` ending depends on the machine and is not run again: `same` is false and a difference says so.
    /// Loads the component first, so call it where blocking is allowed for that long. Errors: the component cannot be loaded.
    pub async fn replay(
        &self,
        component: &[u8],
        manifest: &Manifest,
        settings: &[Named],
        record: &Record,
    ) -> Result<Replayed, LoadError> {
        let mut differences = Vec::new();
        digests("component", record.component, Digest::of(component), &mut differences);
        digests("settings", record.settings, settings_digest(settings), &mut differences);
        digests("grants", record.grants, grants_digest(manifest), &mut differences);
        if !differences.is_empty() {
            return Ok(Replayed { same: false, differences, fuel_compared: false, ending: None, fuel: 0 });
        }
        let plugin = self.load(component, manifest, settings.to_vec())?;
        Ok(self.replay_loaded(&plugin, record).await)
    }

    /// As [`Door::replay`], with a plugin that is loaded already.
    pub async fn replay_loaded(&self, plugin: &Plugin, record: &Record) -> Replayed {
        let mut differences = Vec::new();
        digests("component", record.component, plugin.digest(), &mut differences);
        digests("settings", record.settings, plugin.settings_digest(), &mut differences);
        digests("grants", record.grants, plugin.grants(), &mut differences);
        if let Ending::Fault(fault) = &record.ending
            && !fault.class.is_replayable()
        {
            differences.push(Difference {
                what: "ending",
                recorded: shown(&record.ending),
                found: "not run: this ending depends on the machine and says nothing about the guest".into(),
            });
        }
        if !differences.is_empty() {
            return Replayed { same: false, differences, fuel_compared: false, ending: None, fuel: 0 };
        }
        let run = self.run(plugin, &record.context, &record.input).await;
        let ending = match run.result {
            Ok(output) => Ending::Output(output),
            Err(fault) => Ending::Fault(fault),
        };
        let same_ending = match (&record.ending, &ending) {
            (Ending::Fault(recorded), Ending::Fault(found)) => recorded.class == found.class,
            (recorded, found) => recorded == found,
        };
        if !same_ending {
            let (recorded, found) = (shown(&record.ending), shown(&ending));
            differences.push(Difference { what: "ending", recorded, found });
        }
        if record.log != run.log {
            let (recorded, found) = (shown(&record.log), shown(&run.log));
            differences.push(Difference { what: "log", recorded, found });
        }
        let fuel_compared = record.engine == plugin.engine();
        if fuel_compared && record.fuel != run.fuel {
            let (recorded, found) = (record.fuel.to_string(), run.fuel.to_string());
            differences.push(Difference { what: "fuel", recorded, found });
        }
        Replayed { same: differences.is_empty(), differences, fuel_compared, ending: Some(ending), fuel: run.fuel }
    }
}

fn digests(what: &'static str, recorded: Digest, found: Digest, differences: &mut Vec<Difference>) {
    if recorded != found {
        differences.push(Difference { what, recorded: recorded.to_string(), found: found.to_string() });
    }
}

fn shown(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").chars().take(SHOWN_CHARS_MAX).collect()
}
