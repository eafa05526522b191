//! What the network knows: sessions at its ATMs, deposits with their standing, and the days it has closed. Pure; the time is handed in.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::clock::Day;
use crate::settlement::{self, Kind, Row};

/// Everything the network has to remember.
#[derive(Debug)]
pub struct Book {
    atm_id: String,
    fee: i64,
    sessions: BTreeMap<String, Session>,
    deposits: BTreeMap<Reference, Deposit>,
    serials: u32,
    files: BTreeMap<Day, Vec<u8>>,
}

/// `atm_id/business_date/serial`: the network's own id of a deposit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Reference {
    /// Which ATM.
    pub atm_id: String,
    /// The network's day, `2026-04-24`.
    pub business_date: String,
    /// Six digits.
    pub serial: String,
}

/// One user standing at an ATM.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Session {
    /// What Koban approved.
    pub approval: Option<Approval>,
    /// How it stands.
    pub standing: SessionStanding,
    /// Why it ended.
    pub reason: Option<String>,
    /// Wrong company numbers so far.
    pub wrong_numbers: u8,
}

/// What Koban approved for a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// What the user will be shown and must type.
    pub company_number: String,
    /// In yen.
    pub max_amount: i64,
    /// Milliseconds since 1970.
    pub expires_at: i64,
}

/// How a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionStanding {
    /// The QR code is shown.
    #[default]
    Open,
    /// The right company number was typed; cash may come.
    Matched,
    /// A deposit was made: a session is used once.
    Used,
    /// Over without a deposit.
    Ended,
}

/// One deposit.
#[derive(Clone, Debug, Serialize)]
pub struct Deposit {
    /// Its id at the network.
    pub reference: Reference,
    /// The session that it belongs to.
    pub session: String,
    /// In yen.
    pub amount: i64,
    /// How it stands.
    pub standing: DepositStanding,
    /// Koban's reason for a refusal, or what is odd.
    pub reason: Option<String>,
    /// When the cash was counted, in milliseconds since 1970.
    pub at_ms: i64,
    /// When Koban confirmed that it is reversed.
    pub reversed_at_ms: Option<i64>,
    /// Koban said ok, or said nothing: it may stand in Koban's books.
    #[serde(skip)]
    maybe_credited: bool,
    #[serde(skip)]
    charge_listed: bool,
    #[serde(skip)]
    cancel_listed: bool,
}

/// How a deposit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DepositStanding {
    /// Counted, and Koban was not told yet.
    Prepared,
    /// Koban was told and has not said anything clear.
    Unknown,
    /// Koban credited it; the cash stays in the ATM.
    Booked,
    /// Koban refused it; the cash was given back.
    Refused,
    /// Koban confirmed that it is reversed, or dead before it came; the cash was given back.
    Reversed,
}

/// What Koban made of a deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Credited.
    Ok,
    /// Refused, with a reason.
    Refused(String),
    /// Nothing clear was heard.
    Nothing,
}

/// What came of typing a company number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Keyed {
    /// Right; the notes may go in.
    Matched {
        /// In yen.
        max_amount: i64,
    },
    /// Wrong; so many tries are left.
    Wrong {
        /// 2 or 1.
        left: u8,
    },
    /// The session is over.
    Ended {
        /// Why.
        reason: String,
    },
}

/// Why the network does not do what a control asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotDo {
    /// No such session.
    #[error("there is no session `{0}`; open one with POST /control/sessions")]
    UnknownSession(String),
    /// No such deposit.
    #[error("there is no deposit `{0}`; GET /control/book lists them")]
    UnknownDeposit(String),
    /// The ATM does not take cash in this state.
    #[error("the session is {0}: cash is taken after the right company number was typed (or set `anyway`)")]
    NotReady(String),
    /// Not an amount of cash.
    #[error("the amount must be at least 1 yen")]
    Amount,
    /// The memory of this demonstration is full.
    #[error("the book is full; start the outside world again")]
    Full,
    /// The world ends.
    #[error("the outside world is stopping")]
    Stopping,
    /// Not a day.
    #[error("`{0}` is not a day; write it as 2026-04-24")]
    Day(String),
    /// A sum beyond any that exists.
    #[error("the sum of the file is too large")]
    Sum,
}

const WRONG_NUMBERS_MAX: u8 = 3;
const ENTRIES_MAX: usize = 200_000;

/// Whether a text can name an ATM.
pub fn is_atm_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

impl Book {
    /// An empty book of one ATM.
    pub fn new(atm_id: &str, fee: i64) -> Book {
        Book {
            atm_id: atm_id.to_owned(),
            fee,
            sessions: BTreeMap::new(),
            deposits: BTreeMap::new(),
            serials: 0,
            files: BTreeMap::new(),
        }
    }

    // ---- sessions

    /// A user touched the screen: the ATM shows the session as a QR code.
    pub fn open_session(&mut self, session: String) -> Result<(), CannotDo> {
        if self.sessions.len() >= ENTRIES_MAX {
            return Err(CannotDo::Full);
        }
        self.sessions.insert(session, Session::default());
        Ok(())
    }

    /// How a session stands.
    pub fn session(&self, session: &str) -> Result<&Session, CannotDo> {
        self.sessions.get(session).ok_or_else(|| CannotDo::UnknownSession(session.to_owned()))
    }

    /// Koban approves a session. The same approval again is answered as the first time; the error is the reason for refusing.
    pub fn approve(&mut self, session: &str, approval: Approval, now_ms: i64) -> Result<(), &'static str> {
        let known = self.sessions.get_mut(session).ok_or("unknown_session")?;
        if known.standing == SessionStanding::Ended {
            return Err("session_ended");
        }
        match &known.approval {
            Some(first) if *first == approval => Ok(()),
            Some(_) => Err("already_approved"),
            None if approval.expires_at <= now_ms => Err("expired"),
            None => {
                known.approval = Some(approval);
                Ok(())
            }
        }
    }

    /// The user types a company number. The flag says whether the session ended just now, so that Koban must be told.
    pub fn type_number(&mut self, session: &str, number: &str, now_ms: i64) -> Result<(Keyed, bool), CannotDo> {
        let known = self.sessions.get_mut(session).ok_or_else(|| CannotDo::UnknownSession(session.to_owned()))?;
        match known.standing {
            SessionStanding::Ended => {
                return Ok((Keyed::Ended { reason: known.reason.clone().unwrap_or_default() }, false));
            }
            SessionStanding::Used => return Ok((Keyed::Ended { reason: "session_used".to_owned() }, false)),
            SessionStanding::Open | SessionStanding::Matched => {}
        }
        if known.approval.as_ref().is_some_and(|approval| approval.expires_at <= now_ms) {
            return Ok((known.end("session_expired"), true));
        }
        match &known.approval {
            Some(approval) if approval.company_number == number => {
                let max_amount = approval.max_amount;
                known.standing = SessionStanding::Matched;
                Ok((Keyed::Matched { max_amount }, false))
            }
            _ => {
                known.wrong_numbers += 1;
                match WRONG_NUMBERS_MAX.checked_sub(known.wrong_numbers) {
                    Some(left @ 1..) => Ok((Keyed::Wrong { left }, false)),
                    _ => Ok((known.end("wrong_company_number"), true)),
                }
            }
        }
    }

    /// The user walks away. The flag says whether the session ended just now.
    pub fn end_session(&mut self, session: &str, reason: &str) -> Result<bool, CannotDo> {
        let known = self.sessions.get_mut(session).ok_or_else(|| CannotDo::UnknownSession(session.to_owned()))?;
        let open = matches!(known.standing, SessionStanding::Open | SessionStanding::Matched);
        if open {
            known.end(reason);
        }
        Ok(open)
    }

    // ---- deposits

    /// Cash was put in and counted. `anyway` plays an ATM that does not look at the session.
    pub fn count_cash(&mut self, session: &str, amount: i64, anyway: bool, now_ms: i64) -> Result<Reference, CannotDo> {
        if !anyway {
            let known = self.session(session)?;
            if known.standing != SessionStanding::Matched {
                return Err(CannotDo::NotReady(format!("{:?}", known.standing).to_lowercase()));
            }
            if known.approval.as_ref().is_none_or(|approval| approval.expires_at <= now_ms) {
                return Err(CannotDo::NotReady("expired".to_owned()));
            }
            if amount < 1 {
                return Err(CannotDo::Amount);
            }
        }
        if self.deposits.len() >= ENTRIES_MAX {
            return Err(CannotDo::Full);
        }

        // After this point the deposit exists.
        if let Some(known) = self.sessions.get_mut(session) {
            known.standing = SessionStanding::Used;
        }
        self.serials += 1;
        let reference = Reference {
            atm_id: self.atm_id.clone(),
            business_date: self.business_day(now_ms).to_string(),
            serial: format!("{:06}", self.serials),
        };
        let deposit = Deposit {
            reference: reference.clone(),
            session: session.to_owned(),
            amount,
            standing: DepositStanding::Prepared,
            reason: None,
            at_ms: now_ms,
            reversed_at_ms: None,
            maybe_credited: false,
            charge_listed: false,
            cancel_listed: false,
        };
        self.deposits.insert(reference.clone(), deposit);
        Ok(reference)
    }

    /// One deposit.
    pub fn deposit(&self, reference: &Reference) -> Result<&Deposit, CannotDo> {
        self.deposits.get(reference).ok_or_else(|| CannotDo::UnknownDeposit(reference.to_string()))
    }

    /// All deposits, in the order of their references.
    pub fn deposits(&self) -> impl Iterator<Item = &Deposit> {
        self.deposits.values()
    }

    /// The deposit is about to be sent: from now on Koban may know it.
    pub fn sending(&mut self, reference: &Reference) {
        if let Some(deposit) = self.deposits.get_mut(reference)
            && deposit.standing == DepositStanding::Prepared
        {
            deposit.standing = DepositStanding::Unknown;
        }
    }

    /// Koban said something about a deposit, or nothing. What was reversed stays reversed.
    pub fn decided(&mut self, reference: &Reference, decided: &Decided) -> Option<DepositStanding> {
        let deposit = self.deposits.get_mut(reference)?;
        let reversed = deposit.standing == DepositStanding::Reversed;
        match decided {
            Decided::Ok if reversed => deposit.reason = Some("credited_after_reversal".to_owned()),
            Decided::Ok => deposit.standing = DepositStanding::Booked,
            Decided::Refused(reason) => {
                deposit.reason = Some(reason.clone());
                if deposit.standing == DepositStanding::Booked {
                    deposit.reason = Some(format!("booked, then refused: {reason}"));
                } else if !reversed {
                    deposit.standing = DepositStanding::Refused;
                }
            }
            // A repeat of a booked deposit that is not answered leaves it booked.
            Decided::Nothing => {}
        }
        if !matches!(decided, Decided::Refused(_)) {
            deposit.maybe_credited = true;
        }
        Some(deposit.standing)
    }

    /// The network sets out to reverse a deposit: the cash goes back, and it is unknown until Koban confirms.
    pub fn reversing(&mut self, reference: &Reference) {
        if let Some(deposit) = self.deposits.get_mut(reference)
            && deposit.standing == DepositStanding::Booked
        {
            deposit.standing = DepositStanding::Unknown;
        }
    }

    /// Koban confirmed a reversal.
    pub fn reversed(&mut self, reference: &Reference, now_ms: i64) {
        if let Some(deposit) = self.deposits.get_mut(reference)
            && deposit.standing != DepositStanding::Reversed
        {
            deposit.standing = DepositStanding::Reversed;
            deposit.reversed_at_ms = Some(now_ms);
        }
    }

    /// Writes down what is odd about a deposit.
    pub fn note(&mut self, reference: &Reference, reason: String) {
        if let Some(deposit) = self.deposits.get_mut(reference) {
            deposit.reason = Some(reason);
        }
    }

    // ---- days

    /// The day that deposits belong to: today in Japan, or the day after the last one that was closed.
    pub fn business_day(&self, now_ms: i64) -> Day {
        let today = Day::at(now_ms);
        self.files.last_key_value().map_or(today, |(closed, _)| today.max(closed.next()))
    }

    /// Closes a day and writes its file. A day that is closed gives the same bytes again. Without a day: the current one if there is anything
    /// to list, otherwise the last one that was closed.
    ///
    /// Listed is what no file has listed yet: booked deposits, and confirmed reversals as a second row of their deposit. What is still
    /// unknown waits for the next file.
    pub fn close_day(&mut self, day: Option<&str>, now_ms: i64) -> Result<(Day, Vec<u8>), CannotDo> {
        let day = match day {
            Some(text) => Day::parse(text).ok_or_else(|| CannotDo::Day(text.to_owned()))?,
            None => match self.files.last_key_value() {
                Some((closed, _)) if !self.deposits.values().any(Deposit::is_unlisted) => *closed,
                _ => self.business_day(now_ms),
            },
        };
        if let Some(file) = self.files.get(&day) {
            return Ok((day, file.clone()));
        }
        let last = day.to_string();
        let due = |deposit: &&mut Deposit| deposit.is_unlisted() && deposit.reference.business_date <= last;
        let mut rows = Vec::new();
        let mut listed = Vec::new();
        for deposit in self.deposits.values_mut().filter(due) {
            listed.push(deposit.reference.clone());
            let row = |kind, at_ms| Row {
                kind,
                reference: deposit.reference.to_string(),
                amount: deposit.amount,
                fee: if kind == Kind::Charge { self.fee } else { 0 },
                at_ms,
            };
            if !deposit.charge_listed {
                rows.push(row(Kind::Charge, deposit.at_ms));
            }
            if deposit.standing == DepositStanding::Reversed {
                rows.push(row(Kind::ChargeCancel, deposit.reversed_at_ms.unwrap_or(deposit.at_ms)));
            }
        }
        let file = settlement::compose("ATM", day, &rows).ok_or(CannotDo::Sum)?;

        // After this point the day is closed.
        for reference in listed {
            if let Some(deposit) = self.deposits.get_mut(&reference) {
                deposit.charge_listed = true;
                deposit.cancel_listed = deposit.standing == DepositStanding::Reversed;
            }
        }
        self.files.insert(day, file.clone());
        Ok((day, file))
    }
}

impl Session {
    fn end(&mut self, reason: &str) -> Keyed {
        self.standing = SessionStanding::Ended;
        self.reason = Some(reason.to_owned());
        Keyed::Ended { reason: reason.to_owned() }
    }
}

impl Deposit {
    fn is_unlisted(&self) -> bool {
        match self.standing {
            DepositStanding::Booked => !self.charge_listed,
            // A deposit that Koban certainly never credited has nothing to be cancelled.
            DepositStanding::Reversed => self.maybe_credited && !self.cancel_listed,
            DepositStanding::Prepared | DepositStanding::Unknown | DepositStanding::Refused => false,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.atm_id, self.business_date, self.serial)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests;
