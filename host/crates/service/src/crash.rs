//! Places at which a host of the tests ends at once, as a power cut would end it: each lies between two things of which the second must be found again.
//!
//! Only a build for development knows them; in any other a place is nothing. docs/internals/flows.md says what is found again after each.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A place in the life of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// An event was read; its plugin was not asked.
    EventRead,
    /// The plugin has answered; nothing is committed.
    StepMade,
    /// The step is committed; nobody was told.
    StepCommitted,
    /// An effect is leased; no attempt was counted.
    EffectLeased,
    /// The attempt was counted; no byte has left.
    AttemptCounted,
    /// The partner has answered; nothing is stored.
    AnswerHeard,
    /// What came of the effect is stored; nobody was told.
    EventStored,
    /// A partner's call is stored; its step was not made.
    CallStored,
    /// The reply to it is stored; it did not go out.
    ReplyStored,
    /// A record stands in a partner's file; nobody was told.
    RecordPut,
    /// A partner's file is sealed; it was not composed.
    FileSealed,
    /// The plugin has composed it; nothing is stored.
    FileMade,
    /// Its bytes are stored; it was not written.
    FileComposed,
    /// It lies in its directory; nothing is stored of that.
    FilePutDown,
    /// That it was written is stored; nobody was told.
    FileWritten,
    /// A file from a partner was read; nothing is stored.
    FileRead,
    /// Its records are stored; nobody was told.
    FileTaken,
}

impl Point {
    /// Every place, in the order of a flow.
    pub const ALL: [Point; 9] = [
        Point::EventRead,
        Point::StepMade,
        Point::StepCommitted,
        Point::EffectLeased,
        Point::AttemptCounted,
        Point::AnswerHeard,
        Point::EventStored,
        Point::CallStored,
        Point::ReplyStored,
    ];

    /// Every place in the life of a file that is shared with a partner, in its order.
    pub const OF_FILES: [Point; 8] = [
        Point::RecordPut,
        Point::FileSealed,
        Point::FileMade,
        Point::FileComposed,
        Point::FilePutDown,
        Point::FileWritten,
        Point::FileRead,
        Point::FileTaken,
    ];

    /// The word by which a test names it.
    pub const fn word(self) -> &'static str {
        match self {
            Point::EventRead => "event-read",
            Point::StepMade => "step-made",
            Point::StepCommitted => "step-committed",
            Point::EffectLeased => "effect-leased",
            Point::AttemptCounted => "attempt-counted",
            Point::AnswerHeard => "answer-heard",
            Point::EventStored => "event-stored",
            Point::CallStored => "call-stored",
            Point::ReplyStored => "reply-stored",
            Point::RecordPut => "record-put",
            Point::FileSealed => "file-sealed",
            Point::FileMade => "file-made",
            Point::FileComposed => "file-composed",
            Point::FilePutDown => "file-put-down",
            Point::FileWritten => "file-written",
            Point::FileRead => "file-read",
            Point::FileTaken => "file-taken",
        }
    }
}

struct Armed {
    at: Point,
    /// How often it is passed before the host ends.
    left: AtomicU32,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Ends this process when it comes to a place for so many times: `step-committed:3`. Errors: the text names no place, or this build knows none.
pub fn arm(text: &str) -> Result<(), String> {
    let wrong = || format!("`{text}` is no place; write one such as `step-committed:3`");
    if !cfg!(debug_assertions) {
        return Err("only a build for development can be made to end".to_owned());
    }
    let (word, times) = text.split_once(':').ok_or_else(wrong)?;
    let at = Point::ALL.into_iter().chain(Point::OF_FILES).find(|point| point.word() == word).ok_or_else(wrong)?;
    let times: u32 = times.parse().ok().filter(|times| *times > 0).ok_or_else(wrong)?;
    ARMED.set(Armed { at, left: AtomicU32::new(times) }).map_err(|_| "a place is set already".to_owned())
}

/// Passes a place. With nothing armed this is one load.
pub(crate) fn pass(point: Point) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(armed) = ARMED.get().filter(|armed| armed.at == point) else { return };
    if armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        end();
    }
}

/// Ends the process with nothing written, closed or said: only the operating system tidies up.
fn end() -> ! {
    std::process::abort()
}
