//! `koban plugin inspect`: what a plugin may do, in plain words, and how that is known.

use clap::{Args, ValueEnum};
use koban_author::{package, permissions};
use koban_domain::manifest::Words;
use serde_json::json;

use super::Place;
use super::door::package_of;
use super::figures::grouped;
use crate::commands::say;
use crate::config::Global;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// In which language
    #[arg(long, value_enum, default_value = "en")]
    lang: Language,
}

/// The languages of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// English
    En,
    /// Japanese
    Ja,
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &Arguments) -> anyhow::Result<()> {
    let package = package::open(&package_of(&arguments.place)?)?;
    let checked = package.check().map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| format!("- {error}")).collect();
        anyhow::anyhow!("the component and its manifest do not fit:\n{}", lines.join("\n"))
    })?;
    let manifest = &package.manifest;
    let list = permissions::of(manifest, &checked);
    let value = json!({
        "id": manifest.id, "version": manifest.version, "kind": manifest.kind.word(), "contract": manifest.contract,
        "name": manifest.name, "purpose": manifest.purpose,
        "digest": checked.digest, "bytes": checked.bytes, "imports": checked.imports, "exports": checked.exports,
        "permissions": list.iter().map(|permission| json!({
            "may": permission.may, "how": permission.how.word(), "what": permission.what,
            "ja": permission.words.ja, "en": permission.words.en,
        })).collect::<Vec<_>>(),
    });
    say(global, &value, || {
        let word = |words: &Words| match arguments.lang {
            Language::En => words.en.clone(),
            Language::Ja => words.ja.clone(),
        };
        let lines = |may: bool| {
            let some = list.iter().filter(|permission| permission.may == may);
            some.map(|permission| format!("  {:<9} {}", permission.how.word(), word(&permission.words)))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let bytes = grouped(u64::try_from(checked.bytes).unwrap_or(u64::MAX));
        let (may, never, how) = match arguments.lang {
            Language::En => (
                "What it may do",
                "What it cannot do",
                "proved: by what the binary imports.  enforced: by the host, which refuses, records and counts whatever goes beyond.",
            ),
            Language::Ja => (
                "できること",
                "できないこと",
                "proved: 部品が持つ入口で証明済み。 enforced: 宣言を超えるものはホストが拒み、記録し、数えます。",
            ),
        };
        format!(
            "{} ({} {}), a {} for {}\n{}\n{bytes} bytes, digest {}\n\n{may}\n{}\n\n{never}\n{}\n\n{how}",
            word(&manifest.name),
            manifest.id,
            manifest.version,
            manifest.kind.word(),
            manifest.contract,
            word(&manifest.purpose),
            &checked.digest.to_string()[..16],
            lines(true),
            lines(false),
        )
    });
    Ok(())
}
