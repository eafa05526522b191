//! The one registry of problem codes: status, whether the same request may be repeated, and what people are told.

mod refusals;

use koban_domain::outcomes::Refusal;

/// A text in the two languages of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words {
    /// Japanese.
    pub(crate) ja: &'static str,
    /// English.
    pub(crate) en: &'static str,
}

impl Words {
    /// The text in this language; Japanese unless English is asked for.
    pub(crate) fn in_language(&self, locale: &str) -> &'static str {
        if locale == "en" { self.en } else { self.ja }
    }
}

/// What a problem says of itself, whoever meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    /// Stable; the last part of the problem's `type`.
    pub(crate) code: &'static str,
    /// The HTTP status.
    pub(crate) status: u16,
    /// Whether the very same request, with the same key, may have another outcome later.
    pub(crate) retryable: bool,
    /// What happened.
    pub(crate) title: Words,
    /// What to do next.
    pub(crate) next: Words,
}

/// What can go wrong around a use case. Refusals of the books are [`Refusal`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A field, parameter or header cannot be used.
    InvalidRequest,
    /// The body is not JSON.
    MalformedJson,
    /// A request that moves money carries no key.
    IdempotencyKeyRequired,
    /// The key was used for another request.
    IdempotencyKeyReused,
    /// The first request with the key is still running.
    IdempotencyKeyRunning,
    /// Nobody is signed in.
    NotSignedIn,
    /// Email or password is wrong.
    WrongCredentials,
    /// A partner's call carries no valid signature.
    BadSignature,
    /// The identity may not do this.
    Forbidden,
    /// The API key lacks the scope.
    InsufficientScope,
    /// There is no such thing, or it is somebody else's.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The client took too long to send its request.
    RequestTimeout,
    /// Something of the kind exists already.
    Exists,
    /// Something stands in the way.
    Conflict,
    /// The body is larger than the route takes.
    BodyTooLarge,
    /// The body is not what the route reads.
    UnsupportedMediaType,
    /// The request cannot be tried only.
    TrialNotPossible,
    /// A plugin refused.
    PluginRefused,
    /// Asked too often.
    TooManyRequests,
    /// A mistake of ours.
    Internal,
    /// More work than the host takes on.
    Busy,
    /// This host's clock cannot be trusted.
    ClockLeads,
    /// A plugin did not answer.
    PluginFault,
    /// The store cannot be reached.
    BooksUnreachable,
    /// The store's disk is full.
    StorageFull,
    /// The store's disk takes no writes.
    StorageUnwritable,
    /// The host took too long.
    TimedOut,
    /// The host is stopping or not ready.
    NotReady,
}

impl Trouble {
    /// Every trouble, by status.
    pub(crate) const ALL: [Trouble; 29] = [
        Trouble::InvalidRequest,
        Trouble::MalformedJson,
        Trouble::IdempotencyKeyRequired,
        Trouble::NotSignedIn,
        Trouble::WrongCredentials,
        Trouble::BadSignature,
        Trouble::Forbidden,
        Trouble::InsufficientScope,
        Trouble::NotFound,
        Trouble::MethodNotAllowed,
        Trouble::RequestTimeout,
        Trouble::IdempotencyKeyRunning,
        Trouble::Exists,
        Trouble::Conflict,
        Trouble::BodyTooLarge,
        Trouble::UnsupportedMediaType,
        Trouble::IdempotencyKeyReused,
        Trouble::TrialNotPossible,
        Trouble::PluginRefused,
        Trouble::TooManyRequests,
        Trouble::Internal,
        Trouble::Busy,
        Trouble::ClockLeads,
        Trouble::PluginFault,
        Trouble::BooksUnreachable,
        Trouble::StorageFull,
        Trouble::StorageUnwritable,
        Trouble::TimedOut,
        Trouble::NotReady,
    ];

    /// Its row of the registry.
    pub(crate) fn code(self) -> Code {
        let row = |code, status, retryable, title, next| Code { code, status, retryable, title, next };
        match self {
            Trouble::InvalidRequest => row(
                "invalid_request",
                400,
                false,
                words("リクエストの項目に誤りがあります", "a field of the request cannot be used"),
                words(
                    "`field` の項目を `detail` のとおりに直して、もう一度送ってください。",
                    "Correct the field named in `field` as `detail` says and send the request again.",
                ),
            ),
            Trouble::MalformedJson => row(
                "malformed_json",
                400,
                false,
                words("本文がJSONとして読めません", "the body is not JSON"),
                words(
                    "UTF-8のJSONオブジェクトを一つだけ送ってください。",
                    "Send one JSON object in UTF-8 and nothing after it.",
                ),
            ),
            Trouble::IdempotencyKeyRequired => row(
                "idempotency_key_required",
                400,
                false,
                words("Idempotency-Keyヘッダーがありません", "the Idempotency-Key header is missing"),
                words(
                    "取引ごとに新しい値（UUIDなど）を付け、再送するときは同じ値を使ってください。",
                    "Send a fresh value, such as a UUID, for each dealing, and the same value when you repeat it.",
                ),
            ),
            Trouble::IdempotencyKeyReused => row(
                "idempotency_key_reused",
                422,
                false,
                words("このキーは別のリクエストに使われています", "the key was used for another request"),
                words(
                    "新しい取引には新しいIdempotency-Keyを使ってください。",
                    "Use a new Idempotency-Key for a new dealing.",
                ),
            ),
            Trouble::IdempotencyKeyRunning => row(
                "idempotency_key_running",
                409,
                true,
                words("同じキーのリクエストを処理しています", "the first request with this key is still running"),
                words(
                    "Retry-Afterの秒数だけ待ち、同じキーで同じリクエストを送ってください。",
                    "Wait as Retry-After says, then send the same request with the same key.",
                ),
            ),
            Trouble::NotSignedIn => row(
                "not_signed_in",
                401,
                false,
                words("サインインが必要です", "nobody is signed in"),
                words(
                    "サインインして、得たトークンをAuthorization: Bearerヘッダーで送ってください。",
                    "Sign in and send the token as `Authorization: Bearer …`; sessions end, keys are revoked.",
                ),
            ),
            Trouble::WrongCredentials => row(
                "wrong_credentials",
                401,
                false,
                words("メールアドレスまたはパスワードが違います", "email or password is wrong"),
                words("入力を確かめて、もう一度お試しください。", "Check both and try again."),
            ),
            Trouble::BadSignature => row(
                "bad_signature",
                401,
                false,
                words("署名が確認できません", "the call is not signed as this endpoint asks"),
                words(
                    "本文をそのまま、合意した鍵と現在の時刻で署名してください。",
                    "Sign the exact body with the agreed secret and the current time.",
                ),
            ),
            Trouble::Forbidden => row(
                "forbidden",
                403,
                false,
                words("この権限では行えません", "this identity may not do this"),
                words(
                    "利用者、加盟店、運営のうち、この操作ができる権限で接続してください。",
                    "Use the kind of identity that the route is for: user, merchant or operator.",
                ),
            ),
            Trouble::InsufficientScope => row(
                "insufficient_scope",
                403,
                false,
                words("APIキーの権限が足りません", "the API key lacks the scope"),
                words(
                    "`detail` にある権限を持つAPIキーを使ってください。",
                    "Use an API key with the scope that `detail` names.",
                ),
            ),
            Trouble::NotFound => row(
                "not_found",
                404,
                false,
                words("見つかりません", "there is no such thing"),
                words(
                    "パスとIDを確かめてください。ほかの人のものも同じ応答になります。",
                    "Check path and id. What belongs to somebody else is answered in the same way.",
                ),
            ),
            Trouble::MethodNotAllowed => row(
                "method_not_allowed",
                405,
                false,
                words("このメソッドは使えません", "the path does not take this method"),
                words("Allowヘッダーにあるメソッドを使ってください。", "Use a method that the Allow header names."),
            ),
            Trouble::RequestTimeout => row(
                "request_timeout",
                408,
                true,
                words("リクエストの受信に時間がかかりすぎました", "the request took too long to arrive"),
                words("もう一度送ってください。", "Send it again, in one go."),
            ),
            Trouble::Exists => row(
                "exists",
                409,
                false,
                words("すでに存在します", "it exists already"),
                words("既存のものを使うか、別の値にしてください。", "Use what exists, or another value."),
            ),
            Trouble::Conflict => row(
                "conflict",
                409,
                false,
                words("現在の状態では行えません", "its present state does not allow this"),
                words("`detail` にあることを先に行ってください。", "Do first what `detail` says."),
            ),
            Trouble::BodyTooLarge => row(
                "body_too_large",
                413,
                false,
                words("本文が大きすぎます", "the body is too large"),
                words("`detail` にある大きさに収めてください。", "Keep the body within the size that `detail` names."),
            ),
            Trouble::UnsupportedMediaType => row(
                "unsupported_media_type",
                415,
                false,
                words("本文の形式が違います", "the body is not of a type that this route reads"),
                words(
                    "Content-Type: application/json とし、圧縮せずに送ってください。",
                    "Send `Content-Type: application/json`, not compressed.",
                ),
            ),
            Trouble::TrialNotPossible => row(
                "dry_run_not_possible",
                422,
                false,
                words("この依頼は試行できません", "this request cannot be tried"),
                words(
                    "`dry_run` を外して送ってください。何も行われていません。",
                    "Send it without `dry_run`; nothing was done. Charges, flows and schedules are not for the books alone to foresee.",
                ),
            ),
            Trouble::PluginRefused => row(
                "plugin_refused",
                422,
                true,
                words("チャネルが受け付けませんでした", "the channel refused"),
                words(
                    "`plugin_code` の意味をチャネルの説明で確かめてください。何も決まっていないので、同じキーで送り直せます。",
                    "`plugin_code` is the channel's own code. Nothing was decided: the same key may be used again.",
                ),
            ),
            Trouble::TooManyRequests => row(
                "too_many_requests",
                429,
                true,
                words("リクエストが多すぎます", "too many requests"),
                words(
                    "Retry-Afterの秒数だけ待ってから送ってください。",
                    "Wait as Retry-After says, then send the same request again.",
                ),
            ),
            Trouble::Internal => row(
                "internal",
                500,
                true,
                words("サーバーで問題が起きました", "something went wrong in the host"),
                words(
                    "同じキーでもう一度お試しください。続くときは `request_id` を運営にお知らせください。",
                    "Try again with the same key. If it lasts, tell the operator the `request_id`.",
                ),
            ),
            Trouble::Busy => row(
                "busy",
                503,
                true,
                words("混み合っています", "the host is busy"),
                words(
                    "Retry-Afterの秒数だけ待ち、同じキーでもう一度送ってください。",
                    "Wait as Retry-After says and send the same request with the same key.",
                ),
            ),
            Trouble::ClockLeads => row(
                "clock_leads",
                503,
                true,
                words("サーバーの時計が進みすぎています", "this host's clock is too far ahead"),
                words(
                    "何も処理されていません。同じキーで別のホストに送るか、しばらくお待ちください。運営は時計をNTPで合わせてください。",
                    "Nothing was decided. Send the same request with the same key to another host, or later; operators set the host's clock by NTP.",
                ),
            ),
            Trouble::PluginFault => row(
                "plugin_fault",
                503,
                true,
                words("チャネルが応答しません", "the channel does not answer"),
                words(
                    "しばらく待ち、同じキーでもう一度送ってください。",
                    "Wait a little and send the same request with the same key.",
                ),
            ),
            Trouble::BooksUnreachable => row(
                "books_unreachable",
                503,
                true,
                words("台帳に接続できません", "the books cannot be reached"),
                words(
                    "同じキーで送り直してください。すでに処理されていれば、最初の結果が返ります。",
                    "Send the same request with the same key: if it was done, its first answer comes back.",
                ),
            ),
            Trouble::StorageFull => row(
                "storage_full",
                507,
                true,
                words("台帳のディスクがいっぱいです", "the disk of the books is full"),
                words(
                    "何も処理されていません。残高などの照会はできます。しばらく待ち、同じキーで送り直してください。運営はディスクの空きを増やしてください。",
                    "Nothing was decided; reading works. Send the same request with the same key later; operators make room on the disk.",
                ),
            ),
            Trouble::StorageUnwritable => row(
                "storage_unwritable",
                503,
                true,
                words("台帳に書き込めません", "the books cannot be written"),
                words(
                    "何も処理されていません。残高などの照会はできます。しばらく待ち、同じキーで送り直してください。運営はディスクとそのマウントを確かめてください。",
                    "Nothing was decided; reading works. Send the same request with the same key later; operators look at the disk and at how it is mounted.",
                ),
            ),
            Trouble::TimedOut => row(
                "timed_out",
                504,
                true,
                words("処理に時間がかかりすぎました", "the request took too long"),
                words(
                    "同じキーで送り直してください。すでに処理されていれば、最初の結果が返ります。",
                    "Send the same request with the same key: if it was done, its first answer comes back.",
                ),
            ),
            Trouble::NotReady => row(
                "not_ready",
                503,
                true,
                words("準備ができていません", "the host is not ready"),
                words("別のホストを使うか、しばらくお待ちください。", "Use another host, or wait a little."),
            ),
        }
    }
}

/// The registry's row of a refusal: status from the domain, words from here.
pub(crate) fn of_refusal(refusal: Refusal) -> Code {
    let (title, next) = refusals::words_of(refusal);
    // A decided refusal sticks to its key for ever, so the same request never has another outcome.
    Code { code: refusal.code(), status: refusal.status(), retryable: false, title, next }
}

/// Every code: troubles by status, then refusals in their order of precedence.
pub(crate) fn all() -> impl Iterator<Item = Code> {
    Trouble::ALL.into_iter().map(Trouble::code).chain(Refusal::ALL.into_iter().map(of_refusal))
}

/// The row of this code.
pub(crate) fn find(code: &str) -> Option<Code> {
    all().find(|row| row.code == code)
}

const fn words(ja: &'static str, en: &'static str) -> Words {
    Words { ja, en }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_stands_for_two_things() {
        let codes: std::collections::BTreeSet<_> = all().map(|row| row.code).collect();
        assert_eq!(codes.len(), all().count());
    }

    #[test]
    fn every_code_says_what_happened_and_what_to_do_in_both_languages() {
        for row in all() {
            for text in [row.title.ja, row.title.en, row.next.ja, row.next.en] {
                assert!(!text.trim().is_empty(), "{}", row.code);
            }
            assert!((400..600).contains(&row.status), "{}", row.code);
        }
    }

    #[test]
    fn the_reference_page_lists_every_code_with_its_status() {
        let page = include_str!("../../../../docs/reference/problems.md");
        let missing: Vec<String> = all()
            .map(|row| format!("| `{}` | {} |", row.code, row.status))
            .filter(|start| !page.lines().any(|line| line.starts_with(start.as_str())))
            .collect();
        assert!(missing.is_empty(), "docs/reference/problems.md lacks lines that begin with {missing:#?}");
    }
}
