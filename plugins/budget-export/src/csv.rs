//! Cells of CSV files that people open with spreadsheets: nothing that others wrote becomes a formula there.

/// A text as a cell. One that a spreadsheet would take for a formula gets an apostrophe in front.
pub(crate) fn text(text: &str) -> String {
    let line: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    match line.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) {
        true => format!("'{line}"),
        false => line,
    }
}

/// A cell in quotes.
pub(crate) fn quoted(cell: &str) -> String {
    format!("\"{}\"", cell.replace('"', "\"\""))
}

/// A cell in quotes if it needs them.
pub(crate) fn plain(cell: &str) -> String {
    if cell.contains([',', '"']) { quoted(cell) } else { cell.to_owned() }
}
