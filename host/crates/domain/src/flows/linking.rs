//! Links that a flow is about: what its user agreed to in it, what it saves, and the rows that it takes along.

use serde::{Deserialize, Serialize};

use super::{EffectState, Flow, StepRefused, advance};
use crate::guest::{Event, SavedLink, Show, Standing, What};
use crate::ledger::Command;
use crate::links::{End, EndedBy, Finish, LinkKey, OfLink, Save};
use crate::manifest::{CredentialKind, Manifest};
use crate::time::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// What a flow has to do with links. Stands behind what it has set aside in its row: rows of earlier versions have none of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Linking {
    /// The link that it was begun with.
    pub link: Option<LinkKey>,
    /// The kind of link that its user asked for.
    pub kind: Option<String>,
    /// Endpoints whose consent its user gave in it.
    pub agreed: Vec<String>,
}

impl Flow {
    /// Tells its link what became of the rows that it took along, now that it ends.
    pub(super) fn finish_rows(&self) -> Option<Command> {
        let link = self.linking.link.clone().filter(|_| self.beginning == crate::manifest::Beginning::Sync)?;
        let taken = self.standing == Standing::Done;
        Some(Command::Link(Box::new(OfLink::Finish(Finish { link, flow: self.id, taken }))))
    }
}

/// What an event says of consents: one that the user gave is this flow's to rest a link on.
pub(super) fn learn(flow: &mut Flow, event: &Event) {
    let asked = flow.effects.iter().find(|effect| effect.key == event.key && effect.state == EffectState::Open);
    if let (What::Agreed, Some(Show::Consent(endpoint))) = (&event.what, asked.and_then(|effect| effect.show.as_ref()))
        && !flow.linking.agreed.contains(endpoint)
    {
        flow.linking.agreed.push(endpoint.clone());
    }
}

/// A user can be sent only to where users agree.
pub(super) fn check_consent(endpoint: &str, manifest: &Manifest) -> Result<(), StepRefused> {
    let spec = manifest.endpoint(endpoint).filter(|spec| spec.credential == CredentialKind::OauthUser);
    let why = || StepRefused::Broken(format!("users agree to nothing at the endpoint `{endpoint}`"));
    spec.map(drop).ok_or_else(why)
}

/// A link of the flow's user is saved, for at most as long as its kind lasts.
pub(super) fn save(
    flow: &Flow,
    link: SavedLink,
    effect: String,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Command, StepRefused> {
    advance::check_reference(&link.reference)?;
    let unknown = || StepRefused::Broken(format!("the manifest has no links `{}`", link.kind));
    let spec = manifest.link(&link.kind).ok_or_else(unknown)?;
    let at_most = now.plus_ms(i64::from(spec.days_max) * DAY_MS);
    let asked = link.expires.map(|at| Timestamp(i64::try_from(at).unwrap_or(i64::MAX)));
    let save = Save {
        plugin: flow.plugin.clone(),
        expires_at: asked.map_or(at_most, |asked| asked.min(at_most)),
        link,
        user: flow.authorisation.user,
        consents: flow.linking.agreed.clone(),
        flow: flow.id,
        effect,
    };
    Ok(Command::Link(Box::new(OfLink::Save(save))))
}

/// A link of the flow's user is over.
pub(super) fn drop_link(flow: &Flow, reference: String) -> Result<Command, StepRefused> {
    advance::check_reference(&reference)?;
    let link = LinkKey { plugin: flow.plugin_key(), reference };
    let end = End { link, user: flow.authorisation.user, by: EndedBy::Plugin };
    Ok(Command::Link(Box::new(OfLink::End(end))))
}
