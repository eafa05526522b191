//! The API's description, derived from the handlers and completed in one place.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::problem::ProblemBody;
use crate::trials::{self, DryRunBody};
use crate::{Web, api, health, pages};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Koban",
        description = "A payment platform whose every channel and rule is a sandboxed plugin.\n\nAmounts are whole minor units (yen \
            for JPY, cents for USD) as JSON integers. Requests that move money carry an `Idempotency-Key`. Errors are problems \
            (RFC 9457) with a stable `code`; each code has a page under `/problems`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "users", description = "Signing up, and who is signed in."),
        (name = "sessions", description = "Signing in and out."),
        (name = "wallet", description = "What the signed-in user has and owes."),
        (name = "charges", description = "Money coming into the wallet, through channels."),
        (name = "withdrawals", description = "Money that its owner takes out, through channels."),
        (name = "bills", description = "Paying bills from the wallet, through plugins that know their codes."),
        (name = "links", description = "Accounts at partners that the user linked, such as a budgeting app that is told of new rows."),
        (name = "payments", description = "Paying merchants, and giving payments back."),
        (name = "transfers", description = "Money between users."),
        (name = "bulk", description = "Many money requests at once."),
        (name = "merchant", description = "What a merchant does with its API keys."),
        (name = "webhooks", description = "Where a merchant is told of events, and what became of it."),
        (name = "operator", description = "What operators see and do; every act is in the audit log."),
        (name = "partners", description = "Calls of partners to plugins."),
        (name = "host", description = "Health, documents."),
    ),
    components(schemas(ProblemBody, DryRunBody)),
)]
struct Description;

/// Routes with their description: those that are guarded, and those of health, which never are.
pub(crate) fn routes() -> (OpenApiRouter<Web>, OpenApiRouter<Web>) {
    let description = OpenApiRouter::with_openapi(Description::openapi());
    (description.merge(api::routes()).merge(pages::routes()), health::routes())
}

/// The OpenAPI document of every route of the public side.
pub fn document() -> utoipa::openapi::OpenApi {
    let (guarded, health) = routes();
    let mut document = guarded.merge(health).into_openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let paths = std::mem::take(&mut document.paths.paths);
    // What the router writes `{*path}` is a plain parameter of the description.
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(operation_id(method, path));
            trials::describe(method, path, operation);
            // What a handler says itself of a refusal is told as any other.
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response
                    && status.starts_with('4')
                {
                    response.content = problem().content;
                }
            }
            for status in problems_of(method, path, operation) {
                let known = operation.responses.responses.entry(status.to_owned());
                known.or_insert_with(|| RefOr::Ref(Ref::from_response_name(PROBLEM)));
            }
        }
    }
    let bearer = |about: &str| {
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build())
    };
    let components = document.components.get_or_insert_with(Default::default);
    components.responses.insert(PROBLEM.to_owned(), RefOr::T(problem()));
    for (name, about) in [
        ("session", "A user's session token, from `POST /v1/sessions`."),
        ("api_key", "A merchant's API key, `kbn_live_…` or `kbn_test_…`; the scopes named with a route are needed."),
        ("operator", "An operator's session token, from `POST /v1/operators/sessions`."),
    ] {
        components.add_security_scheme(name, bearer(about));
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, .. } = item;
    let all = [("get", get), ("put", put), ("post", post), ("delete", delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// A name for generated clients that no other operation has: `post_payments`, `get_payments_by_id`.
fn operation_id(method: &str, path: &str) -> String {
    let mut id = method.to_owned();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != "v1") {
        let (by, name) = part.strip_prefix('{').map_or(("", part), |rest| ("by_", rest.trim_end_matches('}')));
        id.push('_');
        id.push_str(by);
        id.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    }
    id
}

/// How a problem is told, among the described responses.
const PROBLEM: &str = "Problem";

/// The statuses of an operation's problems, by what it is: who needs no identity lacks none, what names no object misses none, and whoever
/// only reads gets no conflict.
fn problems_of(method: &str, path: &str, operation: &Operation) -> Vec<&'static str> {
    let mut statuses = vec!["400", "429", "5XX"];
    // Signing in and partners' calls prove themselves by what they bring.
    let proves_itself = path.ends_with("/sessions") || path.starts_with("/v1/inbound/");
    if operation.security.as_ref().is_some_and(|ways| !ways.is_empty()) {
        statuses.extend(["401", "403"]);
    } else if proves_itself {
        statuses.push("401");
    }
    if method != "get" {
        // Objects that a body names, keys that run or were used, bodies that cannot be read, refusals of the rules.
        statuses.extend(["404", "409", "413", "415", "422"]);
    } else if path.contains('{') {
        statuses.push("404");
    }
    statuses
}

fn problem() -> Response {
    ResponseBuilder::new()
        .description("A problem (RFC 9457). `code` says which; its page is at `type`.")
        .content("application/problem+json", Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem")))))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect_file;
    use utoipa::openapi::security::SecurityRequirement;

    #[test]
    fn the_description_is_as_committed() {
        // After a wanted change of the API: UPDATE_EXPECT=1 cargo test -p koban-web openapi
        let text = document().to_pretty_json().unwrap();
        expect_file!["../tests/openapi.json"].assert_eq(&format!("{text}\n"));
    }

    #[test]
    fn every_route_is_described() {
        // Routes come only from `routes!`, which registers and describes at once; the admin side is not part of the document.
        let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Vec::new();
        let mut waiting = vec![sources];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    waiting.push(path);
                } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("openapi.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let calls = [".route(", ".route_service(", ".nest(", ".nest_service("];
                    let lines = text.lines().filter(|line| calls.iter().any(|call| line.contains(call)));
                    found.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
                }
            }
        }
        let allowed = |line: &String| line.contains("\"/metrics\"");
        found.retain(|line| !allowed(line));
        assert!(found.is_empty(), "register these with `routes!`: {found:#?}");
    }

    #[test]
    fn every_operation_under_v1_says_who_may_call_it_or_is_known_to_be_open() {
        let open = ["/v1/users", "/v1/sessions", "/v1/operators/sessions"];
        let mut document = document();
        for (path, item) in &mut document.paths.paths {
            for (_, operation) in operations(item) {
                let needs: &[SecurityRequirement] = operation.security.as_deref().unwrap_or_default();
                let is_open =
                    open.contains(&path.as_str()) || path.starts_with("/v1/inbound/") || !path.starts_with("/v1/");
                assert_eq!(needs.is_empty(), is_open, "{path}");
            }
        }
    }

    #[test]
    fn every_list_says_how_to_turn_its_pages() {
        // Lists that are short by nature and come whole.
        let whole = [
            "/v1/payments/{id}/captures",
            "/v1/payments/{id}/refunds",
            "/v1/merchant/keys",
            "/v1/operator/merchants/{id}/keys",
            "/v1/consents",
            "/v1/links",
            "/v1/links/offers",
            "/v1/operator/plugins",
            "/v1/operator/plugins/{id}/endpoints",
            "/v1/operator/plugins/{id}/releases",
            "/v1/operator/publishers",
            "/v1/operator/subscriptions",
            "/v1/wallet/documents",
            "/v1/operator/limits",
            "/v1/operator/currencies",
            "/v1/operator/feeds",
            "/v1/exchange-rates",
            "/v1/wallets",
            "/v1/operator/merchants/{id}/arrangement",
        ];
        let mut document = document();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                let described = serde_json::to_value(&operation).unwrap();
                let pages = described["responses"]["200"].to_string().contains("PageBody_");
                let names = |place: &str| {
                    let parameters =
                        operation.parameters.iter().flatten().map(|one| serde_json::to_value(one).unwrap());
                    let named =
                        parameters.filter(|one| one["in"] == place).map(|one| one["name"].as_str().unwrap().to_owned());
                    named.collect::<Vec<_>>()
                };
                let turns = names("query").iter().filter(|name| ["limit", "after"].contains(&name.as_str())).count();
                let expected = if pages && !whole.contains(&path.as_str()) { 2 } else { 0 };
                assert_eq!(turns, expected, "{method} {path}");
                let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
                assert_eq!(names("path"), in_path.collect::<Vec<_>>(), "{method} {path}");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
            match value {
                serde_json::Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(serde_json::Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                serde_json::Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = serde_json::to_value(document()).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        let lost = |place: &&str| document.pointer(place.trim_start_matches('#')).is_none();
        assert_eq!(found.into_iter().filter(lost).collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn every_operation_is_summed_up_and_named_once() {
        let mut document = document();
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in &mut document.paths.paths {
            for (_, operation) in operations(item) {
                assert!(ids.insert(operation.operation_id.clone()), "{path}: {:?}", operation.operation_id);
                let summary = operation.summary.as_deref().unwrap_or_default();
                assert!(summary.len() > 5, "{path} has no summary");
                assert_eq!(operation.tags.as_ref().map(Vec::len), Some(1), "{path}");
                assert!(operation.responses.responses.contains_key("5XX"), "{path}");
                assert!(!operation.responses.responses.contains_key("default"), "{path}: what it may answer is said");
            }
        }
    }
}
