//! Plugins in JavaScript and Python: their sources and the SDK are staged, and the SDK's own build program makes a component of them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use koban_domain::manifest::Manifest;
use koban_domain::records::Digest;
use serde_json::json;

use super::run::run;
use super::stage::Stage;
use super::tools::{self, Built, Tools};
use super::{BuildError, Opened};

/// A language whose plugins carry its interpreter.
pub(crate) struct Interpreted {
    name: &'static str,
    /// Runs the SDK's build program.
    program: &'static str,
    /// Fetches the tools, beside `program`.
    fetcher: &'static str,
    hint: &'static str,
    /// The SDK's folder: where the plugin's own file says it is.
    sdk: fn(&Path) -> Result<Sdk, String>,
    /// Where the SDK is staged, and linked in the plugin's own folder for its unit tests and its editor.
    staged: &'static str,
    /// The part of the SDK's folder that is staged.
    sdk_part: &'static str,
    /// The SDK's files that lock the tools.
    locks: &'static [&'static str],
    fetch: fn(&Path, &Path) -> io::Result<Vec<Command>>,
    /// The SDK's build program.
    build: &'static str,
    /// The componentizer in the tools' folder.
    tool: &'static str,
}

/// What the plugin's own file says.
struct Sdk {
    dir: PathBuf,
    /// The file or module that is the plugin.
    entry: String,
}

/// Plugins in JavaScript, run by QuickJS.
pub(crate) const JAVASCRIPT: Interpreted = Interpreted {
    name: "JavaScript",
    program: "node",
    fetcher: "npm",
    hint: "install Node.js 18 or newer with npm; on Debian `apt-get install nodejs npm`",
    sdk: javascript_sdk,
    staged: "node_modules/koban-sdk",
    sdk_part: "",
    locks: &["tool/package.json", "tool/package-lock.json"],
    fetch: npm,
    build: "build.js",
    tool: "node_modules/componentize-qjs/index.js",
};

/// Plugins in Python, run by CPython.
pub(crate) const PYTHON: Interpreted = Interpreted {
    name: "Python",
    program: "python3",
    fetcher: "python3",
    hint: "install Python 3.10 or newer with venv; on Debian `apt-get install python3 python3-venv`",
    sdk: python_sdk,
    staged: "koban_sdk",
    sdk_part: "koban_sdk",
    locks: &["tool/requirements.txt"],
    fetch: pip,
    build: "build.py",
    tool: "packages",
};

impl Interpreted {
    /// The SDK of the plugin in this folder, linked there for its unit tests and its editor. Errors: in words.
    fn linked(&self, plugin: &Path) -> Result<Sdk, String> {
        let sdk = (self.sdk)(plugin)?;
        let place = plugin.join(self.staged);
        let unable = |error: io::Error| format!("{} cannot be linked to the SDK: {error}", place.display());
        link(&place, &sdk.dir.join(self.sdk_part)).map_err(unable)?;
        Ok(sdk)
    }

    /// Links the SDK in the plugin's folder, as a build does. Errors: in words.
    pub(crate) fn link_sdk(&self, plugin: &Path) -> Result<(), String> {
        self.linked(plugin).map(|_| ())
    }
}

/// The component of one plugin. Errors: a program, a file or the tools are missing, or the plugin's own code is refused.
pub(super) fn build(language: &Interpreted, plugin: &Opened, say: &mut dyn FnMut(&str)) -> Result<Vec<u8>, BuildError> {
    let id = &plugin.manifest.id;
    let wrong = |problem: String| BuildError::Source { id: id.clone(), problem };
    let sdk = language.linked(&plugin.dir).map_err(wrong)?;
    let mut versions = Vec::new();
    for program in [language.program, language.fetcher] {
        let missing = || BuildError::Program { id: id.clone(), program, hint: language.hint };
        versions.push(version(program).ok_or_else(missing)?);
    }
    let wit = sdk.dir.join("../../wit/preview");
    let wit = wit.canonicalize().map_err(|error| {
        wrong(format!("the contract is not at {}: {error}; `koban plugin new` writes it there", wit.display()))
    })?;
    let unstaged = |error: io::Error| wrong(format!("its sources cannot be staged: {error}"));
    let mut stage = Stage::new(&tools::home()).map_err(unstaged)?;
    stage.copy(&plugin.dir, "").map_err(unstaged)?;
    stage.copy(&sdk.dir.join(language.sdk_part), language.staged).map_err(unstaged)?;
    for (from, to) in packages(language, &plugin.dir).map_err(unstaged)? {
        stage.copy(&from, &to).map_err(unstaged)?;
    }
    stage.copy(&wit, "koban-contract").map_err(unstaged)?;
    let locked = locked(language, &sdk.dir, &versions).map_err(wrong)?;
    let Manifest { version, kind, .. } = &plugin.manifest;
    let staged = stage.digest().map_err(unstaged)?;
    let of = [id, version, kind.word(), &sdk.entry, &locked].map(|part| part.as_bytes());
    let built = Built::of(Digest::of_parts(&[of.as_slice(), &[&staged.0]].concat()));
    if let Some(component) = built.component() {
        say(&format!("building {id}: its sources have not changed"));
        return Ok(component);
    }
    let name = language.name.to_ascii_lowercase();
    let tools = Tools { language: language.name, name: &name, locked: &locked };
    let tools = tools.folder(say, |new| (language.fetch)(&sdk.dir, new))?;
    say(&format!("building {id} with {} {}", language.program, versions[0]));
    let out = stage.dir.join("component.wasm");
    let job = json!({
        "id": id,
        "version": version,
        "kind": kind.word(),
        "root": stage.dir,
        "entry": sdk.entry,
        "wit": stage.dir.join("koban-contract"),
        "tool": tools.join(language.tool),
        "out": out,
    });
    let job_file = stage.dir.join("koban-job.json");
    std::fs::write(&job_file, job.to_string()).map_err(unstaged)?;
    let mut command = Command::new(language.program);
    command.arg(sdk.dir.join(language.build)).arg(&job_file).current_dir(&stage.dir);
    // Nothing is written beside the sources, and what hashes decide is decided the same way each time.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONHASHSEED", "0");
    let mut said = Vec::new();
    let ended = run(&mut command, &mut |line| said.push(line.to_owned()), say).map_err(unstaged)?;
    if !ended.success {
        let tail = if ended.tail.is_empty() { said.join("\n") } else { ended.tail };
        return Err(BuildError::Refused { id: id.clone(), tail });
    }
    let component = std::fs::read(&out).map_err(unstaged)?;
    built.keep(&component);
    Ok(component)
}

/// Packages that the plugin's author installed beside the SDK, with where they are staged; only npm keeps them in a folder of their own.
fn packages(language: &Interpreted, plugin: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let Some((home, sdk)) = language.staged.split_once('/') else { return Ok(Vec::new()) };
    let Ok(entries) = std::fs::read_dir(plugin.join(home)) else { return Ok(Vec::new()) };
    let mut packages = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != sdk && !name.starts_with('.') && entry.path().is_dir() {
            packages.push((entry.path(), format!("{home}/{name}")));
        }
    }
    Ok(packages)
}

/// Everything beside the sources that a build depends on.
fn locked(language: &Interpreted, sdk: &Path, versions: &[String]) -> Result<String, String> {
    let mut locked = versions.join("\n");
    for file in language.locks.iter().chain([&language.build]) {
        let file = sdk.join(file);
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        locked.push_str(&text);
    }
    Ok(locked)
}

/// What a program says of its version, without its own name before it.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Some(text.rsplit(' ').next().unwrap_or_default().to_owned())
}

/// Makes a link at `place`, unless something is there: npm's own link is as good.
fn link(place: &Path, to: &Path) -> io::Result<()> {
    if place.exists() {
        return Ok(());
    }
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // A link that leads nowhere any more.
    let _ = std::fs::remove_file(place);
    std::os::unix::fs::symlink(to, place)
}

fn javascript_sdk(plugin: &Path) -> Result<Sdk, String> {
    let file = plugin.join("package.json");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("package.json: {error}"))?;
    let package: serde_json::Value = serde_json::from_str(&text).map_err(|error| format!("package.json: {error}"))?;
    let sdk = package["dependencies"]["koban-sdk"].as_str().and_then(|place| place.strip_prefix("file:"));
    let sdk = sdk.ok_or("package.json needs `\"koban-sdk\": \"file:vendor/sdk/js\"` in its dependencies")?;
    let entry = package["main"].as_str().ok_or("package.json needs `\"main\": \"src/plugin.js\"`")?;
    Ok(Sdk { dir: found(plugin, sdk)?, entry: inside(entry)? })
}

fn python_sdk(plugin: &Path) -> Result<Sdk, String> {
    let text = std::fs::read_to_string(plugin.join("pyproject.toml"));
    let text = text.map_err(|error| format!("pyproject.toml: {error}"))?;
    let project: toml::Table = text.parse().map_err(|error: toml::de::Error| format!("pyproject.toml: {error}"))?;
    let koban = |name: &str| project.get("tool")?.get("koban")?.get(name)?.as_str();
    let sdk = koban("sdk").ok_or("pyproject.toml needs `sdk = \"vendor/sdk/python\"` in [tool.koban]")?;
    let entry = koban("module").ok_or("pyproject.toml needs `module = \"plugin\"` in [tool.koban]")?;
    Ok(Sdk { dir: found(plugin, sdk)?, entry: inside(entry)? })
}

fn found(plugin: &Path, sdk: &str) -> Result<PathBuf, String> {
    let dir = plugin.join(sdk);
    dir.canonicalize().map_err(|error| format!("the SDK is not at {}: {error}", dir.display()))
}

/// The plugin's own file lies in its folder.
fn inside(entry: &str) -> Result<String, String> {
    let leaves = Path::new(entry).components().any(|part| !matches!(part, std::path::Component::Normal(_)));
    if leaves || entry.is_empty() {
        Err(format!("`{entry}` does not lie in the plugin's folder"))
    } else {
        Ok(entry.to_owned())
    }
}

fn npm(sdk: &Path, new: &Path) -> io::Result<Vec<Command>> {
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(sdk.join("tool").join(file), new.join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(new).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
    Ok(vec![npm])
}

/// A virtual environment only to have a pip of our own; what it fetches goes beside it, into a folder that can be moved.
fn pip(sdk: &Path, new: &Path) -> io::Result<Vec<Command>> {
    let venv = new.join("venv");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&venv);
    let mut install = Command::new(venv.join("bin/python"));
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]);
    install.arg("--target").arg(new.join("packages")).arg("--requirement").arg(sdk.join("tool/requirements.txt"));
    Ok(vec![make, install])
}
