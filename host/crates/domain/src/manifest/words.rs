//! The words of a manifest: people read them, so they are short and what they seem to be.

use super::{Manifest, ManifestError, Words, wrong};
use crate::texts::misleads;

/// Most bytes of a text in both languages together.
const WORDS_BYTES_MAX: usize = 2_000;

/// Everything that is wrong with the texts of a manifest.
pub(super) fn check(manifest: &Manifest, errors: &mut Vec<ManifestError>) {
    for (place, words) in [("name", &manifest.name), ("purpose", &manifest.purpose)] {
        check_one(place, words, errors);
    }
    for (key, words) in &manifest.texts {
        check_one(&format!("texts.{}", key.escape_default()), words, errors);
    }
    let settings = manifest.settings.iter().map(|setting| ("settings", &setting.name, &setting.about));
    let codes = manifest.codes.iter().map(|code| ("codes", &code.code, &code.about));
    let links = manifest.links.iter().map(|link| ("links", &link.name, &link.about));
    let formats = manifest.formats.iter().map(|format| ("formats", &format.name, &format.about));
    let budgets = manifest.budgets.iter().map(|budget| ("budgets", &budget.name, &budget.about));
    let tables = manifest.tables.iter().map(|table| ("tables", &table.name, &table.about));
    let columns = manifest.tables.iter().flat_map(|table| &table.columns);
    let columns = columns.map(|column| ("columns", &column.name, &column.about));
    let lists = settings.chain(codes).chain(links).chain(formats).chain(budgets).chain(tables).chain(columns);
    for (list, name, about) in lists {
        check_one(&format!("{list}.{}", name.escape_default()), about, errors);
    }
}

fn check_one(place: &str, words: &Words, errors: &mut Vec<ManifestError>) {
    if words.ja.trim().is_empty() || words.en.trim().is_empty() {
        errors.push(wrong(place, "give both `ja` and `en`"));
    }
    if words.ja.len() + words.en.len() > WORDS_BYTES_MAX {
        errors.push(wrong(place, format!("`ja` and `en` have at most {WORDS_BYTES_MAX} bytes together")));
    }
    if words.ja.chars().chain(words.en.chars()).any(misleads) {
        let problem = "leave out line breaks, characters that are not seen, and marks that turn the reading direction";
        errors.push(wrong(place, problem));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::manifest;
    use super::*;

    #[track_caller]
    fn check_text(text: &str, expected: &[&str]) {
        let mut manifest = manifest();
        let words = Words { ja: text.to_owned(), en: "a".to_owned() };
        manifest.texts.insert("shown".to_owned(), words.clone());
        manifest.settings[0].about = words;
        let places: Vec<String> = manifest.check().into_iter().map(|error| error.place).collect();
        assert_eq!(places, expected, "{text:?}");
    }

    #[test]
    fn every_text_is_short_and_what_it_seems_to_be() {
        check_text("番号を入力", &[]);
        check_text("", &["texts.shown", "settings.company_number"]);
        check_text("\u{3000} ", &["texts.shown", "settings.company_number"]);
        for misleading in ["a\nb", "\u{202e}nabok", "Koban\u{200b}"] {
            check_text(misleading, &["texts.shown", "settings.company_number"]);
        }
        check_text(&"長".repeat(667), &["texts.shown", "settings.company_number"]);
    }
}
