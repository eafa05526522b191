//! A package is read from its own directory and from nowhere else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use koban_author::package::{PackageError, open};
use koban_domain::records::Digest;

const MANIFEST: &str = r#"
id = "rule-test"
version = "1.0.0"
contract = "koban:plugin@0.1.0"
kind = "fraud-rule"
name = { ja = "試し", en = "Test" }
purpose = { ja = "試すため", en = "To test" }
"#;

fn package(dir: &Path) {
    fs::write(dir.join("plugin.toml"), MANIFEST).unwrap();
    fs::write(dir.join("component.wasm"), b"bytes").unwrap();
}

#[test]
fn a_package_is_its_manifest_and_its_component() {
    let dir = tempfile::tempdir().unwrap();
    package(dir.path());
    let package = open(dir.path()).unwrap();
    assert_eq!(package.manifest.id, "rule-test");
    assert_eq!(package.manifest_text, MANIFEST);
    assert_eq!(package.digest, Digest::of(b"bytes"));
    assert!(package.check().is_err(), "its component is none");
}

#[test]
fn a_link_out_of_the_package_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    package(outside.path());
    for file in ["plugin.toml", "component.wasm"] {
        package(dir.path());
        fs::remove_file(dir.path().join(file)).unwrap();
        symlink(outside.path().join(file), dir.path().join(file)).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, PackageError::File { file: named, .. } if named == file), "{error}");
        fs::remove_file(dir.path().join(file)).unwrap();
    }
}

#[test]
fn what_is_missing_too_large_or_no_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open(&dir.path().join("nowhere")), Err(PackageError::Directory { .. })));
    assert!(matches!(open(dir.path()), Err(PackageError::File { file: "plugin.toml", .. })));
    package(dir.path());
    fs::write(dir.path().join("component.wasm"), vec![0; (2 << 20) + 1]).unwrap();
    assert!(matches!(open(dir.path()), Err(PackageError::TooLarge { file: "component.wasm", .. })));
    fs::remove_file(dir.path().join("component.wasm")).unwrap();
    fs::create_dir(dir.path().join("component.wasm")).unwrap();
    assert!(matches!(open(dir.path()), Err(PackageError::File { file: "component.wasm", .. })));
    fs::write(dir.path().join("plugin.toml"), [0xff, 0xfe]).unwrap();
    assert!(matches!(open(dir.path()), Err(PackageError::NotText { .. })));
}
