//! `koban selftest`: attacks a host of its own, put together as the installed one is, and says what came of each attack.

mod attacks;
mod guest;
mod lower;
mod manifests;
mod neighbour;
mod partner;
mod scripts;
mod stage;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use koban_runtime::{Door, DoorConfig};
use koban_service::verify;
use serde_json::{Value, json};

use crate::commands::{say, table};
use crate::config::{Global, door_in, make_private};
use crate::progress::Bar;
use attacks::{ATTACKS, Attack};
use neighbour::Tally;
use stage::{Ground, Stage};

/// Arguments of `selftest`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  koban selftest\n  koban selftest --rounds 1 --only 39,40\n  koban --json selftest | jq '.attacks[] | select(.contained | not)'\n\nTries hostile plugins on a host of its own, on an SQLite in DATA/selftest that is gone afterwards, behind the same engine, door, limits and\ncompiling process as `koban serve` uses. It reads and writes nothing of the database that is served. Honest plugins are called all the\nwhile; an attack is contained only if none of their calls fails. Exit code 1 if one is not contained. What is tried: docs/reference/attacks.md."
)]
pub(crate) struct Arguments {
    /// How often the whole pack is tried, one time after another; what the second and the third add to memory is told
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    rounds: u8,
    /// Only the attacks of these numbers
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    only: Vec<u16>,
    /// Say what would be tried, and try nothing
    #[arg(long)]
    list: bool,
}

/// The most that a round after the first may add to resident memory, bytes.
const GROWTH_MAX: i64 = 2 << 20;

/// What came of an attack.
struct Outcome {
    attack: &'static Attack,
    seen: String,
    contained: bool,
    /// What the host said, try by try.
    details: Vec<String>,
    ms: u64,
}

/// What came of a round.
struct Round {
    outcomes: Vec<Outcome>,
    neighbour: Tally,
    resident: i64,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    quiet(global).start_log()?;
    let chosen = chosen(&arguments.only)?;
    if arguments.list {
        list(global, &chosen);
        return Ok(());
    }
    let folder = Folder::make(&global.data.join("selftest"))?;
    let compiled = folder.0.join("compiled");
    let door = door_in(&compiled, DoorConfig::default())?;
    let alone = door_in(&folder.0.join("alone"), DoorConfig { slots: 1, ..DoorConfig::default() })?;
    if !global.json {
        eprintln!("attacking a host of its own in {}; the database that is served is not touched", folder.0.display());
    }
    let started = stopwatch();
    attacks::use_every_slot(&door).await.context("the door cannot be used at all")?;
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let dir = folder.0.join(format!("round-{number}"));
        make_private(&dir)?;
        let ground = Ground { door: &door, alone: &alone, compiled: &compiled, dir: &dir };
        let round = round(&ground, &chosen, number, arguments.rounds).await;
        // Gone before the next one, whatever came of this one.
        let _ = std::fs::remove_dir_all(&dir);
        rounds.push(round?);
    }
    let report = Report { rounds, door, ms: ms(started) };
    report.print(global);
    report.judge()
}

/// What a host warns of is what is tried here, so only errors are logged unless more is asked for.
fn quiet(global: &Global) -> Global {
    let log = if global.log == "warn" { "error".to_owned() } else { global.log.clone() };
    Global { log, ..global.clone() }
}

fn chosen(only: &[u16]) -> anyhow::Result<Vec<&'static Attack>> {
    if let Some(unknown) = only.iter().find(|number| !ATTACKS.iter().any(|attack| attack.number == **number)) {
        bail!("there is no attack {unknown}; `koban selftest --list` names them");
    }
    Ok(ATTACKS.iter().filter(|attack| only.is_empty() || only.contains(&attack.number)).collect())
}

fn list(global: &Global, chosen: &[&Attack]) {
    let of =
        |one: &&Attack| json!({ "number": one.number, "attack": one.attack, "how": one.how, "expected": one.expected });
    let row = |one: &&Attack| vec![one.number.to_string(), one.attack.to_owned(), one.expected.to_owned()];
    say(global, &json!({ "attacks": chosen.iter().map(of).collect::<Vec<Value>>() }), || {
        table(&["#", "ATTACK", "EXPECTED"], &chosen.iter().map(row).collect::<Vec<_>>())
    });
}

/// Every chosen attack once, on a fresh host, with the neighbours at work.
async fn round(ground: &Ground<'_>, chosen: &[&'static Attack], number: u8, of: u8) -> anyhow::Result<Round> {
    let stage = Stage::open(ground).await.context("the host that is to be attacked does not start")?;
    let payer = stage.neighbour.keep_paying(&stage.app);
    let bar = Bar::new();
    let mut outcomes = Vec::new();
    for (place, attack) in chosen.iter().enumerate() {
        let (done, all) = (u64::try_from(place)?, u64::try_from(chosen.len())?);
        bar.show(done, all, &format!("round {number} of {of}: {} {}", attack.number, attack.attack));
        outcomes.push(tried(&stage, attack).await);
    }
    drop(bar);
    stage.neighbour.stop();
    payer.await.context("the neighbour fell over")?;
    let verdict = verify::verify(&stage.app.store).await?;
    if let Some(difference) = verdict.difference {
        bail!("the books of the attacked host do not agree any more: {difference:?}");
    }
    let neighbour = stage.neighbour.tally();
    stage.close().await;
    Ok(Round { outcomes, neighbour, resident: resident_bytes()? })
}

/// One attack, then one call of the neighbours.
async fn tried(stage: &Stage, attack: &'static Attack) -> Outcome {
    let started = stopwatch();
    let before = stage.neighbour.tally().failed;
    let gained = async {
        let before = stage.balance(stage.mallory).await?;
        let tries = (attack.run)(stage).await?;
        anyhow::Ok((tries, stage.balance(stage.mallory).await? - before))
    };
    let (mut details, gained) = match gained.await {
        Ok(seen) => seen,
        Err(error) => (vec![format!("the attack could not be tried: {error:#}")], 0),
    };
    let held = attacks::held(attack.expected, &details);
    let (mut seen, mut contained) = (held.seen, held.as_expected);
    let mut also = |words: String| {
        contained = false;
        seen = format!("{seen}; {words}");
        details.push(words);
    };
    if gained != attack.gains {
        also(format!("its user gained {gained} yen and not {}", attack.gains));
    }
    if !stage.neighbour_pays().await || stage.neighbour.tally().failed > before {
        also("a neighbour's call failed".to_owned());
    }
    Outcome { attack, seen, contained, details, ms: ms(started) }
}

/// Everything that was seen.
struct Report {
    rounds: Vec<Round>,
    door: Door,
    ms: u64,
}

impl Report {
    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.rounds.iter().flat_map(|round| &round.outcomes)
    }

    fn contained(&self) -> (usize, usize) {
        let all = self.outcomes().count();
        (self.outcomes().filter(|outcome| outcome.contained).count(), all)
    }

    /// What each round after the first added to resident memory, bytes.
    fn growth(&self) -> Vec<i64> {
        self.rounds.windows(2).map(|two| two[1].resident - two[0].resident).collect()
    }

    /// Prints the table of the last round, with whatever went wrong in one before it.
    fn print(&self, global: &Global) {
        say(global, &self.json(), || format!("{}\n\n{}", self.table(), self.sum()));
        if !global.json {
            for outcome in self.outcomes().filter(|outcome| !outcome.contained) {
                eprintln!(
                    "{} {}:\n    {}",
                    outcome.attack.number,
                    outcome.attack.attack,
                    outcome.details.join("\n    ")
                );
            }
        }
    }

    fn json(&self) -> Value {
        let rounds = self.rounds.iter().enumerate();
        let outcomes =
            rounds.flat_map(|(number, round)| round.outcomes.iter().map(move |outcome| outcome.json(number + 1)));
        let neighbours = self.rounds.iter().map(|round| {
            let Tally { calls, failed, slowest_ms, failures } = &round.neighbour;
            json!({ "calls": calls, "failed": failed, "slowest_ms": slowest_ms, "failures": failures })
        });
        let (contained, all) = self.contained();
        json!({
            "attacks": outcomes.collect::<Vec<Value>>(), "contained": contained, "tried": all, "rounds": self.rounds.len(),
            "neighbours": neighbours.collect::<Vec<Value>>(),
            "resident_bytes": self.rounds.iter().map(|round| round.resident).collect::<Vec<i64>>(),
            "growth_bytes": self.growth(), "engine": self.door.engine(), "ms": self.ms,
        })
    }

    fn table(&self) -> String {
        let last = self.rounds.len();
        let mut rows = Vec::new();
        for (number, round) in (1..).zip(&self.rounds) {
            for outcome in round.outcomes.iter().filter(|outcome| number == last || !outcome.contained) {
                let said = if outcome.contained { "yes".to_owned() } else { format!("NO, round {number}") };
                let attack = outcome.attack;
                rows.push(vec![
                    attack.number.to_string(),
                    attack.attack.to_owned(),
                    cut(attack.expected),
                    cut(&outcome.seen),
                    said,
                ]);
            }
        }
        table(&["#", "ATTACK", "EXPECTED", "SEEN", "CONTAINED"], &rows)
    }

    /// How many were contained, what became of the neighbours, time and memory, in two lines.
    fn sum(&self) -> String {
        let (contained, all) = self.contained();
        let neighbours = || self.rounds.iter().map(|round| &round.neighbour);
        let (calls, failed) =
            neighbours().fold((0, 0), |(calls, failed), tally| (calls + tally.calls, failed + tally.failed));
        let slowest = neighbours().map(|tally| tally.slowest_ms).max().unwrap_or(0);
        let memory: Vec<String> = self.rounds.iter().map(|round| format!("{} KiB", round.resident >> 10)).collect();
        format!(
            "{contained} of {all} attacks contained in {} s. Memory after each round: {}\n\
             Neighbours paid {calls} times meanwhile: {failed} failed, the slowest took {slowest} ms",
            self.ms / 1_000,
            memory.join(", "),
        )
    }

    /// Errors: an attack that was not contained, or memory that grew.
    fn judge(&self) -> anyhow::Result<()> {
        let (contained, all) = self.contained();
        if contained < all {
            bail!(
                "{} of {all} attacks were not contained; do not let plugins of others run on this host",
                all - contained
            );
        }
        if let Some(growth) = self.growth().into_iter().max().filter(|growth| *growth > GROWTH_MAX) {
            bail!(
                "a round added {} KiB of resident memory, and at most {} KiB are no leak",
                growth >> 10,
                GROWTH_MAX >> 10
            );
        }
        Ok(())
    }
}

impl Outcome {
    fn json(&self, round: usize) -> Value {
        json!({
            "round": round, "number": self.attack.number, "attack": self.attack.attack, "expected": self.attack.expected,
            "seen": self.seen, "contained": self.contained, "details": self.details, "ms": self.ms,
        })
    }
}

/// As much of a cell as a line has room for; `--json` has all of it.
fn cut(text: &str) -> String {
    const CHARS: usize = 56;
    if text.chars().count() <= CHARS {
        return text.to_owned();
    }
    text.chars().take(CHARS - 1).chain(['…']).collect()
}

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    const MARK: &str = "this-is-a-koban-selftest";

    /// Makes it, in place of one that an earlier selftest left behind. Errors: something else is there.
    fn make(place: &Path) -> anyhow::Result<Folder> {
        if place.exists() && !place.join(Folder::MARK).exists() {
            bail!("{} exists and is no selftest of Koban; give another place with --data", place.display());
        }
        if place.exists() {
            std::fs::remove_dir_all(place).with_context(|| format!("{} cannot be emptied", place.display()))?;
        }
        make_private(place)?;
        std::fs::write(place.join(Folder::MARK), "koban selftest makes this folder and takes it away\n")?;
        Ok(Folder(place.to_owned()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be taken away now is taken away by the next one.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How much of this process is in memory now (proc(5), `statm`, in pages).
fn resident_bytes() -> anyhow::Result<i64> {
    let statm =
        std::fs::read_to_string("/proc/self/statm").context("this system does not say how much memory is used")?;
    let pages: i64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Ok(pages * i64::try_from(rustix::param::page_size())?)
}

#[expect(clippy::disallowed_methods, reason = "measures how long the selftest took; nothing is decided by it")]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}

fn ms(since: std::time::Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
