//! Testing an endpoint step by step: address, policy, connection, certificate, credential, answer. Nothing changes at the partner.

use koban_domain::time::Timestamp;

use crate::endpoint::{Credential, Endpoint};
use crate::request::Request;
use crate::send::{Outside, Sent, after, stopwatch};

/// How a step of a test went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// As it should.
    Good,
    /// Not; nothing behind it was tried.
    Bad,
    /// It was not tried.
    Skipped,
}

impl How {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            How::Good => "good",
            How::Bad => "bad",
            How::Skipped => "skipped",
        }
    }
}

/// What a step of a test found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `address`, `policy`, `connection`, `certificate`, `credential` or `answer`.
    pub step: &'static str,
    /// How it went.
    pub how: How,
    /// What was found, and after something bad what to look at.
    pub words: String,
    /// How long it took, milliseconds.
    pub ms: u64,
}

const STEPS: [&str; 6] = ["address", "policy", "connection", "certificate", "credential", "answer"];

impl Outside {
    /// Tests an endpoint. `asked` is a request that changes nothing at the partner; without one the connection is as far as it goes. Neither
    /// breaker nor limits stand before it: an operator who looks wants to see.
    pub async fn probe(&self, endpoint: &Endpoint, asked: Option<&Request>, now: Timestamp) -> Vec<Finding> {
        let mut findings = Vec::new();
        let (steps, reached) = match self.connect(endpoint).await {
            Ok(steps) => (steps, true),
            Err(steps) => (steps, false),
        };
        for step in steps {
            let (how, words) = match step.how {
                Ok(words) => (How::Good, words),
                Err(words) => (How::Bad, words),
            };
            findings.push(Finding { step: step.name, how, words, ms: step.ms });
        }
        if reached {
            self.prove(endpoint, asked, now, &mut findings).await;
        }
        for step in STEPS.iter().skip(findings.len()) {
            findings.push(Finding { step, how: How::Skipped, words: "not tried".to_owned(), ms: 0 });
        }
        findings
    }

    async fn prove(&self, endpoint: &Endpoint, asked: Option<&Request>, now: Timestamp, findings: &mut Vec<Finding>) {
        let started = stopwatch();
        let ms = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let proof = match &endpoint.credential {
            Credential::OauthClient(server) => match self.client_token(endpoint, server, None, now).await {
                Ok(_) => Ok("a token was given".to_owned()),
                Err(Sent::NotSent(why)) => Err(why.to_string()),
                Err(_) => Err("no token was given".to_owned()),
            },
            credential => Ok(format!("{}: ready to be shown", credential.word())),
        };
        let bad = proof.is_err();
        let how = if bad { How::Bad } else { How::Good };
        findings.push(Finding { step: "credential", how, words: proof.unwrap_or_else(|why| why), ms: ms() });
        if bad {
            return;
        }
        let Some(request) = asked else {
            let words = "no operation of the manifest is marked as a `probe`: nothing was asked".to_owned();
            findings.push(Finding { step: "answer", how: How::Skipped, words, ms: 0 });
            return;
        };
        let started = stopwatch();
        let sent = self.attempt(endpoint, request, (after(now, started), started)).await;
        let (how, words) = match sent {
            Sent::Answer(answer) if answer.status < 400 => {
                (How::Good, format!("{} with {} bytes", answer.status, answer.body.len()))
            }
            Sent::Answer(answer) if matches!(answer.status, 401 | 403) => {
                (How::Bad, format!("{}: the partner does not take the credential", answer.status))
            }
            Sent::Answer(answer) => (How::Bad, format!("{}: the partner refuses the request", answer.status)),
            Sent::Refused(why) => (How::Bad, why.to_string()),
            Sent::NotSent(why) => (How::Bad, why.to_string()),
            Sent::Unknown(why) => (How::Bad, why.to_string()),
            Sent::BadSignature(why) => (How::Bad, format!("the answer does not prove to be the partner's: {why}")),
        };
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        findings.push(Finding { step: "answer", how, words, ms });
    }
}
