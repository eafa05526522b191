//! `koban plugin check`: everything that can be said about a plugin before anybody installs it.

use anyhow::bail;
use koban_author::package;
use koban_domain::manifest::Manifest;
use koban_domain::time::Timestamp;
use koban_runtime::{Door, DoorConfig};
use serde_json::json;

use super::Place;
use super::door::{circumstances, package_of};
use super::figures::grouped;
use crate::commands::say;
use crate::config::Global;

/// One thing that was looked at, with what is wrong; nothing wrong is good.
struct Look {
    what: &'static str,
    found: String,
    wrong: Vec<String>,
}

fn look(what: &'static str, found: impl Into<String>, wrong: Vec<String>) -> Look {
    Look { what, found: found.into(), wrong }
}

/// Runs the command.
pub(super) async fn run(global: &Global, place: &Place) -> anyhow::Result<()> {
    let package = package::open(&package_of(place)?)?;
    let manifest = &package.manifest;
    let mut looks =
        vec![look("manifest", format!("{} {}, a {}", manifest.id, manifest.version, manifest.kind.word()), vec![])];
    looks.push(look("texts", format!("{} in Japanese and English", texts(manifest)), vec![]));
    looks.push(look("contract", manifest.contract.clone(), vec![]));
    let bytes = |bytes: usize| grouped(u64::try_from(bytes).unwrap_or(u64::MAX));
    let size = format!("{} bytes of {}", bytes(package.component.len()), bytes(manifest.engine.component_bytes_max()));
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    match package.check() {
        Err(errors) => looks.push(look("component", size, errors.iter().map(ToString::to_string).collect())),
        Ok(checked) => {
            (imports, exports) = (checked.imports.clone(), checked.exports.clone());
            looks.push(look("component", size, vec![]));
            looks.push(look("imports", short(&imports), vec![]));
            looks.push(look("exports", short(&exports), vec![]));
            looks.extend(ask(&package).await);
        }
    }
    let good = looks.iter().all(|look| look.wrong.is_empty());
    let value = json!({
        "good": good, "id": manifest.id, "version": manifest.version, "digest": package.digest, "imports": imports, "exports": exports,
        "checks": looks.iter().map(|look| json!({ "check": look.what, "good": look.wrong.is_empty(), "found": look.found, "wrong": look.wrong })).collect::<Vec<_>>(),
    });
    say(global, &value, || {
        let mut text = Vec::new();
        for look in &looks {
            let state = if look.wrong.is_empty() { "ok  " } else { "FAIL" };
            text.push(format!("{state}  {:<9}  {}", look.what, look.found));
            text.extend(look.wrong.iter().map(|wrong| format!("      {wrong}")));
        }
        text.push(format!("digest {}", package.digest));
        text.join("\n")
    });
    if good { Ok(()) } else { bail!("{} has something to mend", manifest.id) }
}

/// What the component says of itself, and whether it takes its own default settings; behind the door, with the limits of production.
async fn ask(package: &package::Package) -> Vec<Look> {
    let door = match Door::new(DoorConfig { slots: 2, ..DoorConfig::default() }) {
        Ok(door) => door,
        Err(error) => return vec![look("start", String::new(), vec![error.to_string()])],
    };
    let manifest = &package.manifest;
    let plugin = match door.load(&package.component, manifest, Vec::new()) {
        Ok(plugin) => plugin,
        Err(error) => return vec![look("start", String::new(), vec![error.to_string()])],
    };
    let (described, _) = door.describe(&plugin, circumstances(Timestamp(0), "en", 0)).await;
    let mut looks = vec![match described {
        Ok(said) => look("describe", format!("{} {}", said.id, said.version), vec![]),
        Err(fault) => {
            let next = format!("{fault}: id and version of plugin.toml and of the source must be the same");
            look("describe", String::new(), vec![next])
        }
    }];
    looks.push(match manifest.settings(&[]) {
        Err(missing) => {
            let names: Vec<&str> =
                missing.iter().map(|missing| missing.place.trim_start_matches("settings.")).collect();
            look("settings", format!("{} must be set before it can run", names.join(", ")), vec![])
        }
        Ok(defaults) => {
            let plugin = plugin.with_settings(defaults);
            match door.check_settings(&plugin, circumstances(Timestamp(0), "en", 0)).await.0 {
                Ok(failures) => {
                    let wrong =
                        failures.iter().map(|failure| format!("its defaults: {} ({})", failure.message, failure.code));
                    look("settings", format!("{} with good defaults", manifest.settings.len()), wrong.collect())
                }
                Err(fault) => look("settings", String::new(), vec![fault.to_string()]),
            }
        }
    });
    looks
}

/// How many texts there are; a manifest in which one lacks a language is not read.
fn texts(found: &Manifest) -> usize {
    // Name and purpose among them.
    found.settings.len() + found.codes.len() + found.texts.len() + 2
}

/// Interfaces without the words that all of them share.
fn short(interfaces: &[String]) -> String {
    let name = |interface: &String| {
        let name = interface.split('@').next().unwrap_or_default();
        name.rsplit('/').next().unwrap_or_default().to_owned()
    };
    interfaces.iter().map(name).collect::<Vec<_>>().join(", ")
}
