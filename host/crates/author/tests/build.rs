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
