//! `cargo xtask artifacts`: the files that operators use beside the program, tried with the programs they are for, as far as this
//! machine has them.
//!
//! The unit goes through `systemd-analyze`, the alert rules through `promtool` (Debian's package `prometheus`; `KOBAN_PROMTOOL` names
//! one elsewhere), and the Containerfile's steps are done by hand in a folder that the host is then started in. What is missing is
//! said and left out; what is there must pass.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::apt::is_root;
use crate::guests::build_host;
use crate::run::{answer, run, say, succeeds, timed};
use crate::setup;
use crate::tree::{Profile, Tree};

/// The worst that `systemd-analyze security` may say, in tenths: below 40 it calls a service *ok*.
const EXPOSURE_MAX: &str = "30";
/// The number of the user in the Containerfile.
const USER: &str = "8284";

/// Builds the host and tries everything.
pub(crate) fn artifacts(tree: &Tree) -> Result<ExitCode> {
    setup::c_compiler()?;
    build_host(tree)?;
    try_all(tree)?;
    Ok(ExitCode::SUCCESS)
}

/// Tries everything with the host that was built.
pub(crate) fn try_all(tree: &Tree) -> Result<()> {
    let operating = tree.root.join("docs/operating");
    let folder = Folder::new()?;
    timed("artifacts: alert rules", || rules(&operating))?;
    timed("artifacts: systemd unit", || unit(tree, &operating, &folder.0))?;
    timed("artifacts: Containerfile", || container(tree, &operating, &folder.0))
}

fn rules(operating: &Path) -> Result<()> {
    let promtool = std::env::var_os("KOBAN_PROMTOOL").unwrap_or_else(|| OsString::from("promtool"));
    if !succeeds(Command::new(&promtool).arg("--version")) {
        say("left out: there is no promtool (Debian: the package prometheus)");
        return Ok(());
    }
    run(Command::new(&promtool).args(["check", "rules", "koban.rules.yml"]).current_dir(operating))?;
    run(Command::new(&promtool).args(["test", "rules", "koban.rules.test.yml"]).current_dir(operating))
}

/// The unit, with the program that was built in place of the installed one.
fn unit(tree: &Tree, operating: &Path, folder: &Path) -> Result<()> {
    if !succeeds(Command::new("systemd-analyze").arg("--version")) {
        say("left out: there is no systemd-analyze");
        return Ok(());
    }
    let text = std::fs::read_to_string(operating.join("koban.service")).context("the unit cannot be read")?;
    let program = tree.koban(Profile::Dev);
    let here = folder.join("koban.service");
    std::fs::write(&here, text.replace("/usr/local/bin/koban", &program.to_string_lossy()))?;
    run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&here))?;
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", &format!("--threshold={EXPOSURE_MAX}")]).arg(&here);
    let output = security.output().context("systemd-analyze cannot be started")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let overall = said.lines().rev().find(|line| line.contains("exposure level")).unwrap_or_default();
    say(overall.trim_start_matches('→').trim());
    if !output.status.success() {
        bail!("the unit is more exposed than {EXPOSURE_MAX} tenths: {said}");
    }
    Ok(())
}

/// What an image would hold, made by hand: the program and the libraries it is linked to, under a root of its own, run as the image's
/// user with the image's variables and command.
fn container(tree: &Tree, operating: &Path, folder: &Path) -> Result<()> {
    let text = std::fs::read_to_string(operating.join("Containerfile")).context("the Containerfile cannot be read")?;
    let image = Image::read(&text)?;
    if !is_root() {
        say("left out: only root can run the steps in a folder of their own");
        return Ok(());
    }
    let root = folder.join("root");
    let program = tree.koban(Profile::Dev);
    let into = root.join(image.program.trim_start_matches('/'));
    copy(&program, &into)?;
    let linked = answer(Command::new("ldd").arg(&program)).context("ldd does not say what the program is linked to")?;
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(library), &root.join(library.trim_start_matches('/')))?;
    }
    let data = root.join(image.volume.trim_start_matches('/'));
    run(Command::new("install").args(["-d", "-m", "0700", "-o", USER, "-g", USER]).arg(&data))?;
    let mut command = Command::new("chroot");
    command.arg(format!("--userspec={USER}:{USER}")).arg(&root).arg(&image.program).args(&image.arguments);
    // What an image sets, on ports that are free here.
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(&image.variables);
    command.env("KOBAN_LISTEN", "127.0.0.1:0").env("KOBAN_ADMIN_LISTEN", "127.0.0.1:0");
    let mut child = Started(command.stdout(Stdio::piped()).spawn().context("chroot cannot be started")?);
    let output = child.0.stdout.take().context("a piped child has an output")?;
    let mut first = String::new();
    BufReader::new(output).read_line(&mut first)?;
    if !first.contains("listening on") {
        bail!("the host in the image's root did not start: it said `{}`", first.trim());
    }
    // STOPSIGNAL is SIGTERM.
    run(Command::new("sh").arg("-c").arg(format!("kill -s TERM {}", child.0.id())))?;
    let status = child.0.wait().context("the host cannot be waited for")?;
    if !status.success() {
        bail!("the host in the image's root ended with {status}");
    }
    say(
        "the host started as the image's user in a root with nothing else, and ended when it was told to; no image was built",
    );
    Ok(())
}

/// Copies a file with its mode, and makes the folders above it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
    std::fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display()))?;
    Ok(())
}

/// What the Containerfile says, as far as it can be done by hand.
#[derive(Debug, PartialEq, Eq)]
struct Image {
    /// Where the program is copied to.
    program: String,
    /// The command's arguments.
    arguments: Vec<String>,
    /// Where its data is.
    volume: String,
    variables: BTreeMap<String, String>,
}

impl Image {
    fn read(text: &str) -> Result<Image> {
        let mut image =
            Image { program: String::new(), arguments: Vec::new(), volume: String::new(), variables: BTreeMap::new() };
        let (mut user, mut entry, mut stop) = ("", Vec::new(), "");
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').with_context(|| format!("`{line}` is no instruction"))?;
            match word {
                "FROM" | "EXPOSE" => {}
                "COPY" => image.program = rest.split_whitespace().last().unwrap_or_default().to_owned(),
                "RUN" if rest.contains(&format!("--uid {USER}")) => {}
                "RUN" => bail!("`{line}` is not done by hand here: say how in xtask/src/artifacts.rs"),
                "USER" => user = rest,
                "VOLUME" => image.volume = rest.to_owned(),
                "ENV" => {
                    for pair in rest.split_whitespace() {
                        let (name, value) = pair.split_once('=').with_context(|| format!("`{pair}` sets nothing"))?;
                        image.variables.insert(name.to_owned(), value.to_owned());
                    }
                }
                "STOPSIGNAL" => stop = rest,
                "ENTRYPOINT" => entry = list(rest)?,
                "CMD" => image.arguments = list(rest)?,
                other => bail!("{other} is not done by hand here: say how in xtask/src/artifacts.rs"),
            }
        }
        let name = Path::new(&image.program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        if entry != [name]
            || user != "koban"
            || stop != "SIGTERM"
            || image.variables.get("KOBAN_DATA") != Some(&image.volume)
        {
            bail!(
                "the image must run the program it copies, as koban, stopped by SIGTERM, with its data on the volume"
            );
        }
        Ok(image)
    }
}

/// The words of `["serve", "--json"]`.
fn list(text: &str) -> Result<Vec<String>> {
    let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.with_context(|| format!("`{text}` is a command in a shell; a shell would keep the signals"))?;
    Ok(inner.split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect())
}

/// A folder that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("koban-artifacts-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("warning: {} could not be removed: {error}", self.0.display());
        }
    }
}

/// A process that goes with it.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../../docs/operating/Containerfile");

    #[test]
    fn the_containerfile_runs_what_it_copies_as_a_user_of_its_own() {
        let image = Image::read(FILE).unwrap();
        assert_eq!((image.program.as_str(), image.volume.as_str()), ("/usr/local/bin/koban", "/var/lib/koban"));
        assert_eq!(image.arguments, ["serve", "--json"]);
    }

    #[test]
    fn a_containerfile_that_runs_as_root_or_in_a_shell_is_refused() {
        for (from, to) in [
            ("USER koban", "USER root"),
            ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL"),
            ("ENTRYPOINT [\"koban\"]", "ENTRYPOINT koban"),
            ("KOBAN_DATA=/var/lib/koban", "KOBAN_DATA=/tmp"),
            ("USER koban", "RUN apt-get install curl\nUSER koban"),
        ] {
            assert!(FILE.contains(from), "{from}");
            assert!(Image::read(&FILE.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
