//! What a plugin may do, in plain words: proved by its binary, or enforced by the host from its manifest.

use koban_domain::manifest::{Beginning, DirectorySpec, EndpointSpec, Manifest, ProposalKind, Repeat, Subject, Words};

use crate::check::Checked;

/// How it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By what the binary imports: nothing else is there to call.
    Proved,
    /// By the host, which refuses and records whatever goes beyond the manifest.
    Enforced,
}

impl How {
    /// The word that people see.
    pub fn word(self) -> &'static str {
        match self {
            How::Proved => "proved",
            How::Enforced => "enforced",
        }
    }
}

/// One thing that a plugin may do, or never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Whether it may.
    pub may: bool,
    /// How that is known.
    pub how: How,
    /// What it is, such as `import log` or `endpoint network.approve`.
    pub what: String,
    /// In plain words.
    pub words: Words,
}

fn says(may: bool, how: How, what: impl Into<String>, ja: impl Into<String>, en: impl Into<String>) -> Permission {
    Permission { may, how, what: what.into(), words: Words { ja: ja.into(), en: en.into() } }
}

/// Everything that a component with this manifest may do, then what it cannot.
pub fn of(manifest: &Manifest, checked: &Checked) -> Vec<Permission> {
    let mut list = Vec::new();
    if checked.imports.iter().any(|import| import.contains("/log@")) {
        let ja = "運営者が読むログに短い行を書きます";
        list.push(says(true, How::Proved, "import log", ja, "write short lines to a log that operators read"));
    }
    for fact in &manifest.facts {
        let about = koban_domain::manifest::fact(fact).map_or("", |fact| fact.about);
        let ja = format!("事実「{fact}」を知らされます");
        list.push(says(true, How::Enforced, format!("fact {fact}"), ja, format!("be told {fact} ({about})")));
    }
    for signal in &manifest.signals {
        let (ja, en) = match signal.subject {
            Subject::User => ("支払う人", "the payer"),
            Subject::Merchant => ("加盟店", "the merchant"),
            Subject::Device => ("端末", "the device"),
        };
        let minutes = signal.window_s / 60;
        let ja = format!("{ja}の直近{minutes}分間の支払いの回数と合計を知らされます");
        let en = format!("be told how many payments {en} made in the last {minutes} minutes, and their sum");
        list.push(says(true, How::Enforced, format!("signal {}", signal.name), ja, en));
    }
    for endpoint in &manifest.endpoints {
        endpoint_permissions(endpoint, &mut list);
    }
    for directory in &manifest.directories {
        directory_permissions(directory, &mut list);
    }
    for (beginning, proposals) in &manifest.proposals {
        list.extend(proposals.iter().map(|proposal| proposed(*beginning, *proposal)));
    }
    offered(manifest, &mut list);
    list.push(says(
        false,
        How::Proved,
        "no other import",
        "通信、ファイル、時計、乱数、他のプラグイン、データベースには触れられません",
        "reach a network, file, clock, randomness, database or another plugin: it imports none",
    ));
    let (ja, en) = match manifest.proposals.is_empty() {
        true => ("お金について何も提案できません", "propose anything about money"),
        false => (
            "お金を動かせません。提案を台帳が確かめ、上限と損失枠の中でだけ記帳します",
            "move money: the ledger checks each proposal, within what the user agreed to, the exposure cap and the loss budget",
        ),
    };
    list.push(says(false, How::Enforced, "money", ja, en));
    // A statement says whom its owner paid.
    let (ja, en) = match manifest.formats.is_empty() {
        true => (
            "秘密の値と、利用者や加盟店の名前や番号は渡されません",
            "see a secret, or the name or number of a user or merchant",
        ),
        false => ("秘密の値と、口座の番号は渡されません", "see a secret, or the number of an account"),
    };
    list.push(says(false, How::Enforced, "secrets", ja, en));
    list
}

fn endpoint_permissions(endpoint: &EndpointSpec, list: &mut Vec<Permission>) {
    let name = &endpoint.name;
    for operation in &endpoint.operations {
        let method = serde_json::to_value(operation.method).ok();
        let method = method.as_ref().and_then(|word| word.as_str()).unwrap_or_default();
        let (ja, en) = match operation.repeat {
            Repeat::Safe => ("応答がなければ繰り返します", "repeated if no answer came"),
            Repeat::Never => ("繰り返しません", "never repeated"),
        };
        let ja = format!("ホストに、相手先「{name}」への {method} {} を頼みます({ja})", operation.path);
        let en = format!("have the host send {method} {} to the partner `{name}` ({en})", operation.path);
        list.push(says(true, How::Enforced, format!("endpoint {name}.{}", operation.name), ja, en));
    }
    for operation in &endpoint.inbound {
        let (ja, en) = match operation.settlement {
            true => (
                format!("相手先「{name}」の精算ファイルを読みます"),
                format!("read the settlement files that the partner `{name}` sends"),
            ),
            false => (
                format!("相手先「{name}」からの呼び出し「{}」を受けます", operation.name),
                format!("be given the call `{}` that the partner `{name}` signed", operation.name),
            ),
        };
        list.push(says(true, How::Enforced, format!("inbound {name}.{}", operation.name), ja, en));
    }
}

fn directory_permissions(directory: &DirectorySpec, list: &mut Vec<Permission>) {
    let name = &directory.name;
    for file in &directory.outgoing {
        let cut_offs = file.cut_offs.join(", ");
        let (ja, en) = (
            format!(
                "ホストに、相手先の共有フォルダ「{name}」へのファイル「{}」を頼みます({cut_offs}締め)",
                file.called
            ),
            format!(
                "have the host write `{}` into the directory `{name}` of a partner, sealed at {cut_offs}",
                file.called
            ),
        );
        list.push(says(true, How::Enforced, format!("directory {name}.{}", file.name), ja, en));
    }
    for file in &directory.incoming {
        let (ja, en) = (
            format!("相手先の共有フォルダ「{name}」に置かれたファイル「{}」を読みます", file.called),
            format!("be given what the partner puts into the directory `{name}` as `{}`", file.called),
        );
        list.push(says(true, How::Enforced, format!("directory {name}.{}", file.name), ja, en));
    }
}

/// What lasts, what is heard, what is granted.
fn offered(manifest: &Manifest, list: &mut Vec<Permission>) {
    for link in &manifest.links {
        let (name, days) = (&link.name, link.days_max);
        let (ja, en) = match link.mandate {
            true => (
                "、利用者が認めれば、その場にいなくても上限内で使います",
                ", and be used without the user within the caps that they agreed to",
            ),
            false => ("", ""),
        };
        let ja = format!("利用者の連携先「{name}」を最長{days}日間保存します{ja}");
        let en = format!("keep a link `{name}` of the user for up to {days} days{en}");
        list.push(says(true, How::Enforced, format!("link {name}"), ja, en));
    }
    for event in &manifest.events {
        let ja = format!("出来事「{event}」を知らされます");
        list.push(says(true, How::Enforced, format!("event {event}"), ja, format!("be told of every {event}")));
    }
    for budget in &manifest.budgets {
        let name = &budget.name;
        let ja = format!("予算「{name}」の範囲でボーナスの付与を求めます");
        let en = format!("ask for bonuses out of the budget `{name}`, never beyond it");
        list.push(says(true, How::Enforced, format!("budget {name}"), ja, en));
    }
    for format in &manifest.formats {
        let name = &format.name;
        let ja = format!("利用者が求めたとき、その明細を「{name}」形式のファイルにします");
        let en = format!("see a user's statement when that user asks for it as `{name}`");
        list.push(says(true, How::Enforced, format!("format {name}"), ja, en));
    }
}

fn proposed(beginning: Beginning, proposal: ProposalKind) -> Permission {
    let (ja, en) = match proposal {
        ProposalKind::Credit => (
            "利用者が同意した上限まで、財布への入金を提案します",
            "propose credits to the wallet of the user who began, up to what they agreed to",
        ),
        ProposalKind::Hold => ("利用者のお金の取り置きを提案します", "propose to set money of the user aside"),
        ProposalKind::Capture => ("取り置いたお金の受け取りを提案します", "propose to take what was set aside"),
        ProposalKind::Release => ("取り置きの解放を提案します", "propose to give back what was set aside"),
        ProposalKind::Reverse => ("自分の入金の取消を提案します", "propose to take its own credits back"),
        ProposalKind::Tombstone => {
            ("相手先の番号を今後使えないようにします", "kill a partner's reference, so that it is never credited")
        }
    };
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let beginning = word(serde_json::to_value(beginning).unwrap_or_default());
    let kind = word(serde_json::to_value(proposal).unwrap_or_default());
    says(true, How::Enforced, format!("proposal {beginning}.{kind}"), ja, en)
}

#[cfg(test)]
mod tests {
    use koban_domain::records::Digest;

    use super::*;

    #[test]
    fn both_halves_are_said_in_both_languages() {
        let text = r#"
id = "charge-test"
version = "1.0.0"
contract = "koban:plugin@0.1.0"
kind = "charge-channel"
facts = ["account.kind"]
name = { ja = "試し", en = "Test" }
purpose = { ja = "試すため", en = "To test" }
[proposals]
charge = ["credit"]
[[endpoints]]
name = "network"
credential = "standard-webhooks"
[[endpoints.operations]]
name = "approve"
method = "POST"
path = "/approve"
repeat = "never"
timeout_s = 5
deadline_s = 60
"#;
        let manifest = crate::manifest::read(text).unwrap();
        let imports = vec!["koban:plugin/log@0.1.0".to_owned()];
        let checked = Checked { digest: Digest::default(), bytes: 1, imports, exports: vec![] };
        let list = of(&manifest, &checked);
        let whats: Vec<&str> = list.iter().map(|permission| permission.what.as_str()).collect();
        assert_eq!(
            whats,
            [
                "import log",
                "fact account.kind",
                "endpoint network.approve",
                "proposal charge.credit",
                "no other import",
                "money",
                "secrets"
            ]
        );
        assert!(list.iter().all(|permission| !permission.words.ja.is_empty() && !permission.words.en.is_empty()));
        assert!(list[2].words.en.contains("POST /approve") && list[2].words.en.contains("never repeated"));
        assert_eq!((list[0].how, list[1].how), (How::Proved, How::Enforced));
    }
}
