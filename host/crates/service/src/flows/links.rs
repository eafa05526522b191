//! Links that a plugin shows: they lead to its own partners, where the operator said that those are. A link elsewhere could ask a user
//! for anything, under the platform's name.

use koban_domain::guest::{Act, Show, Step};
use koban_outside::Base;
use koban_outside::base::{Host, Scheme};
use koban_store::endpoints;

use super::partner;
use crate::app::App;
use crate::error::Error;

/// Why a step shows a link that its plugin may not show; none if it may.
pub(crate) async fn check(app: &App, plugin: &str, step: &Step) -> Result<Option<String>, Error> {
    let links: Vec<&str> = step.effects.iter().filter_map(|effect| shown(&effect.act)).collect();
    if links.is_empty() {
        return Ok(None);
    }
    let sandbox = partner::is_on_sandbox(app, plugin).await?;
    let rows = endpoints::list(&app.store, plugin).await?;
    let origins: Vec<_> =
        rows.iter().filter(|row| row.sandbox == sandbox).filter_map(|row| origin(&row.base)).collect();
    let elsewhere = links.into_iter().find(|link| !origin(link).is_some_and(|origin| origins.contains(&origin)));
    Ok(elsewhere.map(|link| {
        let short: String = link.chars().take(60).collect();
        format!("the link `{}` is at none of its endpoints", short.escape_debug())
    }))
}

fn shown(act: &Act) -> Option<&str> {
    match act {
        Act::Show(Show::Link(link)) => Some(link),
        _ => None,
    }
}

/// Scheme, host and port, read by the one strict parser of addresses.
fn origin(link: &str) -> Option<(Scheme, Host, u16)> {
    let host = link.find("://")? + 3;
    let end = link[host..].find(['/', '?', '#']).map_or(link.len(), |at| host + at);
    let base = Base::parse(&link[..end]).ok()?;
    Some((base.scheme(), base.host().clone(), base.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_origin(link: &str, same_as: Option<&str>) {
        assert_eq!(origin(link), same_as.and_then(origin), "{link}");
    }

    #[test]
    fn a_link_is_where_its_host_is_and_nothing_that_looks_like_it() {
        let bank = Some("https://bank.example");
        for link in ["https://bank.example/", "https://BANK.example:443/a?b=c#d", "https://bank.example?to=/x"] {
            check_origin(link, bank);
        }
        for link in [
            "https://bank.example@evil.example/",
            "https://bank.example\\@evil.example",
            "//bank.example",
            "bank.example",
        ] {
            check_origin(link, None);
        }
        for link in ["http://bank.example/", "https://bank.example:444/", "https://bank.example.evil.example/"] {
            assert_ne!(origin(link), bank.and_then(origin), "{link}");
        }
    }
}
