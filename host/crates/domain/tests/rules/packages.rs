//! Packages: the same bytes for the same content, read within bounds, refused by name.

use koban_domain::manifest::Manifest;
use koban_domain::packages::{Document, MAGIC, PACKAGE_BYTES_MAX, Package, PackageError, Signature};
use koban_domain::records::Digest;

fn manifest() -> Manifest {
    let json = serde_json::json!({
        "id": "rule-test", "version": "1.0.0", "contract": koban_domain::guest::CONTRACT, "kind": "fraud-rule",
        "name": { "ja": "あ", "en": "a" }, "purpose": { "ja": "あ", "en": "a" },
    });
    serde_json::from_value(json).expect("a manifest")
}

fn document(name: &str, body: &str) -> Document {
    Document { name: name.into(), body: body.into() }
}

fn package() -> Package {
    let documents = vec![document("LICENSE", "free"), document("README.md", "# rule")];
    Package { manifest: manifest(), component: b"\0asm wasm".to_vec(), documents, signature: None }
}

/// A part as the format writes it.
fn part(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[tag][..], &length, body].concat()
}

fn file(parts: &[Vec<u8>]) -> Vec<u8> {
    [MAGIC.to_vec(), parts.concat()].concat()
}

fn manifest_part() -> Vec<u8> {
    part(1, &serde_json::to_vec(&manifest()).expect("JSON"))
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let error = Package::decode(bytes).expect_err("no package").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_package_reads_back_and_writes_the_same_bytes() {
    let mut package = package();
    assert_eq!(Package::decode(&package.encode()), Ok(package.clone()));
    let unsigned = package.digest();
    package.signature = Some(Signature { key: [1; 32], bytes: [2; 64] });
    assert_eq!(Package::decode(&package.encode()), Ok(package.clone()));
    assert_eq!(package.digest(), unsigned, "a signature is no part of what it signs");
    assert_eq!(Digest::of(&package.content()), unsigned);
}

#[test]
fn the_order_in_which_documents_are_given_changes_nothing() {
    let package = package();
    let mut turned = package.clone();
    turned.documents.reverse();
    assert_eq!(turned.encode(), package.encode());
}

#[test]
fn anything_that_changes_changes_the_digest() {
    let package = package();
    for changed in [
        Package { component: b"\0asm other".to_vec(), ..package.clone() },
        Package { manifest: Manifest { version: "1.0.1".into(), ..manifest() }, ..package.clone() },
        Package { documents: vec![document("README.md", "# rule")], ..package.clone() },
    ] {
        assert_ne!(changed.digest(), package.digest());
    }
}

#[test]
fn every_cut_is_noticed() {
    let mut package = package();
    package.signature = Some(Signature { key: [1; 32], bytes: [2; 64] });
    let bytes = package.encode();
    let unsigned = package.content().len();
    for end in 0..bytes.len() {
        let read = Package::decode(&bytes[..end]);
        // The content alone is a package that nobody signed, and each document that is left out leaves one.
        let whole = read.as_ref().is_ok_and(|read| read.encode() == bytes[..end]);
        assert!(read.is_err() || (whole && end <= unsigned), "{end}: {read:?}");
    }
}

#[test]
fn what_is_no_package_is_refused_by_name() {
    refused(b"", "no package of this format");
    refused(b"\0asm\x0d\0\x01\0", "no package of this format");
    refused(b"koban package 2\n", "no package of this format");
    refused(&file(&[]), "no manifest");
    refused(&file(&[manifest_part()]), "no component");
    refused(&file(&[part(1, b"{}"), part(2, b"x")]), "manifest cannot be read");
    refused(&file(&[part(2, b"x"), manifest_part()]), "part 1 after part 2");
    refused(&file(&[manifest_part(), part(2, b"x"), part(2, b"x")]), "part 2 after part 2");
    refused(&file(&[manifest_part(), part(2, b"x"), part(7, b"x")]), "does not know");
    refused(&file(&[manifest_part(), part(2, b"x"), part(9, &[0; 95])]), "95 bytes instead of 96");
    refused(&file(&[manifest_part(), part(2, b"x"), vec![3, 0, 0]]), "middle of its head");
    refused(&file(&[manifest_part(), vec![2, 255, 255, 255, 255, 0]]), "middle of its content");
    refused(&file(&[manifest_part(), part(2, b"x"), part(3, b"")]), "middle of its documents");
    let senseless = serde_json::to_vec(&Manifest { version: "one".into(), ..manifest() }).expect("JSON");
    refused(&file(&[part(1, &senseless), part(2, b"x")]), "version: use three numbers");
    refused(&file(&[part(1, &vec![b' '; 300 << 10]), part(2, b"x")]), "manifest has more than");
}

#[test]
fn documents_are_plain_names_in_order_and_bounded() {
    let named = |name: &str| part(3, &[&[u8::try_from(name.len()).expect("short")][..], name.as_bytes()].concat());
    let with = |documents: &[Vec<u8>]| file(&[vec![manifest_part(), part(2, b"x")], documents.to_vec()].concat());
    for name in ["", "../README.md", ".profile", "a/b", "a b"] {
        refused(&with(&[named(name)]), "has a document named");
    }
    refused(&with(&[named("b"), named("a")]), "out of order");
    refused(&with(&[named("a"), named("a")]), "twice");
    let many: Vec<Vec<u8>> = (0..33).map(|number| named(&format!("doc-{number:02}"))).collect();
    refused(&with(&many), "documents together");
    let large = part(3, &[&[1_u8][..], b"a", &vec![0; 1 << 20]].concat());
    refused(&with(&[large]), "documents together");
}

#[test]
fn more_than_a_package_may_have_is_not_even_looked_at() {
    let bytes = vec![0; PACKAGE_BYTES_MAX + 1];
    assert_eq!(Package::decode(&bytes), Err(PackageError::TooLarge(PACKAGE_BYTES_MAX + 1)));
}
