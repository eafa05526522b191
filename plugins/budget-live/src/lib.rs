//! A wallet's new rows in a budgeting app that its user has linked.
//!
//! Linking asks for a name, sends the user to the app's page to agree, asks the app whose account that is, and saves it. From then on the host brings new
//! rows: each time one call with all of them, each row under an id that is its own for ever, so that a call whose answer was lost may come again.

use koban_sdk::flow::{Event, Field, FieldKind, HttpAnswer, HttpCall, Refusal, SavedLink, Show, Standing, Step, What};
use koban_sdk::serde::{Deserialize, Serialize};
use koban_sdk::statement::{Account, Document, Row};
use koban_sdk::{
    Context, Failure, Json, LinkAccount, Machine, Named, Plugin, Reader, Settings, Statement, Sync, Value, budget_link,
    json, link_account, machine, sync,
};

#[cfg(test)]
mod tests;

/// The app's endpoint, and the kind of link.
const APP: &str = "app";

/// The plugin.
pub struct BudgetLive;

budget_link!(BudgetLive);
machine!(BudgetLive);
link_account!(BudgetLive);
sync!(BudgetLive);

/// There is nothing to set.
pub struct Nothing;

impl Settings for Nothing {
    fn read(list: &[Named]) -> Result<Nothing, Vec<Failure>> {
        Reader::of(list).finish(Nothing)
    }
}

impl Plugin for BudgetLive {
    type Settings = Nothing;
}

/// Where a flow is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub enum State {
    /// The user is asked for a name.
    Naming,
    /// The user is at the app's page.
    Agreeing {
        /// What the link shall be called; empty for the app's own name.
        name: String,
    },
    /// The app is asked whose account it is.
    Asking {
        /// What the link shall be called.
        name: String,
    },
    /// Rows are on their way to this account.
    Sending {
        /// The app's id of it.
        account: String,
    },
    /// It has ended so, and stays so.
    Over(End),
}

/// How a flow has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub enum End {
    /// Linked, or sent.
    Done,
    /// Neither.
    Failed,
    /// Its user wished so.
    Cancelled,
}

/// What the app says of an account.
#[derive(Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct AppAccount {
    id: String,
    name: String,
}

impl LinkAccount for BudgetLive {
    fn begin(_: &Context, _: &Nothing, _: &link_account::Request) -> Result<Step<State>, Failure> {
        let name = Field::new("name", "name", FieldKind::Text).optional().at_most(20);
        Ok(Step::new(State::Naming, Standing::WaitingForUser).show("name", Show::Form(vec![name])))
    }
}

impl Sync for BudgetLive {
    fn begin(_: &Context, _: &Nothing, request: &sync::Request) -> Result<Step<State>, Failure> {
        let account = request.link.reference.clone();
        let body = rows(&account, &request.account);
        let state = State::Sending { account };
        Ok(Step::new(state, Standing::WaitingForPartner).http("rows", HttpCall::json(APP, "transactions", &body)))
    }
}

impl Machine for BudgetLive {
    type State = State;

    fn resume(
        _: &Context,
        _: &Nothing,
        state: State,
        event: &Event,
        _: Option<&Refusal>,
    ) -> Result<Step<State>, Failure> {
        Ok(match (state, &event.what) {
            // What was saved in the last step was refused: the account is another user's.
            (State::Over(end), What::Lost((_, why))) => over(end).note(not_linked(why)),
            (State::Over(end), _) => over(end),
            (_, What::CancelAsked) => over(End::Cancelled),
            (State::Naming, What::Form(answers)) => agree(named(answers)),
            (State::Agreeing { name }, What::Agreed) => {
                Step::new(State::Asking { name }, Standing::WaitingForPartner).http("account", question())
            }
            (State::Asking { name }, What::Answer(answer)) => save(&name, answer),
            (State::Sending { account }, What::Answer(answer)) => sent(&account, answer),
            (State::Sending { .. }, What::Lost((_, why))) => failed(Failure::new("not_taken", why)),
            (_, What::Lost((_, why))) => failed(not_linked(why)),
            (state, _) => Step::new(state, Standing::WaitingForUser),
        })
    }
}

/// A flow that has nothing more to do.
fn over(end: End) -> Step<State> {
    let standing = match end {
        End::Done => Standing::Done,
        End::Failed => Standing::Failed,
        End::Cancelled => Standing::Cancelled,
    };
    Step::new(State::Over(end), standing)
}

fn failed(why: Failure) -> Step<State> {
    over(End::Failed).note(why)
}

fn not_linked(why: &str) -> Failure {
    Failure::new("not_linked", why).text("not-linked")
}

fn named(answers: &[Named]) -> String {
    let name = answers.iter().find(|answer| answer.name == "name");
    match name.map(|answer| &answer.value) {
        Some(Value::Text(name)) => name.trim().to_owned(),
        _ => String::new(),
    }
}

fn agree(name: String) -> Step<State> {
    Step::new(State::Agreeing { name }, Standing::WaitingForUser)
        .show("why", Show::Text("agree".to_owned()))
        .show("agree", Show::Consent(APP.to_owned()))
}

/// The question whose account it is.
fn question() -> HttpCall {
    HttpCall {
        endpoint: APP.to_owned(),
        operation: "account".to_owned(),
        path: String::new(),
        query: Vec::new(),
        body: Vec::new(),
    }
}

/// The app has said whose account it is.
fn save(name: &str, answer: &HttpAnswer) -> Step<State> {
    let account = match answer.read::<AppAccount>() {
        Ok(account) if answer.status == 200 && !account.id.is_empty() => account,
        _ => {
            let why = format!("the app answered {} to the question whose account it is", answer.status);
            return failed(not_linked(&why));
        }
    };
    let label = if name.is_empty() { short(&account.name) } else { name.to_owned() };
    over(End::Done).save_link("save", SavedLink::new(APP, &account.id, &label))
}

/// A label has at most 80 bytes, and 20 characters have at most that.
fn short(name: &str) -> String {
    let short: String = name.chars().filter(|one| !one.is_control()).take(20).collect();
    if short.is_empty() { "App".to_owned() } else { short }
}

/// The app has answered to rows.
fn sent(account: &str, answer: &HttpAnswer) -> Step<State> {
    match answer.status {
        200..=299 => over(End::Done),
        404 | 410 => failed(Failure::new("gone", "the app knows the account no more")).drop_link("gone", account),
        status => failed(Failure::new("not_taken", format!("the app answered {status}"))),
    }
}

/// What the app is sent.
fn rows(name: &str, account: &Account) -> Json {
    let row = |row: &Row| {
        json!({
            "id": row.id, "at": row.at, "kind": row.kind, "amount": row.amount.minor, "balance": row.balance,
            "counterpart": row.counterpart, "memo": row.memo, "refers_to": row.refers_to,
        })
    };
    json!({
        "account": name, "wallet": account.name, "currency": account.currency,
        "opening": account.opening, "closing": account.closing,
        "rows": account.rows.iter().map(row).collect::<Vec<Json>>(),
    })
}

impl Statement for BudgetLive {
    fn compose(_: &Context, _: &Nothing, format: &str, account: &Account) -> Result<Document, Failure> {
        match format {
            "json" => Ok(Document::new("rows.json", rows("file", account).to_string().into_bytes())),
            other => {
                let why = format!("`{other}` is none of the manifest's formats");
                Err(Failure::new("not_taken", why).text("format-unknown"))
            }
        }
    }
}
