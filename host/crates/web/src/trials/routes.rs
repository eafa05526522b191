//! Which routes can be tried, how a request asks for it, and how the API's description says so.

use std::collections::BTreeSet;

use axum::extract::{MatchedPath, Query, Request};
use axum::http::{Method, Uri};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, OneOfBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Schema};

use crate::codes::Trouble;
use crate::problem::Problem;

/// The query parameter.
const NAME: &str = "dry_run";

/// Money requests whose outcome is not for the books alone to say: a plugin is asked, or it is decided at another time.
const NOT_POSSIBLE: [(&str, &str); 4] = [
    ("post", "/v1/charges"),
    ("post", "/v1/operator/flows/{id}/resolve"),
    ("post", "/v1/operator/flows/{id}/retry"),
    ("post", "/v1/schedules"),
];

/// Marks a request that is only tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnTrial;

/// The routes that can be tried: those that take an idempotency key, but for [`NOT_POSSIBLE`].
#[derive(Debug, Default)]
pub(crate) struct Tried(BTreeSet<(&'static str, String)>);

impl Tried {
    /// The routes of this description.
    pub(crate) fn of(document: &OpenApi) -> Tried {
        let mut routes = BTreeSet::new();
        for (path, item) in &document.paths.paths {
            let PathItem { put, post, .. } = item;
            for (method, operation) in [("put", put), ("post", post)] {
                if operation.as_ref().is_some_and(|operation| is_tried(method, path, operation)) {
                    routes.insert((method, path.clone()));
                }
            }
        }
        Tried(routes)
    }

    /// Marks the request if it asks to be tried only. Errors: its route cannot be tried, or the parameter is neither `true` nor
    /// `false`. A request that changes something is never done because nobody looked at the parameter.
    pub(crate) fn mark(&self, request: &mut Request) -> Result<(), Problem> {
        if [Method::GET, Method::HEAD].contains(request.method()) || !asks(request.uri())? {
            return Ok(());
        }
        let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
        let method = request.method().as_str().to_ascii_lowercase();
        if !path.is_some_and(|path| self.0.iter().any(|(known, route)| *known == method && *route == path)) {
            return Err(Problem::from(Trouble::TrialNotPossible).at(NAME));
        }
        request.extensions_mut().insert(OnTrial);
        Ok(())
    }
}

fn asks(uri: &Uri) -> Result<bool, Problem> {
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else { return Ok(false) };
    let mut values = pairs.iter().filter(|(name, _)| name == NAME).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (None, _) | (Some("false"), None) => Ok(false),
        (Some("true"), None) => Ok(true),
        _ => Err(Problem::invalid(NAME, "send it once, `true` or `false`")),
    }
}

fn is_tried(method: &str, path: &str, operation: &Operation) -> bool {
    let keyed = operation
        .parameters
        .iter()
        .flatten()
        .any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.name == "Idempotency-Key"));
    keyed && !NOT_POSSIBLE.contains(&(method, path))
}

/// Adds to an operation that can be tried what the parameter is and what it brings.
pub(crate) fn describe(method: &str, path: &str, operation: &mut Operation) {
    if !is_tried(method, path, operation) {
        return;
    }
    let about = "Only try it: decided like any other over the same books, answered with what would be posted or refused, and taken \
                 back. The key is not used, no fraud rule is asked, nothing is kept.";
    let boolean = RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::Boolean).build()));
    let parameter = ParameterBuilder::new()
        .name(NAME)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(boolean));
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter.build()));
    let foreseen = || RefOr::Ref(Ref::from_schema_name("DryRun"));
    let responses = &mut operation.responses.responses;
    match responses.get_mut("200") {
        Some(RefOr::T(Response { content, .. })) => {
            for content in content.values_mut() {
                if let RefOr::T(content) = content
                    && let Some(done) = content.schema.take()
                {
                    let either = OneOfBuilder::new().item(done).item(foreseen()).build();
                    content.schema = Some(RefOr::T(Schema::OneOf(either)));
                }
            }
        }
        _ => {
            let response = ResponseBuilder::new()
                .description("With `dry_run=true`: what would have come of it.")
                .content("application/json", Content::new(Some(foreseen())))
                .build();
            responses.insert("200".to_owned(), RefOr::T(response));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_is_heard_however_it_is_written() {
        let asked = |query: &str| asks(&format!("/v1/payments?{query}").parse().unwrap()).ok();
        assert_eq!(asked("dry_run=true"), Some(true));
        assert_eq!(asked("dry%5Frun=%74rue"), Some(true));
        assert_eq!(asked("dry_run=false"), Some(false));
        assert_eq!(asked("x=1"), Some(false));
        for wrong in ["dry_run", "dry_run=", "dry_run=1", "dry_run=True", "dry_run=true&dry_run=false"] {
            assert_eq!(asked(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_money_route_can_be_tried_or_is_known_not_to_be() {
        let document = crate::document();
        let tried = Tried::of(&document);
        for (method, path) in NOT_POSSIBLE {
            let item = document.paths.paths.get(path).unwrap_or_else(|| panic!("no route {method} {path}"));
            assert!(item.post.is_some() && !tried.0.contains(&(method, path.to_owned())), "{method} {path}");
        }
        assert!(tried.0.contains(&("post", "/v1/payments".to_owned())));
        assert!(tried.0.len() > 15, "{tried:?}");
    }
}
