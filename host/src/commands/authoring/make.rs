//! `koban plugin new`: a complete plugin in a folder of its own.

use std::path::PathBuf;

use clap::Args;
use koban_author::template;
use serde_json::json;

use crate::commands::say;
use crate::config::Global;

/// Arguments of `new`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What sort of plugin
    #[arg(value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(leaked(kinds())))]
    kind: String,
    /// Its id, and the name of its folder: 3 to 40 of a-z, 0-9 and `-`
    #[arg(value_name = "NAME")]
    name: String,
    /// The language it is written in
    #[arg(long, value_name = "LANGUAGE", default_value = "rust", value_parser = clap::builder::PossibleValuesParser::new(leaked(template::languages())))]
    lang: String,
    /// Where its folder is made
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
}

/// Every kind that there is a template for, in whichever language.
fn kinds() -> Vec<String> {
    let mut kinds: Vec<String> = template::languages().iter().flat_map(|language| template::kinds(language)).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Clap keeps the words of its help for as long as the program runs.
fn leaked(words: Vec<String>) -> Vec<&'static str> {
    words.into_iter().map(|word| &*word.leak()).collect()
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &Arguments) -> anyhow::Result<()> {
    let made = template::new(&arguments.into, &arguments.kind, &arguments.name, &arguments.lang)?;
    let value = json!({ "id": arguments.name, "dir": made.dir, "files": made.files, "vendored": made.vendored, "edit": made.edit });
    say(global, &value, || {
        let about = |file: &String| match file.as_str() {
            "README.md" => "what is what",
            "plugin.toml" => "what it asks for and may say, in Japanese and English",
            file if *file == made.edit => "the plugin: edit this",
            file if file.starts_with("calls/") => "a call of the built plugin, with the answer it should give",
            file if file.starts_with("scenarios/") => "a flow from beginning to end, with what each step should do",
            file if file.contains("test") => "unit tests",
            _ => "",
        };
        let width = made.files.iter().map(String::len).max().unwrap_or(0);
        let files: Vec<String> =
            made.files.iter().map(|file| format!("  {file:width$}  {}", about(file)).trim_end().to_owned()).collect();
        format!(
            "{} is a {} in {}:\n{}\n  {:width$}  Koban's SDK and contract, {} files\n\nIt needs {}.\n\nnext:\n  cd {}\n  koban plugin test",
            arguments.name,
            arguments.kind,
            made.language,
            files.join("\n"),
            "vendor/",
            made.vendored,
            made.needs,
            made.dir.strip_prefix(".").unwrap_or(&made.dir).display()
        )
    });
    Ok(())
}
