//! `koban plugin new`: a complete plugin from a template, with the SDK and the contract beside it, so that it builds without any registry of ours.
//!
//! A language is one folder, `sdk/templates/<language>/`: `template.toml`, a folder `any` for every kind, and a folder for each kind. The files of
//! a template are a plugin called `my-plugin` (`MyPlugin`, `my_plugin`); making one gives it the author's name.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use koban_domain::manifest::is_plugin_id;
use serde::Deserialize;

mod standalone;

/// Every file that is carried: its path below the root of the repository, and its text.
const CARRIED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/carried.rs"));
/// Where the templates are.
const TEMPLATES: &str = "sdk/templates/";
/// Where a new plugin keeps what it was given.
const VENDOR: &str = "vendor";
/// The template's own name, as ids, types and modules write it.
const NAMES: [&str; 3] = ["my-plugin", "MyPlugin", "my_plugin"];

/// A plugin that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its folder.
    pub dir: PathBuf,
    /// The language's name.
    pub language: String,
    /// Its own files, below its folder, in order.
    pub files: Vec<String>,
    /// How many more are in `vendor/`.
    pub vendored: usize,
    /// The file that its author edits first.
    pub edit: String,
    /// What its author's machine needs.
    pub needs: String,
}

/// Why a plugin cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name is no id of a plugin.
    #[error("`{0}` cannot be a plugin's name: use 3 to 40 of a-z, 0-9 and `-`, beginning with a letter")]
    Name(String),
    /// There is no such language.
    #[error("there is no template for the language `{given}`: choose one of {}", known.join(", "))]
    Language {
        /// What was asked for.
        given: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There is no template of this kind in this language.
    #[error("there is no template for the kind `{given}` in {language}: choose one of {}", known.join(", "))]
    Kind {
        /// What was asked for.
        given: String,
        /// In which language.
        language: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Something is there already.
    #[error("{} is there already and not empty: choose another name or another place", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("{} cannot be written: make its folder writable", file.display())]
    Write {
        /// Which one.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program carries a template that makes no sense.
    #[error("the template for {language} is damaged: {problem}; install koban again")]
    Damaged {
        /// Which one.
        language: String,
        /// What is wrong.
        problem: String,
    },
}

/// `template.toml`: what holds for all kinds in one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    /// How the language is called in sentences.
    name: String,
    /// Folders of the repository that are copied to `vendor/`, as they are.
    vendor: Vec<String>,
    /// Files of the repository that are copied to another place: `"plugins/Cargo.lock" = "Cargo.lock"`.
    #[serde(default)]
    copy: BTreeMap<String, String>,
    /// The file that the author edits first.
    edit: String,
    /// What the author's machine needs, as a sentence.
    needs: String,
}

/// The languages that there are templates for, in order.
pub fn languages() -> Vec<String> {
    folders(TEMPLATES)
}

/// The kinds that there are templates for in a language, in order.
pub fn kinds(language: &str) -> Vec<String> {
    folders(&format!("{TEMPLATES}{language}/")).into_iter().filter(|folder| folder != "any").collect()
}

/// Makes a plugin of this kind as the folder `name` below `place`. Errors: [`NewError`]; what is there already is never touched.
pub fn new(place: &Path, kind: &str, name: &str, language: &str) -> Result<Made, NewError> {
    if !is_plugin_id(name) {
        return Err(NewError::Name(name.chars().take(60).collect()));
    }
    let template = template(language)?;
    let known = kinds(language);
    if !known.iter().any(|known| known == kind) {
        return Err(NewError::Kind { given: kind.to_owned(), language: template.name, known });
    }
    let dir = place.join(name);
    if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file() {
        return Err(NewError::Exists(dir));
    }
    let home = format!("{TEMPLATES}{language}/");
    let mut own = Vec::new();
    for part in ["any", kind] {
        for (path, text) in below(&format!("{home}{part}/")) {
            own.push((renamed(path, name), renamed(text, name)));
        }
    }
    let mut given = Vec::new();
    for folder in &template.vendor {
        for (path, text) in below(&format!("{folder}/")) {
            let text = match path.ends_with("Cargo.toml") {
                true => standalone::manifest(text, carried("plugins/Cargo.toml").unwrap_or_default())
                    .map_err(|problem| NewError::Damaged { language: language.to_owned(), problem })?,
                false => text.to_owned(),
            };
            given.push((format!("{VENDOR}/{folder}/{path}"), text));
        }
    }
    for (from, to) in &template.copy {
        let text = carried(from).ok_or_else(|| NewError::Damaged {
            language: language.to_owned(),
            problem: format!("{from} is not carried"),
        })?;
        own.push((to.clone(), text.to_owned()));
    }
    for (path, text) in own.iter().chain(&given) {
        let file = dir.join(path);
        write(&file, text).map_err(|source| NewError::Write { file, source })?;
    }
    let mut files: Vec<String> = own.into_iter().map(|(path, _)| path).collect();
    files.sort();
    Ok(Made { dir, language: template.name, files, vendored: given.len(), edit: template.edit, needs: template.needs })
}

fn template(language: &str) -> Result<Template, NewError> {
    let Some(text) = carried(&format!("{TEMPLATES}{language}/template.toml")) else {
        return Err(NewError::Language { given: language.chars().take(60).collect(), known: languages() });
    };
    toml::from_str(text)
        .map_err(|error| NewError::Damaged { language: language.to_owned(), problem: error.message().to_owned() })
}

/// The contract as this program carries it: the files of `wit/preview`, by name.
pub fn contract() -> impl Iterator<Item = (&'static str, &'static str)> {
    below("wit/preview/")
}

fn carried(path: &str) -> Option<&'static str> {
    CARRIED.iter().find(|(known, _)| *known == path).map(|(_, text)| *text)
}

/// The files below a folder, by their path from there.
fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    CARRIED.iter().filter_map(move |(path, text)| Some((path.strip_prefix(folder)?, *text)))
}

/// The names of the folders right below one.
fn folders(folder: &str) -> Vec<String> {
    let mut names: Vec<String> =
        below(folder).filter_map(|(path, _)| Some(path.split_once('/')?.0.to_owned())).collect();
    names.dedup();
    names
}

/// The template's name replaced by the author's, in all its spellings.
fn renamed(text: &str, name: &str) -> String {
    let [dashed, typed, snaked] = NAMES;
    text.replace(dashed, name).replace(typed, &type_name(name)).replace(snaked, &name.replace('-', "_"))
}

/// `first-payment` becomes `FirstPayment`.
fn type_name(name: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
    };
    name.split('-').map(word).collect()
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::OpenOptions::new().write(true).create_new(true).open(file)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_the_authors_name_in_every_spelling() {
        assert_eq!(
            renamed("my-plugin: struct MyPlugin; mod my_plugin;", "pay-2-go"),
            "pay-2-go: struct Pay2Go; mod pay_2_go;"
        );
    }

    #[test]
    fn every_language_has_a_template_that_can_be_made_for_each_of_its_kinds() {
        assert!(languages().contains(&"rust".to_owned()), "{:?}", languages());
        for language in languages() {
            assert!(kinds(&language).contains(&"fraud-rule".to_owned()), "{language}");
            for kind in kinds(&language) {
                let place = tempfile::tempdir().unwrap();
                let made = new(place.path(), &kind, "try-it", &language).unwrap();
                for file in ["plugin.toml", "README.md", ".gitignore", made.edit.as_str()] {
                    assert!(made.files.iter().any(|known| known == file), "{language} {kind}: no {file}");
                }
                let text = std::fs::read_to_string(made.dir.join("plugin.toml")).unwrap();
                let manifest =
                    crate::manifest::read(&text).unwrap_or_else(|error| panic!("{language} {kind}: {error}"));
                assert_eq!((manifest.id.as_str(), manifest.kind.word()), ("try-it", kind.as_str()));
                for file in &made.files {
                    let text = std::fs::read_to_string(made.dir.join(file)).unwrap();
                    let left = NAMES.iter().find(|name| text.contains(*name));
                    assert_eq!(left, None, "{language} {kind}: {file}");
                }
                assert!(made.vendored > 5, "{language} {kind}: {} files in vendor", made.vendored);
                assert!(matches!(new(place.path(), &kind, "try-it", &language), Err(NewError::Exists(_))));
            }
        }
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let place = tempfile::tempdir().unwrap();
        let said = |kind, name, language| new(place.path(), kind, name, language).unwrap_err().to_string();
        assert!(said("fraud-rule", "x", "rust").contains("3 to 40 of a-z"));
        assert!(said("fraud-rule", "first-payment", "cobol").contains("choose one of"));
        assert!(said("no-such-kind", "first-payment", "rust").contains("charge-channel, fraud-rule"));
        assert_eq!(place.path().read_dir().unwrap().count(), 0, "nothing was written");
    }
}
