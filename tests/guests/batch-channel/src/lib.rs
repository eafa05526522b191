//! A charge channel whose partner works in batches. For tests only.
//!
//! A charge puts one line into the file `requests` under the flow's own correlation, and expects it. The file `results` has lines `correlation,amount,reference`; its
//! line credits that many yen and the charge is done. The state says how far it came: `asked`, `queued`, `sealed NAME`.

use koban_sdk::files::Outgoing;
use koban_sdk::flow::{Credit, Event, Refusal, Request, Show, Standing, Step, What};
use koban_sdk::serde::{Deserialize, Serialize};
use koban_sdk::{
    Charge, Context, Failure, Files, Machine, Money, Named, Plugin, Reader, Settings, charge_channel, files,
};

/// The plugin.
pub struct BatchChannel;

charge_channel!(BatchChannel);
files!(BatchChannel);

/// How it behaves.
pub struct Mood(String);

impl Settings for Mood {
    fn read(list: &[Named]) -> Result<Mood, Vec<Failure>> {
        let mut read = Reader::of(list);
        let mood = Mood(read.one("mood"));
        read.finish(mood)
    }
}

/// What it remembers.
#[derive(Clone, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub struct Waiting {
    amount: i64,
    stage: String,
}

impl Plugin for BatchChannel {
    type Settings = Mood;
}

impl Charge for BatchChannel {
    fn begin(ctx: &Context, _: &Mood, request: &Request) -> Result<Step<Waiting>, Failure> {
        let correlation = format!("c{:016x}", ctx.seed);
        let amount = request.at_most.minor;
        let record = format!("{correlation},{amount}\n").into_bytes();
        let state = Waiting { amount, stage: "asked".to_owned() };
        Ok(Step::new(state, Standing::WaitingForPartner)
            .show("wait", Show::Text("wait".to_owned()))
            .expect("result", &correlation)
            .enqueue("request", "requests", &correlation, record))
    }
}

impl Machine for BatchChannel {
    type State = Waiting;

    fn resume(
        _: &Context,
        _: &Mood,
        state: Waiting,
        event: &Event,
        refused: Option<&Refusal>,
    ) -> Result<Step<Waiting>, Failure> {
        let stage = |stage: &str| Waiting { stage: stage.to_owned(), ..state.clone() };
        if refused.is_some() {
            return Ok(Step::new(state.clone(), Standing::Failed).note(Failure::new("refused", "the books refused")));
        }
        Ok(match &event.what {
            What::Queued => Step::new(stage("queued"), Standing::WaitingForPartner),
            What::Sealed(name) => Step::new(stage(&format!("sealed {name}")), Standing::WaitingForPartner),
            What::Lost((_, why)) => Step::new(stage("lost"), Standing::Failed).note(Failure::new("refused", why)),
            What::CancelAsked => Step::new(state, Standing::WaitingForPartner),
            What::Message(message) => {
                let line = String::from_utf8_lossy(&message.body).into_owned();
                let fields: Vec<&str> = line.trim_end().split(',').collect();
                let [_, amount, reference] = fields[..] else {
                    return Err(Failure::new("unreadable", "a result has three fields"));
                };
                let minor: i64 = amount.parse().map_err(|_| Failure::new("unreadable", "an amount is a number"))?;
                let credit = Credit::asked("money", Money { minor, currency: "JPY".to_owned() }, reference, event);
                Step::new(state, Standing::Done).credit(credit.arrived())
            }
            _ => Step::new(state, Standing::WaitingForPartner),
        })
    }
}

impl Files for BatchChannel {
    fn compose(_: &Context, mood: &Mood, file: &Outgoing, records: &[(String, Vec<u8>)]) -> Result<Vec<u8>, Failure> {
        match mood.0.as_str() {
            "unable" => return Err(Failure::new("unreadable", "this file cannot be made")),
            "endless" => return Ok(vec![b'x'; 4 * 1024 * 1024]),
            _ => {}
        }
        let mut content = format!("{} {} {}\n", file.file, file.number, records.len()).into_bytes();
        for (_, record) in records {
            content.extend_from_slice(record);
        }
        Ok(content)
    }

    fn parse(_: &Context, _: &Mood, _: &str, content: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let text = std::str::from_utf8(content).map_err(|_| Failure::new("unreadable", "the file is no text"))?;
        let mut lines = text.lines();
        let end = lines.next_back();
        if end != Some("END") {
            return Err(Failure::new("unreadable", "the file has no end"));
        }
        let records = lines.map(|line| match line.split_once(',') {
            Some((correlation, _)) => Ok((correlation.to_owned(), line.as_bytes().to_vec())),
            None => Err(Failure::new("unreadable", "a line has no correlation")),
        });
        records.collect()
    }
}
