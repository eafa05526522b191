//! The same scenario again with every event duplicated, reordered and lost, and with calls cut off: what must hold, whatever the world does.

use koban_domain::guest::Lost;
use koban_domain::manifest::Manifest;

use super::play::{Move, as_written, changed};
use super::{Does, Guest, Scenario};
use crate::problem::Problem;

/// Most problems that one scenario reports.
const PROBLEMS_MAX: usize = 10;

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file.
    pub file: String,
    /// What it shows.
    pub about: String,
    /// How many steps it has.
    pub steps: usize,
    /// How many changed plays there were, by what was done to the events.
    pub variants: Vec<(&'static str, usize)>,
    /// What is wrong; at most ten things. Empty means that everything is as it should be.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether everything is as it should be.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Plays a scenario as written, and, if that is as it should be, changed in every way.
pub async fn run<G: Guest>(scenario: &Scenario, manifest: &Manifest, guest: &G) -> Report {
    let (file, about, steps) = (scenario.file.clone(), scenario.about.clone(), scenario.steps.len());
    let mut report = Report { file, about, steps, variants: Vec::new(), problems: Vec::new() };
    let written = match as_written(scenario, manifest, guest).await {
        Ok(written) => written,
        Err(problems) => {
            report.problems = problems;
            return report;
        }
    };
    let written_moves: Vec<Move<'_>> = scenario
        .steps
        .iter()
        .enumerate()
        .map(|(origin, step)| Move { origin, does: &step.does, again: false })
        .collect();
    let lost: Vec<Option<Does>> = scenario.steps.iter().map(|step| lost(&step.does)).collect();
    let plays = [
        ("duplicated", duplicated(&written_moves)),
        ("reordered", reordered(&written_moves)),
        ("lost", without(&written_moves, &lost)),
    ];
    for (how, variants) in plays {
        report.variants.push((how, variants.len()));
        for (what, moves) in variants {
            let line = scenario.steps[what].line;
            let wrong = |problem: Problem| Problem {
                what: format!("with the event of line {line} {how}: {}", problem.what),
                ..problem
            };
            match changed(scenario, manifest, guest, &moves).await {
                Err(problem) => report.problems.push(wrong(problem)),
                Ok(played) if how == "duplicated" && played.gross > written.gross => {
                    let said =
                        format!("a second credit: {} minor units in all instead of {}", played.gross, written.gross);
                    report.problems.push(wrong(Problem::at(&scenario.file, line, said)));
                }
                Ok(_) => {}
            }
            if report.problems.len() == PROBLEMS_MAX {
                return report;
            }
        }
    }
    report
}

/// Each happening twice, the second time right after the first or at the end, and all of them twice.
fn duplicated<'a>(moves: &[Move<'a>]) -> Vec<(usize, Vec<Move<'a>>)> {
    let mut variants = Vec::new();
    let twice = |one: &Move<'a>| Move { again: true, ..*one };
    for (place, one) in moves.iter().enumerate().filter(|(_, one)| is_event(one.does)) {
        let mut at_once = moves.to_vec();
        at_once.insert(place + 1, twice(one));
        let mut late = moves.to_vec();
        late.push(twice(one));
        variants.extend([(place, at_once), (place, late)]);
    }
    let all = moves.iter().flat_map(|one| if is_event(one.does) { vec![*one, twice(one)] } else { vec![*one] });
    if let Some((place, _)) = variants.last().map(|(place, _)| (*place, ())) {
        variants.push((place, all.collect()));
    }
    variants
}

/// Each happening at every other place; the beginning stays first.
fn reordered<'a>(moves: &[Move<'a>]) -> Vec<(usize, Vec<Move<'a>>)> {
    let mut variants = Vec::new();
    for from in 1..moves.len() {
        for to in (1..moves.len()).filter(|to| *to != from && *to != from + 1) {
            let mut other = moves.to_vec();
            let one = other.remove(from);
            other.insert(to, one);
            variants.push((from, other));
        }
    }
    variants
}

/// Each happening left out; an answer that is lost leaves the plugin with *unknown*.
fn without<'a>(moves: &[Move<'a>], lost: &'a [Option<Does>]) -> Vec<(usize, Vec<Move<'a>>)> {
    let mut variants = Vec::new();
    for (place, one) in moves.iter().enumerate().filter(|(_, one)| is_event(one.does)) {
        let mut left = moves.to_vec();
        match &lost[one.origin] {
            Some(does) => left[place] = Move { does, ..*one },
            None => drop(left.remove(place)),
        }
        variants.push((place, left));
    }
    variants
}

fn lost(does: &Does) -> Option<Does> {
    match does {
        Does::Answer { key, .. } => Some(Does::Lost { key: key.clone(), how: Lost::Unknown }),
        _ => None,
    }
}

/// What can happen twice, or not at all.
fn is_event(does: &Does) -> bool {
    match does {
        Does::Form { .. } | Does::Answer { .. } | Does::Lost { .. } | Does::Call { .. } | Does::Cancel => true,
        Does::Begin(_) | Does::Wait(_) | Does::Duplicate | Does::Kill(_) => false,
    }
}
