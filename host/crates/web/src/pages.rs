//! Pages for people: the API's description, and one page for each problem code. Everything comes from the host itself.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::codes::{self, Code};
use crate::headers::locale;
use crate::problem::Problem;

const DOCS: &str = include_str!("../assets/docs.html");
const SCRIPT: &str = include_str!("../assets/docs.js");
const STYLE: &str = include_str!("../assets/style.css");

/// What a page may load: its own script, style and description, nothing else from anywhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// Routes of pages.
pub(crate) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(openapi))
        .routes(routes!(docs))
        .routes(routes!(script))
        .routes(routes!(style))
        .routes(routes!(problems))
        .routes(routes!(problem))
}

fn document(kind: &'static str, text: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The API's description, OpenAPI 3.1.
#[utoipa::path(get, path = "/openapi.json", tag = "host",
    responses((status = 200, content_type = "application/json", description = "This document.")))]
pub(crate) async fn openapi(State(web): State<Web>) -> Response {
    document("application/json", web.openapi.to_string())
}

/// The API's description to read.
#[utoipa::path(get, path = "/docs", tag = "host",
    responses((status = 200, content_type = "text/html", description = "A page.")))]
pub(crate) async fn docs() -> Response {
    document("text/html; charset=utf-8", DOCS)
}

/// The script of the page.
#[utoipa::path(get, path = "/docs/docs.js", tag = "host",
    responses((status = 200, content_type = "text/javascript", description = "A script.")))]
pub(crate) async fn script() -> Response {
    document("text/javascript; charset=utf-8", SCRIPT)
}

/// The style of the pages.
#[utoipa::path(get, path = "/docs/style.css", tag = "host",
    responses((status = 200, content_type = "text/css", description = "A style sheet.")))]
pub(crate) async fn style() -> Response {
    document("text/css; charset=utf-8", STYLE)
}

/// Every problem code.
#[utoipa::path(get, path = "/problems", tag = "host",
    responses((status = 200, content_type = "text/html", description = "A page.")))]
pub(crate) async fn problems(headers: HeaderMap) -> Response {
    let locale = locale(&headers);
    let rows: String = codes::all()
        .map(|Code { code, status, title, .. }| {
            let title = title.in_language(locale);
            format!("<tr><td><a href=\"/problems/{code}\"><code>{code}</code></a></td><td>{status}</td><td>{title}</td></tr>\n")
        })
        .collect();
    let (heading, columns) = match locale {
        "en" => ("Problems", "<tr><th>code</th><th>status</th><th>what happened</th></tr>"),
        _ => ("エラー一覧", "<tr><th>コード</th><th>状態</th><th>内容</th></tr>"),
    };
    page(locale, heading, &format!("<table>\n{columns}\n{rows}</table>"))
}

/// One problem code: what happened, and what to do next.
#[utoipa::path(get, path = "/problems/{code}", tag = "host",
    params(("code" = String, Path, description = "The problem's code.")),
    responses((status = 200, content_type = "text/html", description = "A page.")))]
pub(crate) async fn problem(Path(code): Path<String>, headers: HeaderMap) -> Response {
    let Some(code) = codes::find(&code) else {
        return Problem::not_found("problem code").into_response();
    };
    let locale = locale(&headers);
    let Code { code, status, retryable, title, next } = code;
    let (title, next) = (title.in_language(locale), next.in_language(locale));
    let (again, all) = match (locale, retryable) {
        ("en", true) => ("The very same request, with the same key, may have another outcome later.", "All problems"),
        ("en", false) => ("The very same request always has this outcome.", "All problems"),
        (_, true) => ("同じキーで同じリクエストを送ると、後で結果が変わることがあります。", "エラー一覧"),
        (_, false) => ("同じリクエストの結果はいつも同じです。", "エラー一覧"),
    };
    let body = format!(
        "<p><code>{code}</code> · HTTP {status}</p>\n<p>{next}</p>\n<p>{again}</p>\n<p><a href=\"/problems\">{all}</a></p>"
    );
    page(locale, title, &body)
}

/// A page around fixed text of the house. Nothing that anybody sends becomes part of it.
fn page(locale: &'static str, heading: &str, body: &str) -> Response {
    let text = format!(
        "<!doctype html>\n<html lang=\"{locale}\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{heading} · Koban</title>\n<link rel=\"stylesheet\" \
         href=\"/docs/style.css\">\n</head>\n<body>\n<main>\n<h1>{heading}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    );
    let mut response = document("text/html; charset=utf-8", text);
    response.headers_mut().insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(locale));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-language"));
    response
}
