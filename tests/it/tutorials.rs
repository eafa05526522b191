//! Every command of a tutorial is run from an empty folder, in order: what a stranger types leads to a plugin that decides in shadow on live
//! traffic.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Kind, packages, root};

/// The languages whose tutorials are followed below.
const FOLLOWED: [&str; 3] = ["js", "python", "rust"];
/// Most commands of a tutorial.
const COMMANDS_MAX: usize = 8;

#[test]
fn the_tutorial_for_rust_leads_from_an_empty_folder_to_decisions() {
    follow("rust");
}

#[test]
fn the_tutorial_for_javascript_leads_from_an_empty_folder_to_decisions() {
    follow("js");
}

#[test]
fn the_tutorial_for_python_leads_from_an_empty_folder_to_decisions() {
    follow("python");
}

#[test]
fn each_tutorial_is_followed() {
    let pages = std::fs::read_dir(root().join("docs/plugins")).expect("the pages");
    let mut languages: Vec<String> = pages
        .filter_map(|page| page.expect("a page").file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_prefix("tutorial-")?.strip_suffix(".md")?.to_owned()))
        .collect();
    languages.sort();
    assert_eq!(languages, FOLLOWED, "a tutorial and its test come together");
}

/// One thing that a reader does.
#[derive(Debug, PartialEq, Eq)]
enum Does {
    /// Types a command.
    Types(String),
    /// Replaces the content of a file that is there.
    Edits(String, String),
}

/// What a page has its reader do: each line of its `sh` blocks, and the block behind each `<!-- edit FILE -->`.
fn steps(page: &str) -> Vec<Does> {
    let (mut steps, mut edited) = (Vec::new(), None);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(file) = line.strip_prefix("<!-- edit ").and_then(|rest| rest.strip_suffix(" -->")) {
            edited = Some(file.to_owned());
        }
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match edited.take() {
            Some(file) => steps.push(Does::Edits(file, block.join("\n") + "\n")),
            None if language == "sh" => {
                let commands = block.iter().map(|line| line.split("  #").next().unwrap_or_default().trim());
                steps.extend(commands.filter(|line| !line.is_empty()).map(|line| Does::Types(line.to_owned())));
            }
            None => {}
        }
    }
    steps
}

/// Follows a tutorial to its end. The folders are kept between runs, so that what a first build compiles is compiled once.
fn follow(language: &str) {
    if Kind::of_this_run() == Kind::Postgres {
        // A stranger has no server: the tutorial plays on SQLite, in either run the same.
        return;
    }
    let page = root().join(format!("docs/plugins/tutorial-{language}.md"));
    let page = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let steps = steps(&page);
    let count = |typed: bool| steps.iter().filter(|step| matches!(step, Does::Types(_)) == typed).count();
    assert!((1..=COMMANDS_MAX).contains(&count(true)), "{} commands", count(true));
    assert_eq!(count(false), 1, "one edited file");

    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tutorials");
    let mut folder = home.join(language);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for step in &steps {
        match step {
            Does::Edits(file, text) => {
                let file = folder.join(file);
                assert!(file.is_file(), "{} is not there to be edited", file.display());
                std::fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            }
            Does::Types(command) => match command.strip_prefix("cd ") {
                Some(into) => {
                    folder = folder.join(into);
                    assert!(folder.is_dir(), "`{command}` leads nowhere");
                }
                None => drop(typed(&folder, command, &home.join(format!("{language}-target")))),
            },
        }
    }
    let decided = typed(
        &folder,
        &format!("koban --json --data .koban/up decision list --plugin {}", name(&folder)),
        &home.join(format!("{language}-target")),
    );
    let decided: Value = serde_json::from_str(&decided).expect("JSON");
    let decided = decided["items"].as_array().expect("decisions");
    assert!(
        !decided.is_empty() && decided.iter().all(|one| one["part"]["shadow"].is_string()),
        "in shadow: {decided:?}"
    );
}

fn name(folder: &Path) -> String {
    folder.file_name().expect("a folder").to_string_lossy().into_owned()
}

/// Runs one command as a reader's shell would, with `koban` on the path and the packages of the clone.
fn typed(folder: &Path, command: &str, target: &Path) -> String {
    let koban = Path::new(env!("CARGO_BIN_EXE_koban")).parent().expect("a folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(koban).chain(std::env::split_paths(&path))).expect("a path");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).current_dir(folder).env("PATH", path);
    shell.env("KOBAN_PACKAGES", absolute(packages())).env("KOBAN_GUEST_TARGET", target);
    for variable in ["KOBAN_DATABASE", "KOBAN_DATA", "CARGO_TARGET_DIR"] {
        shell.env_remove(variable);
    }
    let output = shell.output().unwrap_or_else(|error| panic!("{command}: {error}"));
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "$ {command}\n{told}\n{said}");
    told.into_owned()
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

#[test]
fn a_page_is_read_as_its_reader_does() {
    let page = "Text\n\n```sh\nkoban plugin new fraud-rule x  # makes it\n\ncd x\n```\n\n<!-- edit src/lib.rs -->\n```rust\nfn main() {}\n```\n\n```text\nnot typed\n```\n";
    let typed = |line: &str| Does::Types(line.to_owned());
    let edited = Does::Edits("src/lib.rs".to_owned(), "fn main() {}\n".to_owned());
    assert_eq!(steps(page), [typed("koban plugin new fraud-rule x"), typed("cd x"), edited]);
}
