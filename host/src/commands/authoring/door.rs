//! The plugin at hand behind the door of production: the same limits, the same engine, the same checks.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context as _, bail};
use koban_author::manifest;
use koban_author::package::{self, COMPONENT_FILE, Package};
use koban_domain::guest::Named;
use koban_domain::ids::RecordId;
use koban_domain::records::{Fault, Input, Output};
use koban_domain::time::Timestamp;
use koban_runtime::{CallContext, Called, Door, DoorConfig, Plugin, Used};
use uuid::Uuid;

use super::Place;

/// Calls that may run at once: an author makes one after the other.
const SLOTS: u32 = 4;

/// A plugin that can be called.
pub(super) struct AtHand {
    /// Its package.
    pub(super) package: Package,
    /// The folder of its source, or of the package.
    pub(super) dir: PathBuf,
    /// The door.
    pub(super) door: Door,
}

/// Whether this is the folder of a plugin's source.
fn is_source(dir: &Path) -> bool {
    dir.join(manifest::FILE).is_file() && !dir.join(COMPONENT_FILE).is_file()
}

/// The package that is meant: of a source the one that is built now, or was built last.
pub(super) fn package_of(place: &Place) -> anyhow::Result<PathBuf> {
    if let Some(package) = &place.package {
        return Ok(package.clone());
    }
    let dir = &place.dir;
    if !dir.join(manifest::FILE).is_file() {
        bail!(
            "there is no {} in {}: go into a plugin's folder or name one; `koban plugin new` makes one",
            manifest::FILE,
            dir.display()
        );
    }
    if !is_source(dir) {
        return Ok(dir.clone());
    }
    if !place.no_build {
        return build(dir);
    }
    let text = std::fs::read_to_string(dir.join(manifest::FILE))?;
    let id = manifest::read(&text)?.id;
    let whole = dir.canonicalize()?;
    let mut homes = whole.ancestors().map(|home| home.join("target/packages").join(&id));
    homes.find(|home| home.join(COMPONENT_FILE).is_file()).with_context(|| {
        format!("`{id}` was never built: leave --no-build out, or run `koban plugin build {}`", dir.display())
    })
}

/// Builds the plugin. Progress is shown as it comes; what else the tools say is shown at the end, and once: an error repeats it itself.
fn build(dir: &Path) -> anyhow::Result<PathBuf> {
    let mut said = Vec::new();
    let built = koban_author::build(&[dir.to_owned()], None, &mut |line| {
        let word = line.split_whitespace().next().unwrap_or_default();
        match word {
            "Compiling" | "Downloading" | "Downloaded" | "Updating" | "fetching" => eprintln!("{line}"),
            // Of an unchanged plugin they tell nothing new.
            "Finished" | "building" => {}
            _ => said.push(line.to_owned()),
        }
    })?;
    for line in said {
        eprintln!("{line}");
    }
    built.into_iter().next().map(|built| built.package).context("nothing was built")
}

impl AtHand {
    /// Builds if needed, opens and checks.
    pub(super) fn open(place: &Place) -> anyhow::Result<AtHand> {
        let home = package_of(place)?;
        let package = package::open(&home)?;
        package.check().map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(|error| format!("- {error}")).collect();
            anyhow::anyhow!("{}: the component and its manifest do not fit:\n{}", home.display(), lines.join("\n"))
        })?;
        let door = Door::new(DoorConfig { cache: cache(&home), slots: SLOTS, ..DoorConfig::default() })?;
        Ok(AtHand { package, dir: place.dir.clone(), door })
    }

    /// The plugin with these settings, which must be complete.
    pub(super) fn with(&self, settings: Vec<Named>) -> anyhow::Result<Plugin> {
        Ok(self.door.load(&self.package.component, &self.package.manifest, settings)?)
    }
}

/// Compiled code is kept beside the packages in `target`, where a build keeps its own; elsewhere nothing is written.
fn cache(package: &Path) -> Option<cap_std::fs::Dir> {
    let target = package.parent().filter(|home| home.ends_with("packages"))?.parent()?;
    let dir = target.join("compiled");
    crate::config::make_private(&dir).ok()?;
    cap_std::fs::Dir::open_ambient_dir(&dir, cap_std::ambient_authority()).ok()
}

/// The circumstances of an author's call: always the same id, so that the same call is the same.
pub(super) fn circumstances(at: Timestamp, locale: &str, seed: u64) -> CallContext {
    CallContext {
        id: RecordId(Uuid::from_u128(0x7000_8000_0000_0000_0001)),
        at,
        scope: "platform".to_owned(),
        seed,
        locale: locale.to_owned(),
    }
}

/// Runs one call and measures it, in microseconds.
#[expect(clippy::disallowed_methods, reason = "a measurement for authors; no decision sees it")]
pub(super) async fn timed(door: &Door, plugin: &Plugin, circumstances: CallContext, input: Input) -> (Called, u64) {
    let since = Instant::now();
    let called = door.call(plugin, circumstances, input).await;
    (called, u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// A plugin as scenarios ask it, which remembers the most that any call used.
pub(super) struct Played {
    door: Door,
    plugin: Plugin,
    most: Mutex<Option<Used>>,
}

impl Played {
    pub(super) fn new(door: Door, plugin: Plugin) -> Played {
        Played { door, plugin, most: Mutex::default() }
    }

    /// The most fuel and memory that any call used.
    pub(super) fn most(&self) -> Option<Used> {
        *self.most.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl koban_author::scenario::Guest for Played {
    async fn call(&self, at: Timestamp, locale: &str, input: Input) -> Result<Output, Fault> {
        let called = self.door.call(&self.plugin, circumstances(at, locale, 7), input).await;
        let used = called.used(&self.plugin);
        let mut most = self.most.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *most = Some(match *most {
            None => used,
            Some(most) => Used {
                class: if used.fuel > most.fuel { used.class } else { most.class },
                fuel: most.fuel.max(used.fuel),
                memory_bytes: most.memory_bytes.max(used.memory_bytes),
                input_bytes: most.input_bytes.max(used.input_bytes),
                output_bytes: most.output_bytes.max(used.output_bytes),
                log_lines: most.log_lines.max(used.log_lines),
            },
        });
        drop(most);
        called.result
    }
}
