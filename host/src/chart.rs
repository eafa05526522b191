//! Charts as SVG: sections of horizontal bars with their numbers beside them. One file that every browser shows, without a script, and
//! that is readable without colours, too.

use std::fmt::Write as _;

/// Where bars begin, and how long the longest is, in pixels.
const LEFT: u64 = 230;
const LONGEST: u64 = 420;
const WIDTH: u64 = 860;
/// Height of a bar with its gap, of a heading, and of the title with the line below it.
const ROW: u64 = 24;
const HEADING: u64 = 34;
const TOP: u64 = 66;
/// Longest label, in characters; what is longer is cut.
const LABEL_CHARS_MAX: usize = 34;
/// Fills of the series, dark enough for white paper and apart enough for eyes that see no red.
const FILLS: [&str; 6] = ["#1b6ca8", "#d1711c", "#3c8c4a", "#8a4fa3", "#7a6a53", "#b83a4b"];

/// A chart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chart {
    title: String,
    below: String,
    sections: Vec<Section>,
}

#[derive(Debug, Clone, Default)]
struct Section {
    heading: String,
    bars: Vec<Bar>,
}

#[derive(Debug, Clone)]
struct Bar {
    label: String,
    value: u64,
    shown: String,
    series: usize,
}

impl Chart {
    /// A chart with this title, and a line below it that says what was measured.
    pub(crate) fn new(title: impl Into<String>, below: impl Into<String>) -> Chart {
        Chart { title: title.into(), below: below.into(), sections: Vec::new() }
    }

    /// Begins a section; its bars are as long as they are to each other.
    pub(crate) fn section(&mut self, heading: impl Into<String>) -> &mut Chart {
        self.sections.push(Section { heading: heading.into(), bars: Vec::new() });
        self
    }

    /// A bar of the last section, with the number as people read it. Bars of one series have one colour.
    pub(crate) fn bar(
        &mut self,
        label: impl Into<String>,
        value: u64,
        shown: impl Into<String>,
        series: usize,
    ) -> &mut Chart {
        if self.sections.is_empty() {
            self.sections.push(Section::default());
        }
        if let Some(section) = self.sections.last_mut() {
            section.bars.push(Bar { label: label.into(), value, shown: shown.into(), series });
        }
        self
    }

    /// The file's text.
    pub(crate) fn svg(&self) -> String {
        let rows = |section: &Section| u64::try_from(section.bars.len().max(1)).unwrap_or(0) * ROW + HEADING;
        let height = TOP + self.sections.iter().map(rows).sum::<u64>() + 16;
        let (title, below) = (escaped(&self.title), escaped(&self.below));
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}" font-family="system-ui, sans-serif" font-size="13" fill="#222">
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text x="16" y="28" font-size="18" font-weight="600">{title}</text>
<text x="16" y="48" fill="#555">{below}</text>
"##
        );
        let mut y = TOP;
        for section in &self.sections {
            section.draw(&mut svg, y);
            y += rows(section);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

impl Section {
    fn draw(&self, svg: &mut String, top: u64) {
        let _ = writeln!(svg, r#"<text x="16" y="{}" font-weight="600">{}</text>"#, top + 20, escaped(&self.heading));
        let most = self.bars.iter().map(|bar| bar.value).max().unwrap_or(0).max(1);
        if self.bars.is_empty() {
            let _ = writeln!(svg, r##"<text x="{LEFT}" y="{}" fill="#555">none</text>"##, top + HEADING + 13);
        }
        for (bar, y) in self.bars.iter().zip((top + HEADING..).step_by(usize::try_from(ROW).unwrap_or(1))) {
            let length =
                u64::try_from(u128::from(bar.value) * u128::from(LONGEST) / u128::from(most)).unwrap_or(LONGEST);
            // What there is can be seen, however little it is.
            let length = length.max(u64::from(bar.value > 0));
            let (label, shown, fill) =
                (escaped(&cut(&bar.label)), escaped(&bar.shown), FILLS[bar.series % FILLS.len()]);
            let (middle, end, after) = (y + 13, LEFT - 10, LEFT + length + 8);
            let _ = writeln!(
                svg,
                r#"<text x="{end}" y="{middle}" text-anchor="end">{label}</text><rect x="{LEFT}" y="{y}" width="{length}" height="18" fill="{fill}"/><text x="{after}" y="{middle}">{shown}</text>"#
            );
        }
    }
}

fn cut(label: &str) -> String {
    match label.chars().count() > LABEL_CHARS_MAX {
        true => label.chars().take(LABEL_CHARS_MAX - 1).chain(['…']).collect(),
        false => label.to_owned(),
    }
}

/// Text that cannot leave its place: what it says may come from a plugin.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_are_to_each_other() {
        let mut chart = Chart::new("A title", "what was measured");
        chart.section("Here").bar("all", 200, "200", 0).bar("half", 100, "100", 1).bar("a trace", 1, "1", 2);
        chart.bar("nothing", 0, "0", 0).section("There");
        let svg = chart.svg();
        let widths: Vec<&str> = svg
            .lines()
            .filter_map(|line| line.split_once("<rect x=\"230\"")?.1.split("width=\"").nth(1)?.split('"').next())
            .collect();
        assert_eq!(widths, ["420", "210", "2", "0"]);
        assert!(svg.contains(">none</text>"), "an empty section says so");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn what_a_plugin_says_stays_text() {
        let mut chart = Chart::new("<script>", "\"&'");
        chart.section("s").bar("</text><script>\n", 1, "<b>", 9);
        let svg = chart.svg();
        assert!(!svg.contains("<script") && !svg.contains("<b>"), "{svg}");
        assert!(svg.contains("&lt;script&gt;") && svg.contains("&quot;&amp;&#39;"));
    }
}
