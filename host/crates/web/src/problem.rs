//! Errors as people and programs meet them over HTTP: RFC 9457 problems, made in this one place.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use koban_domain::outcomes::Refusal;
use koban_service::error::Error;
use koban_service::ledger::chain;
use koban_service::trials::Foresight;
use serde::Serialize;
use utoipa::ToSchema;

use crate::codes::{self, Code, Trouble, Words};
use crate::rates::Left;
use crate::trials::DryRunBody;

/// The header that marks an answer given before.
pub(crate) const REPLAYED: &str = "idempotent-replayed";

/// What went wrong, before it is known in which language and under which request id it is told.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Facts>);

#[derive(Debug, Clone)]
struct Facts {
    code: Code,
    detail: Option<String>,
    field: Option<String>,
    plugin_code: Option<String>,
    step_up: Option<String>,
    retry_after_s: Option<u64>,
    replayed: bool,
    left: Option<Left>,
    /// Not a problem at all: what would have come of a request that was only tried.
    foreseen: Option<Box<Foresight>>,
}

/// The answer to a request that was only tried, in the place of a code.
const FORESEEN: Code = Code {
    code: "dry_run",
    status: 200,
    retryable: true,
    title: Words { ja: "", en: "" },
    next: Words { ja: "", en: "" },
};

/// A problem of one of many items, or of a request that was only tried.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ItemProblem)]
pub(crate) struct ItemProblem {
    /// The page that explains this code, on the host itself.
    #[serde(rename = "type")]
    #[schema(example = "/problems/insufficient_funds")]
    kind: String,
    /// What happened, in the language of `Accept-Language` (ja or en).
    title: &'static str,
    /// The HTTP status that it would have alone.
    #[schema(example = 422)]
    pub(crate) status: u16,
    /// What happened this time, for developers.
    detail: String,
    /// The stable code that programs decide by.
    #[schema(example = "insufficient_funds")]
    code: &'static str,
    /// The field that cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    field: Option<String>,
    /// Whether the very same request, with the same key, may have another outcome later.
    retryable: bool,
    /// What to do next.
    hint: &'static str,
}

/// The body of a problem, `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// The page that explains this code, on the host itself.
    #[serde(rename = "type")]
    #[schema(example = "/problems/insufficient_funds")]
    kind: String,
    /// What happened, in the language of `Accept-Language` (ja or en).
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What happened this time, for developers.
    detail: String,
    /// Names this one occurrence.
    #[schema(example = "/requests/req_019a…")]
    instance: String,
    /// The stable code that programs decide by.
    #[schema(example = "insufficient_funds")]
    code: &'static str,
    /// The field, parameter or header that cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    field: Option<String>,
    /// The channel's own code, where a channel refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    plugin_code: Option<String>,
    /// The challenge to confirm at `/v1/step-ups/{id}/confirm`, where a rule wants the payer to prove again who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, example = "stu_5d41402abc4b2a76b9719d911017c592")]
    step_up: Option<String>,
    /// Whether the very same request, with the same key, may have another outcome later.
    retryable: bool,
    /// What to do next.
    hint: &'static str,
    /// The request's id, as in the `Request-Id` header and in the host's log.
    request_id: String,
}

impl From<Code> for Problem {
    fn from(code: Code) -> Problem {
        Problem(Box::new(Facts {
            code,
            detail: None,
            field: None,
            plugin_code: None,
            step_up: None,
            retry_after_s: None,
            replayed: false,
            left: None,
            foreseen: None,
        }))
    }
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Problem {
        let mut problem = Problem::from(trouble.code());
        problem.0.retry_after_s = match trouble {
            Trouble::IdempotencyKeyRunning | Trouble::Busy => Some(1),
            Trouble::ClockLeads | Trouble::StorageFull | Trouble::StorageUnwritable => Some(10),
            Trouble::PluginFault | Trouble::BooksUnreachable | Trouble::TimedOut | Trouble::NotReady => Some(2),
            _ => None,
        };
        problem
    }
}

impl Problem {
    /// A field, parameter or header that cannot be used.
    pub(crate) fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Problem {
        Problem::from(Trouble::InvalidRequest).because(detail).at(field)
    }

    /// There is no such thing. Says the same for what belongs to somebody else.
    pub(crate) fn not_found(what: &'static str) -> Problem {
        Error::NotFound(what).into()
    }

    /// Asked too often: this bucket is empty.
    pub(crate) fn too_many(retry_after_s: u64, left: Option<Left>) -> Problem {
        let mut problem = Problem::from(Trouble::TooManyRequests);
        problem.0.retry_after_s = Some(retry_after_s.max(1));
        problem.0.left = left;
        problem
    }

    /// The same problem with words about this time.
    pub(crate) fn because(mut self, detail: impl Into<String>) -> Problem {
        self.0.detail = Some(detail.into());
        self
    }

    /// The same problem about this field, parameter or header.
    pub(crate) fn at(mut self, field: impl Into<String>) -> Problem {
        self.0.field = Some(field.into());
        self
    }

    /// The same problem about a part of the request: its field lies in there.
    pub(crate) fn within(mut self, part: &str) -> Problem {
        self.0.field = Some(match self.0.field.as_deref() {
            None | Some("") => part.to_owned(),
            Some(field) => format!("{part}.{field}"),
        });
        self
    }

    /// What would have come of a request that was only tried.
    fn foreseen(foresight: Box<Foresight>) -> Problem {
        let mut answer = Problem::from(FORESEEN);
        answer.0.foreseen = Some(foresight);
        answer
    }

    /// Media type and body in this language.
    pub(crate) fn written(&self, locale: &str, request_id: &str) -> (&'static str, Vec<u8>) {
        match &self.0.foreseen {
            Some(foresight) => {
                let body = DryRunBody::of(foresight, locale);
                ("application/json", serde_json::to_vec(&body).unwrap_or_default())
            }
            None => {
                let body = self.body(locale, request_id);
                ("application/problem+json", serde_json::to_vec(&body).unwrap_or_default())
            }
        }
    }

    /// The problem as a part of another answer.
    pub(crate) fn told(&self, locale: &str) -> ItemProblem {
        let Facts { code, detail, field, .. } = &*self.0;
        let title = code.title.in_language(locale);
        ItemProblem {
            kind: format!("/problems/{}", code.code),
            title,
            status: code.status,
            detail: detail.clone().unwrap_or_else(|| title.to_owned()),
            code: code.code,
            field: field.clone(),
            retryable: code.retryable,
            hint: code.next.in_language(locale),
        }
    }

    /// The body in this language.
    pub(crate) fn body(&self, locale: &str, request_id: &str) -> ProblemBody {
        let Facts { code, detail, field, plugin_code, step_up, .. } = &*self.0;
        let title = code.title.in_language(locale);
        ProblemBody {
            kind: format!("/problems/{}", code.code),
            title,
            status: code.status,
            detail: detail.clone().unwrap_or_else(|| title.to_owned()),
            instance: format!("/requests/{request_id}"),
            code: code.code,
            field: field.clone(),
            plugin_code: plugin_code.clone(),
            step_up: step_up.clone(),
            retryable: code.retryable,
            hint: code.next.in_language(locale),
            request_id: request_id.to_owned(),
        }
    }
}

/// The one place where errors become HTTP. What only operators may know goes to the log and not into the problem.
impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        match error {
            Error::Invalid { field, problem } => Problem::invalid(field, problem),
            Error::Refused { refusal, replayed } => {
                let code = codes::of_refusal(refusal);
                let mut problem = Problem::from(code);
                // The books refuse with 503 only what an operator or a partner has to bring back.
                problem.0.retry_after_s = (code.status == 503).then_some(60);
                problem.0.replayed = replayed;
                problem
            }
            Error::Foreseen(foresight) => Problem::foreseen(foresight),
            Error::TrialNotPossible => Trouble::TrialNotPossible.into(),
            Error::Item { place, cause } => Problem::from(*cause).within(&format!("items[{place}]")),
            Error::StepUp { challenge, replayed } => {
                let mut problem = Problem::from(codes::of_refusal(Refusal::StepUpRequired));
                problem.0.step_up = Some(challenge.to_string());
                problem.0.replayed = replayed;
                problem
            }
            Error::KeyReused => Problem::from(Trouble::IdempotencyKeyReused).at("Idempotency-Key"),
            Error::KeyRunning => Trouble::IdempotencyKeyRunning.into(),
            Error::NotFound(_) => Problem::from(Trouble::NotFound).because(error.to_string()),
            Error::NotSignedIn => Trouble::NotSignedIn.into(),
            Error::WrongCredentials => Trouble::WrongCredentials.into(),
            Error::Forbidden(why) => Problem::from(Trouble::Forbidden).because(why),
            Error::Exists(what) => Problem::from(Trouble::Exists).because(what),
            Error::Conflict(what) => Problem::from(Trouble::Conflict).because(what),
            Error::TooMany { retry_after_s } => Problem::too_many(retry_after_s, None),
            Error::Busy => Trouble::Busy.into(),
            Error::ClockLeads { .. } => Trouble::ClockLeads.into(),
            Error::PluginFault { ref plugin, ref fault } => {
                tracing::warn!(%plugin, %fault, "a request met a plugin's fault");
                Problem::from(Trouble::PluginFault).because(error.to_string())
            }
            Error::PluginRefused { plugin, code, message, text } => {
                tracing::info!(%plugin, %code, %message, "a plugin refused a request");
                let text = text.map_or_else(String::new, |text| format!(": {text}"));
                let detail = format!("the channel `{plugin}` refused with its code `{code}`{text}");
                let mut problem = Problem::from(Trouble::PluginRefused).because(detail);
                problem.0.plugin_code = Some(code);
                problem
            }
            Error::BadSignature(why) => Problem::from(Trouble::BadSignature).because(why),
            Error::Store(ref cause) => {
                tracing::error!(error = %chain(cause), "a request could not reach the books");
                Trouble::BooksUnreachable.into()
            }
            Error::StorageFull(ref cause) => {
                tracing::error!(error = %chain(cause), "a request found the disk of the books full");
                Trouble::StorageFull.into()
            }
            Error::StorageUnwritable(ref cause) => {
                tracing::error!(error = %chain(cause), "a request found that the books cannot be written");
                Trouble::StorageUnwritable.into()
            }
            Error::Internal(ref cause) => {
                tracing::error!(error = %cause, "a request met a mistake of ours");
                Trouble::Internal.into()
            }
        }
    }
}

impl IntoResponse for Problem {
    /// Status and headers; [`crate::layers::dress`] writes the body, as it knows language and request.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"koban\""));
        }
        if self.0.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if let Some(left) = self.0.left {
            left.tell(headers);
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(problem: Problem) -> serde_json::Value {
        serde_json::to_value(problem.body("en", "req_1")).unwrap()
    }

    #[test]
    fn a_refusal_keeps_its_code_and_status_and_says_what_to_do() {
        let problem = json(Error::refused(Refusal::InsufficientFunds).into());
        assert_eq!(problem["status"], 422);
        assert_eq!(problem["code"], "insufficient_funds");
        assert_eq!(problem["type"], "/problems/insufficient_funds");
        assert_eq!(problem["retryable"], false);
        assert!(problem["hint"].as_str().unwrap().contains("Charge"));
    }

    #[test]
    fn what_the_log_may_know_is_not_told() {
        let problem = json(Error::Internal("a secret of the house".into()).into());
        assert!(!problem.to_string().contains("secret"), "{problem}");
        let refused = Error::PluginRefused {
            plugin: "charge-atm".into(),
            code: "session_expired".into(),
            message: "for operators".into(),
            text: Some("Time is up".into()),
        };
        let problem = json(refused.into());
        assert_eq!(problem["plugin_code"], "session_expired");
        assert!(problem["detail"].as_str().unwrap().ends_with(": Time is up"), "{problem}");
        assert!(!problem.to_string().contains("for operators"), "{problem}");
    }

    #[test]
    fn who_must_wait_is_told_how_long() {
        for error in [Error::KeyRunning, Error::Busy, Error::TooMany { retry_after_s: 7 }] {
            let response = Problem::from(error).into_response();
            assert!(response.headers().contains_key(header::RETRY_AFTER), "{}", response.status());
        }
    }
}
