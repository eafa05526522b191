//! What can be said before anything is compiled is said before anything is compiled.

use std::fs;

use koban_author::{BuildError, build};

#[test]
fn a_directory_that_is_no_plugin_is_named_at_once() {
    let mut said = Vec::new();
    let mut say = |line: &str| said.push(line.to_owned());
    assert!(matches!(build(&[], None, &mut say), Err(BuildError::Nothing)));
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let error = build(std::slice::from_ref(&nowhere), None, &mut say).unwrap_err();
    assert!(matches!(&error, BuildError::Directory { dir, .. } if *dir == nowhere), "{error}");
    let error = build(&[dir.path().to_owned()], None, &mut say).unwrap_err().to_string();
    assert!(error.contains("plugin.toml in "), "{error}");
    fs::write(dir.path().join("plugin.toml"), "id = 1").unwrap();
    let error = build(&[dir.path().to_owned()], None, &mut say).unwrap_err().to_string();
    assert!(error.starts_with("plugin.toml, line 1: invalid type: integer `1`"), "{error}");
    assert!(said.is_empty(), "no toolchain was looked for");
}

const RULE: &str = r#"
id = "rule-test"
version = "1.0.0"
contract = "koban:plugin@0.1.0"
kind = "fraud-rule"
engine = "interpreter"
name = { ja = "試し", en = "Test" }
purpose = { ja = "試すため", en = "To test" }
"#;

#[test]
fn a_plugin_that_does_not_say_what_it_is_written_in_is_told_how() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plugin.toml"), RULE).unwrap();
    let said = || build(&[dir.path().to_owned()], None, &mut |_| {}).unwrap_err().to_string();
    assert!(
        said().contains("no Cargo.toml (Rust), package.json (JavaScript) or pyproject.toml (Python)"),
        "{}",
        said()
    );
    for (file, text, expected) in [
        ("package.json", "{", "rule-test: package.json: EOF"),
        ("package.json", "{}", "needs `\"koban-sdk\": \"file:vendor/sdk/js\"` in its dependencies"),
        (
            "package.json",
            r#"{"main": "src/plugin.js", "dependencies": {"koban-sdk": "file:nowhere"}}"#,
            "the SDK is not at ",
        ),
        ("package.json", r#"{"dependencies": {"koban-sdk": "file:."}}"#, "needs `\"main\": \"src/plugin.js\"`"),
        (
            "package.json",
            r#"{"main": "../plugin.js", "dependencies": {"koban-sdk": "file:."}}"#,
            "`../plugin.js` does not lie in the plugin's folder",
        ),
        ("pyproject.toml", "[tool.koban]", "needs `sdk = \"vendor/sdk/python\"` in [tool.koban]"),
        ("pyproject.toml", "[tool.koban]\nsdk = \".\"", "needs `module = \"plugin\"` in [tool.koban]"),
        ("pyproject.toml", "[tool.koban]\nsdk = \".\"\nmodule = \"plugin\"", "the contract is not at "),
    ] {
        fs::write(dir.path().join(file), text).unwrap();
        assert!(said().contains(expected), "{text}: {}", said());
        // The next file says the language.
        let _ = fs::remove_file(dir.path().join(file));
    }
}
