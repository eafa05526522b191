//! Makes a Cargo.toml of our guests' workspace stand by itself: what it inherits is written out.

use toml::{Table, Value};

/// The manifest with everything that says `workspace = true` taken from the workspace's manifest; without its lints, which are its authors'
/// affair. Errors: in words.
pub(super) fn manifest(text: &str, workspace: &str) -> Result<String, String> {
    let read = |text: &str| text.parse::<Table>().map_err(|error| error.message().to_owned());
    let (mut manifest, workspace) = (read(text)?, read(workspace)?);
    let inherited = |table: &str, name: &str| -> Result<Value, String> {
        let found = workspace.get("workspace").and_then(|workspace| workspace.get(table)?.get(name));
        found.cloned().ok_or_else(|| format!("the workspace has no {table}.{name}"))
    };
    manifest.remove("lints");
    if let Some(Value::Table(package)) = manifest.get_mut("package") {
        package.remove("workspace");
        for (name, value) in package.iter_mut().filter(|(_, value)| is_inherited(value)) {
            *value = inherited("package", name)?;
        }
    }
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(Value::Table(dependencies)) = manifest.get_mut(kind) else { continue };
        for (name, value) in dependencies.iter_mut().filter(|(_, value)| is_inherited(value)) {
            *value = inherited("dependencies", name)?;
        }
    }
    toml::to_string(&manifest).map_err(|error| error.to_string())
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inherited_is_written_out() {
        let workspace = "[workspace.package]\nversion = \"1.2.3\"\n[workspace.dependencies]\nserde = { version = \"1\", features = [\"derive\"] }\n";
        let text = "[package]\nname = \"sdk\"\nversion.workspace = true\nworkspace = \"../up\"\n[dependencies]\nserde.workspace = true\n[lints]\nworkspace = true\n";
        let table: Table = manifest(text, workspace).unwrap().parse().unwrap();
        assert_eq!(table["package"]["version"].as_str(), Some("1.2.3"));
        assert_eq!(table["dependencies"]["serde"]["version"].as_str(), Some("1"));
        assert!(table.get("lints").is_none() && table["package"].get("workspace").is_none());
        let missing = manifest("[dependencies]\nanyhow.workspace = true\n", workspace);
        assert_eq!(missing, Err("the workspace has no dependencies.anyhow".to_owned()));
    }
}
