//! The attacks: what is tried, how, and what must come of it. docs/reference/attacks.md is made from this table.

mod calls;
mod deciding;
mod effects;
mod flows;
mod installing;
mod leaving;
mod money;
mod showing;

use std::future::Future;
use std::pin::Pin;

use koban_domain::guest::AssessPayment;
use koban_domain::money::Money;
use koban_domain::records::Input;
use koban_service::Error;

use super::stage::Stage;
pub(super) use calls::use_every_slot;

/// What was seen, one for each try.
pub(super) type Tries = anyhow::Result<Vec<String>>;
type Run = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = Tries> + Send + 'a>>;

/// A row of the table.
pub(super) struct Attack {
    /// Its number; those from 49 on are of our own contract.
    pub(super) number: u16,
    /// What is attacked, in words.
    pub(super) attack: &'static str,
    /// How it is tried here.
    pub(super) how: &'static str,
    /// What must come of it: the typed word, then what must stand in the words behind it. Several tries are parted by `; `.
    pub(super) expected: &'static str,
    /// How many yen its user may rightly gain meanwhile.
    pub(super) gains: i64,
    /// Tries it.
    pub(super) run: Run,
}

/// Rows of the table: number, attack, how, expected, what may rightly be gained, and what tries it.
macro_rules! attacks {
    ($($number:literal $attack:literal, $how:literal, $expected:literal, $gains:literal, $run:path;)*) => {
        /// All attacks, in the order in which they are tried.
        pub(super) const ATTACKS: &[Attack] = &[$(Attack {
            number: $number,
            attack: $attack,
            how: $how,
            expected: $expected,
            gains: $gains,
            run: |stage| Box::pin($run(stage)),
        },)*];
    };
}

attacks! {
    1 "endless loop", "a rule that never answers", "fuel-exhausted", 0, calls::endless;
    2 "endless loop at the start", "a component whose start function never ends", "install refused: fuel-exhausted", 0, installing::endless_start;
    3 "recursion", "a function that calls itself until the stack ends", "stack-overflow", 0, calls::recursion;
    4 "4 GiB of memory", "one `memory.grow` to the end of 32 bits", "memory-denied", 0, calls::memory;
    5 "many small grows", "20 calls, each takes 6 MiB and traps if it finds more than a fresh instance has", "answered", 0, calls::small_grows;
    6 "tables and instances", "a table of a million entries; 100 tables; 1,000 instances", "memory-denied; install refused", 0, calls::tables;
    7 "10 million handles", "the contract has no resources: a component that imports one", "install refused: imports what no plugin gets", 0, installing::resources;
    8 "1 GiB to the host", "a log line of all its memory; one that is longer than memory", "host-data-too-large; trap", 0, calls::large_log;
    9 "amplified lists", "10,000 reasons that are all the same text of 10,000 bytes", "output-too-large", 0, calls::amplification;
    10 "100 MiB as an answer", "a reason of 15 MB, nearly all the memory that a decision has", "output-too-large", 0, calls::large_answer;
    11 "broken text and pointers", "log lines that are no UTF-8, a lone surrogate, out of memory; an answer at an odd address and one outside", "trap", 0, calls::bad_pointers;
    12 "a lying allocator", "room outside of memory; crooked room; the same room for everything, which harms nobody else", "trap; answered", 0, calls::bad_room;
    13 "log flood", "empty lines without end", "host-data-too-large", 0, calls::log_flood;
    14 "forged log lines", "line breaks, terminal codes, JSON, `</script>` and a mark that turns the direction of writing", "answered, one plain line kept", 0, calls::log_forgery;
    15 "key-value store", "the contract has none: a component that imports one", "install refused: imports what no plugin gets", 0, installing::key_value;
    16 "another origin", "an effect at an endpoint, and one with an operation, that the manifest does not have", "effect refused: denied; no name asked for", 0, effects::other_origin;
    17 "private addresses", "8 bases as an operator might be talked into, then effects at 16 names of private addresses", "endpoint refused; effect refused: the address is refused", 0, effects::private_addresses;
    18 "redirect to a private address", "a partner that answers 302 to the metadata service", "effect answered: 302; nothing followed", 0, effects::redirect;
    19 "a name that changes", "the partner's address first, the metadata service beside it at the second effect", "effect answered: 200; effect refused: the address is refused", 0, effects::rebinding;
    20 "crooked addresses", "12 bases that lenient parsers repair, then effects with paths that lead elsewhere", "endpoint refused; effect refused: bad-answer; effect refused: the request is not well formed", 0, effects::crooked_urls;
    21 "injected headers", "line breaks in a path, a query and a reply; headers that only the host sets", "effect refused: bad-answer; effect answered: 200; no header injected; reply refused: bad-answer; reply sent without them", 0, effects::headers;
    22 "answers without end", "a partner that trickles, never ends, sends a gzip bomb or 256 KiB of headers", "effect lost: unknown", 0, effects::bad_answers;
    23 "a secret elsewhere", "`{{secret:pin}}` at an endpoint that it was not given to, then at its own, whose partner sends it back", "effect refused: the body asks for the secret; effect answered: 200; only its own partner got it", 0, effects::secrets;
    24 "another one's payment", "a reversal of a credit that is not the flow's own", "denied: no credit", 0, money::anothers_credit;
    25 "amounts", "credits of -1, 0, the least number, `jpy`, `YEN!`; of the greatest number; in dollars", "bad-answer; refused: authorisation_exceeded; refused: currency_not_accepted", 0, money::amounts;
    26 "more than agreed", "a credit of 5,001 yen where the user agreed to 5,000", "refused: authorisation_exceeded", 0, money::more_than_agreed;
    27 "references", "a credit without one; one reference in two flows", "bad-answer; Done with 1 credits; refused: reference_used", 1000, money::references;
    28 "two endings", "a flow that is done and then failed", "denied: cannot become", 1000, money::two_endings;
    29 "money from a world without it", "a rule that imports a function to credit", "install refused: imports what no plugin gets", 0, installing::money_import;
    30 "WASI", "components that import environment, files, sockets, HTTP", "install refused: imports what no plugin gets", 0, installing::wasi;
    31 "features", "threads, 64-bit and several memories, garbage collection, exceptions, tail calls, SIMD, async", "install refused: not valid", 0, installing::features;
    32 "chance", "a rule that answers as its seed says; each record is run again", "answered, the same again", 0, calls::chance;
    33 "obstruction", "a rule that declines everything; one that uses nearly all its fuel at each of 20 calls", "refused: declined_by_fraud; answered", 0, calls::obstruction;
    34 "a trap now and then", "a rule that traps on payments of 13 yen", "answered; refused: declined_by_fraud; answered; trap", 0, calls::now_and_then;
    35 "re-entry", "an allocator that calls the host while the host calls it", "trap", 0, calls::reentry;
    36 "memory of its own", "20 calls, each traps if it finds what the last one left in memory or a global", "answered", 0, calls::memory_of_its_own;
    37 "timing", "the contract has no clock: components that import one", "install refused: imports what no plugin gets", 0, installing::clocks;
    38 "randomness", "the contract has none but the seed: a component that imports some", "install refused: imports what no plugin gets", 0, installing::random;
    39 "malformed binaries", "nothing, a script, cut, noise, 100,000 nested types, a million functions, 20,001 of them, 3 MiB of padding, a name twice, a module", "install refused", 0, installing::malformed;
    40 "compile bomb", "9 KB: a jump to any of 2,000 nested places, with 1,000 values each", "install refused: was ended", 0, installing::compile_bomb;
    41 "machine code", "code that this host's own compiler made, brought as a component", "install refused: compiled machine code", 0, installing::machine_code;
    42 "signatures", "none, a stranger's, over another document, manifest or component; two components in one package", "install refused", 0, installing::signatures;
    43 "downgrade", "an older version of the same publisher after a newer one", "installed; install refused: not newer", 0, installing::downgrade;
    44 "a greedy update", "the next version asks for one endpoint more", "install refused: nobody has accepted yet; the old one decides", 0, installing::greedy_update;
    45 "a revoked publisher", "its key is revoked while its rule is in force, then it brings another package", "quarantined; install refused: was revoked", 0, installing::revoked_publisher;
    46 "look-alikes", "ids with capitals, other alphabets, a turned direction, a path, the platform's own name", "install refused: manifest.id", 0, installing::look_alikes;
    47 "words of its own", "HTML, scripts, other schemes, 200 KB, line breaks and turned directions, in answers and in a manifest", "bad-answer; install refused: manifest.texts", 0, showing::texts;
    48 "the platform's names", "a rule that would hear the platform's events; one whose reason is called like one", "install refused: manifest.events; bad-answer", 0, installing::event_names;
    49 "forged correlation", "a second flow expects the call that a first one waits for", "effect refused: another flow or an earlier call has this correlation; the first flow alone was credited", 1000, flows::correlation;
    50 "forged calls", "calls unsigned, signed by another, changed, 10 minutes old, without a signature", "call refused: bad signature; nothing credited", 0, flows::forged_calls;
    51 "another plugin's flow", "a partner of one plugin names the correlation of another one's flow", "answered: 404; nothing credited", 0, flows::anothers_flow;
    52 "reply storm", "the same signed call a hundred times at once", "credited once, the same reply to all", 1000, flows::reply_storm;
    53 "changed effects", "the key of a timer, and that of a call, with another content", "denied: with another content", 0, flows::changed_effects;
    54 "growing state", "64 KiB and a byte", "bad-answer", 0, flows::growing_state;
    55 "many effects", "17 in a step; 18 open", "bad-answer; denied: effects would be open", 0, flows::many_effects;
    56 "a call after the end", "a step that ends its flow and asks for a call", "denied: nobody would hear of it; nothing was sent", 0, flows::call_after_the_end;
    57 "faults in a flow", "a step that never ends, one that traps, a failure instead of one; a routing that never ends", "fuel-exhausted; trap; bad-answer; fuel-exhausted", 0, flows::faults;
    58 "no partner said so", "credits because of nothing, of an event to come, of the flow's own timer", "denied: no authenticated answer or message", 0, money::no_partner_said_so;
    59 "other proposals", "a charge that proposes hold, capture, release", "denied: not granted", 0, money::other_proposals;
    60 "one credit twice", "two credits under one key", "denied: was proposed before", 0, money::same_credit_twice;
    61 "many proposals", "17 in a step", "bad-answer", 0, money::many_proposals;
    62 "insisting", "the refused credit again, and again", "refused: authorisation_exceeded, and stuck", 0, money::insists;
    63 "after the end", "a credit after the last one; more taken back than was given", "denied: final flow; refused: reversal_exceeds_credit", 1000, money::after_the_end;
    64 "the exposure cap", "two credits that pass it together", "Done with 1 credits; refused: exposure_cap_reached; within its cap", 2000, money::exposure_cap;
    65 "money at the beginning", "a beginning that proposes a credit", "begin refused: denied", 0, money::money_at_the_beginning;
    66 "forms", "21 fields, 101 choices, a label and a name of its own, consent at an unknown endpoint", "bad-answer; denied", 0, showing::forms;
    67 "a form for secrets", "a form that asks for a secret", "answer refused", 0, showing::secret_form;
    68 "links elsewhere", "links that lead to nobody's endpoint", "denied: at none of its endpoints", 0, showing::links;
    69 "notes and failures", "codes and texts that the manifest does not have", "bad-answer", 0, showing::notes;
    70 "names that mislead", "a manifest whose name has invisible characters, a turned direction, a line break, or nothing", "install refused: manifest.name", 0, showing::names;
    71 "an impostor", "a component that calls itself another plugin; another version", "install refused: describe says", 0, installing::impostor;
    72 "greedy manifests", "a rule with endpoints, a charge that may hold and capture, a fact that nobody is told", "install refused: package.manifest", 0, installing::greedy_manifests;
    73 "a neighbour's memory", "a guest fills 16 MiB; others look for it in the same slot, and it itself again", "answered", 0, calls::memory_of_a_neighbour;
    74 "faults again and again", "a rule that faults at every call", "quarantined; others decide", 0, installing::quarantined;
    75 "all slots at once", "50 calls more than there are slots, none of which ends, while neighbours pay", "fuel-exhausted or busy", 0, calls::all_slots;
    76 "more than was set aside", "withdrawals that set aside more than was agreed to, or take more than that, at once and in parts", "refused: authorisation_exceeded; refused: capture_exceeds_hold", 0, leaving::more_than_held;
    77 "after the release", "what was let go is taken, or let go again; a hold is let go while the partner may be paying", "refused: hold_ended; denied: something left to release; denied: while the call", 0, leaving::after_the_release;
    78 "one payment for two", "one reference of the partner's for the captures of two withdrawals", "1000 yen taken; refused: reference_used", 0, leaving::same_reference;
    79 "taken without a word", "captures because of nothing, of the flow's own timer, and in the beginning", "denied: no authenticated answer or message; begin refused: denied", 0, leaving::no_partner_said_so;
    80 "a fee of its own", "a capture that keeps 100 yen where the user agreed to no fee", "denied: left of the fee", 0, leaving::own_fee;
    81 "an account of its own", "a call that has the partner pay a million to another account, and its capture", "effect answered: 200; refused: capture_exceeds_hold", 0, leaving::own_account;
    82 "another bill", "by the time the user agrees, the code is another amount, biller or bill; more is set aside than it is", "begin refused: not what was agreed to; refused: authorisation_exceeded", 0, leaving::another_bill;
    83 "a bill twice", "two flows pay the same bill", "1000 yen taken; refused: bill_paid", 0, leaving::paid_twice;
    84 "paid, and not paid", "a bill that is done and nothing was taken; one that is done and taken afterwards", "nothing taken; denied: final flow", 0, leaving::done_unpaid;
    85 "prices", "a dollar 5 % too dear and too cheap, for nothing, of too much, of another pair, too long, too old; then 4 % below cost, twice", "refused: rate_out_of_band; refused: rate_not_available; refused: rate_stale; answered; refused: position_limit", 0, deciding::prices;
    86 "a greedy bonus", "more than the budget has, more than a user's share, two for one event", "granted once", 0, deciding::greedy_bonuses;
    87 "a wild bonus", "less than nothing, for a reason that nobody knows, of another's budget, in dollars", "bad-answer; denied; nothing granted", 0, deciding::wild_bonuses;
    88 "a bonus for nobody", "for an event that is about no user", "set aside: this event has none; nothing granted", 0, deciding::bonus_for_nobody;
    89 "the loss budget", "a credit after what was lost has used it up", "1000 yen written off; refused: loss_budget_exhausted; within its budget", 0, deciding::loss_budget;
    90 "a flow that never rests", "a timer of 1970 at every step", "stuck: 500 steps", 0, flows::never_ends;
    91 "a flow that waits for ever", "15 days pass, then its partner calls", "stuck: 14 days; answered: 503", 0, flows::waits_for_ever;
}

/// Whether what was seen is what is expected, and what of it to show.
pub(super) struct Held {
    /// It is.
    pub(super) as_expected: bool,
    /// The expected words where they were met, and otherwise what came instead.
    pub(super) seen: String,
}

/// Holds what was seen beside what is expected: each expected part is met by one try or more in a row, and no try is left over.
pub(super) fn held(expected: &str, tries: &[String]) -> Held {
    let parts: Vec<&str> = expected.split("; ").collect();
    let (mut part, mut met_once, mut as_expected) = (0, false, !tries.is_empty());
    let mut seen: Vec<String> = Vec::new();
    for one in tries {
        let here = parts.get(part).is_some_and(|wanted| meets(wanted, one));
        let next = met_once && parts.get(part + 1).is_some_and(|wanted| meets(wanted, one));
        if !here && next {
            part += 1;
        }
        let word = if here || next { parts[part].to_owned() } else { short(one) };
        met_once |= here || next;
        as_expected &= here || next;
        if seen.last() != Some(&word) {
            seen.push(word);
        }
    }
    as_expected &= part + 1 == parts.len();
    Held { as_expected, seen: seen.join("; ") }
}

/// Whether a try came to this. `word: more` is met by what begins with the word and says more of it somewhere; a word alone by what begins with it.
fn meets(wanted: &str, seen: &str) -> bool {
    let Some(rest) = seen.strip_prefix(wanted) else {
        return wanted.split_once(": ").is_some_and(|(word, more)| {
            seen.strip_prefix(word).is_some_and(|rest| ends_word(rest) && rest.contains(more))
        });
    };
    ends_word(rest)
}

fn ends_word(rest: &str) -> bool {
    rest.chars().next().is_none_or(|next| !next.is_alphanumeric() && next != '-' && next != '_')
}

/// Long enough to see what it is.
fn short(text: &str) -> String {
    const CHARS: usize = 160;
    let line: String = text.chars().map(|one| if one.is_control() { ' ' } else { one }).take(CHARS).collect();
    if text.chars().count() > CHARS { format!("{line}…") } else { line }
}

/// A refusal by its code, or whatever else went wrong.
fn refusal(error: &Error) -> String {
    match error {
        Error::Refused { refusal, .. } => format!("refused: {}", refusal.code()),
        other => koban_service::ledger::chain(other),
    }
}

/// A payment to judge.
fn a_payment() -> Input {
    let payment =
        AssessPayment { id: "pay_selftest".to_owned(), kind: "payment".to_owned(), amount: Money::yen(10), at: 0 };
    Input::Assess(payment, Vec::new(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as docs/reference/attacks.md has it.
    fn table() -> String {
        let mut text = String::from("| # | attack | how it is tried here | expected |\n|---|---|---|---|\n");
        for Attack { number, attack, how, expected, .. } in ATTACKS {
            let expected: Vec<String> = expected.split("; ").map(|part| format!("`{part}`")).collect();
            text.push_str(&format!("| {number} | {attack} | {how} | {} |\n", expected.join(", then ")));
        }
        text
    }

    #[track_caller]
    fn check(expected: &str, tries: &[&str], as_expected: bool, seen: &str) {
        let tries: Vec<String> = tries.iter().map(|one| (*one).to_owned()).collect();
        let held = held(expected, &tries);
        assert_eq!((held.as_expected, held.seen.as_str()), (as_expected, seen));
    }

    #[test]
    fn what_is_seen_is_held_beside_what_is_expected() {
        check("trap", &["trap (unreachable)"], true, "trap");
        check("trap", &["trap (a)", "trap (b)"], true, "trap");
        check("trap", &["trapped"], false, "trapped");
        check("trap", &["answered"], false, "answered");
        check("trap", &[], false, "");
        check("trap; answered", &["trap (a)", "trap (b)", "answered"], true, "trap; answered");
        check("trap; answered", &["trap (a)"], false, "trap");
        check("trap; answered", &["answered"], false, "answered");
        check("trap; answered", &["trap (a)", "answered", "trap (b)"], false, "trap; answered; trap (b)");
        check("install refused: not newer", &["install refused: 1.0 is not newer"], true, "install refused: not newer");
        check("install refused: not newer", &["install refused: no"], false, "install refused: no");
        check("denied: no credit", &["denied (there is no credit `x`)"], true, "denied: no credit");
    }

    #[test]
    fn every_number_stands_once_and_in_order() {
        let numbers: Vec<u16> = ATTACKS.iter().map(|attack| attack.number).collect();
        assert_eq!(numbers, (1..=91).collect::<Vec<_>>());
    }

    #[test]
    fn the_page_of_attacks_has_this_table() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/attacks.md");
        let text = std::fs::read_to_string(page).unwrap();
        let (head, rest) = text.split_once("| # |").unwrap();
        let end = rest.split_once("\n\n").map_or("", |(_, end)| end);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            let end = if end.is_empty() { String::new() } else { format!("\n{end}") };
            std::fs::write(page, format!("{head}{}{end}", table())).unwrap();
        }
        assert!(
            text.contains(&table()),
            "docs/reference/attacks.md: run UPDATE_EXPECT=1 cargo test --workspace --bin koban attacks"
        );
    }
}
