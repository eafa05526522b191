//! Links between our pages lead somewhere.

use super::{none, root, sources};

#[test]
fn links_in_pages_lead_to_files_that_are_there() {
    let root = root();
    let mut findings = Vec::new();
    for page in sources(&["md"]) {
        let folder = root.join(&page.path).parent().expect("a file lies in a folder").to_owned();
        for (index, line) in page.text.lines().enumerate() {
            for target in targets(line) {
                if !folder.join(target).exists() {
                    findings.push(format!("{}:{}: error: the link to `{target}` leads nowhere", page.path, index + 1));
                }
            }
        }
    }
    none(findings);
}

/// The local targets of a line's `[text](target)` links, without `#section`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = links.filter(|link| !link.contains("://") && !link.starts_with("mailto:"));
    local.filter_map(|link| link.split('#').next()).filter(|path| !path.is_empty())
}

#[test]
fn only_local_links_are_followed() {
    let line = "see [map](docs/map.md#rooms), [here](#above), [site](https://example.com/x), [licence](LICENSE)";
    assert_eq!(targets(line).collect::<Vec<_>>(), ["docs/map.md", "LICENSE"]);
}
