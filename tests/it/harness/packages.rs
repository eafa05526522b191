//! Plugin packages as `cargo xtask guests` leaves them, and the one door that all tests of this process share.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use koban_author::package::{self, Package};
use koban_author::sign;
use koban_domain::packages;
use koban_runtime::{Door, DoorConfig};
use koban_service::replays::Replayer;

/// The package of a plugin. It must have been built.
pub(crate) fn package(id: &str) -> Package {
    let folder = packages().join(id);
    package::open(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}; build the guests first: run cargo xtask guests", folder.display()))
}

/// A later release of a plugin: the same code, which says another version of itself. The version has as many bytes as the built one.
pub(crate) fn package_as(id: &str, version: &str) -> packages::Package {
    let mut package = sign::open(&packages().join(id)).unwrap_or_else(|error| panic!("{id}: {error}"));
    let built = format!("{id}{}", package.manifest.version);
    let at = package.component.windows(built.len()).position(|bytes| bytes == built.as_bytes());
    let at = at.unwrap_or_else(|| panic!("{id} does not say `{built}`")) + id.len();
    assert_eq!(version.len(), package.manifest.version.len());
    package.component[at..at + version.len()].copy_from_slice(version.as_bytes());
    package.manifest.version = version.to_owned();
    package
}

/// Where the packages are: `KOBAN_PACKAGES`, or where xtask puts them.
pub(crate) fn packages() -> PathBuf {
    match std::env::var_os("KOBAN_PACKAGES") {
        Some(folder) => PathBuf::from(folder),
        None => super::root().join("plugins/target/packages"),
    }
}

/// The door. A development build compiles plugins slowly, so all tests share one engine and one folder of compiled code.
pub(crate) fn door() -> Door {
    static DOOR: OnceLock<Door> = OnceLock::new();
    let open = || {
        let cache = compiled();
        let cache = cap_std::fs::Dir::open_ambient_dir(&cache, cap_std::ambient_authority())
            .unwrap_or_else(|error| panic!("{}: {error}", cache.display()));
        Door::new(DoorConfig { cache: Some(cache), slots: 64, wait_ms: 10_000, ..DoorConfig::default() })
            .expect("the door opens")
    };
    DOOR.get_or_init(open).clone()
}

/// What runs records again behind that door; components are made ready once for all tests.
pub(crate) fn replayer() -> Replayer {
    static REPLAYER: OnceLock<Replayer> = OnceLock::new();
    REPLAYER.get_or_init(|| Replayer::new(door())).clone()
}

/// A door that tells guests what no record says: another seed at each call than the record has.
pub(crate) fn drifting_door() -> Door {
    fn drift() -> u64 {
        static DRIFT: AtomicU64 = AtomicU64::new(1);
        DRIFT.fetch_add(1, Ordering::Relaxed)
    }
    let cache = cap_std::fs::Dir::open_ambient_dir(compiled(), cap_std::ambient_authority()).expect("the folder");
    let config =
        DoorConfig { cache: Some(cache), slots: 16, wait_ms: 10_000, drift: Some(drift), ..DoorConfig::default() };
    Door::new(config).expect("the door opens")
}

/// The folder of compiled code, kept between runs.
pub(crate) fn compiled() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder
}
