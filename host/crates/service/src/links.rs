//! Links: what users may link, how they do it, what they have linked, and how they end it.

use koban_domain::flows::{Flow, Linking};
use koban_domain::guest::{LinkRequest, Named, Standing};
use koban_domain::ids::{FlowId, LinkId, UserId};
use koban_domain::ledger::{Command, Decided};
use koban_domain::links::{End, EndedBy, LINKS_MAX, Link, OfLink};
use koban_domain::manifest::{Beginning, CredentialKind, Kind, Manifest, Words, is_plugin_id};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use koban_domain::records::Input;
use koban_domain::releases::Scope;
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::links as rows;
use koban_store::users::UserRow;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::consents;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::flows::begin::{self, BEGUN_MAX, Opening};
use crate::flows::own::{self, Note, Shown};
use crate::operations::{self, Answered, Begun};
use crate::page::{Page, Paged};
use crate::plugins;
use crate::users::audit;

/// Kinds of plugins whose flows save links.
const LINKING: [Kind; 3] = [Kind::ChargeChannel, Kind::BillPayer, Kind::BudgetLink];

/// Something that a user may link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferView {
    /// The plugin's id.
    pub plugin: String,
    /// What it is called.
    pub plugin_name: Words,
    /// The kind of link.
    pub kind: String,
    /// What the user is asked to agree to.
    pub about: Words,
    /// The longest that it lasts, in days.
    pub days_max: u32,
    /// Endpoints where the user may be asked to agree, with what for, as their servers name it.
    pub consents: Vec<(String, Vec<String>)>,
    /// Whether the plugin sends new rows of the wallet to what is linked.
    pub sends_rows: bool,
}

/// What a user wants to link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkInput {
    /// The plugin's id.
    pub plugin: String,
    /// One of its kinds of links.
    pub kind: String,
    /// The link that is to be renewed; none for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renews: Option<LinkId>,
}

/// A linking as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkingView {
    /// Its id, which is its flow's.
    pub id: FlowId,
    /// The plugin.
    pub plugin: String,
    /// The kind of link.
    pub kind: String,
    /// Where it stands; `checking` as well when an operator has to look.
    pub standing: Standing,
    /// What is shown now, in the order in which the plugin asked for it.
    pub shows: Vec<Shown>,
    /// The link that it saved.
    pub link: Option<LinkId>,
    /// Why it failed, or was closed.
    pub note: Option<Note>,
    /// When it began.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// What the signed-in user may link, in the order of the plugins' ids.
pub async fn offers(app: &App, ctx: &Ctx) -> Result<Vec<OfferView>, Error> {
    let user = ctx.user()?;
    let mut offers = Vec::new();
    for kind in LINKING {
        for plugin in plugins::all_in_force_for(app, kind, &[Scope::Platform], &user.bytes()).await? {
            if plugin.interfaces().contains(&"link-account") {
                offers.extend(offered(&plugin));
            }
        }
    }
    offers.sort_by(|one, other| (&one.plugin, &one.kind).cmp(&(&other.plugin, &other.kind)));
    Ok(offers)
}

fn offered(plugin: &Plugin) -> Vec<OfferView> {
    let manifest = plugin.manifest();
    let of_users = manifest.endpoints.iter().filter(|spec| spec.credential == CredentialKind::OauthUser);
    let scopes = |oauth: &Option<koban_domain::manifest::OauthSpec>| oauth.clone().unwrap_or_default().scopes;
    let consents: Vec<_> = of_users.map(|spec| (spec.name.clone(), scopes(&spec.oauth))).collect();
    let offer = |link: &koban_domain::manifest::LinkSpec| OfferView {
        plugin: plugin.id().to_owned(),
        plugin_name: manifest.name.clone(),
        kind: link.name.clone(),
        about: link.about.clone(),
        days_max: link.days_max,
        consents: consents.clone(),
        sends_rows: plugin.interfaces().contains(&"sync"),
    };
    manifest.links.iter().map(offer).collect()
}

/// Begins a linking. A decided beginning never calls the plugin again. What the plugin itself refuses is recorded and decides nothing: the
/// same key may be tried again.
pub async fn begin(app: &App, ctx: &Ctx, input: LinkInput) -> Result<Answered<LinkingView>, Error> {
    let user = ctx.user()?;
    ctx.not_on_trial()?;
    if !is_plugin_id(&input.plugin) {
        return Err(Error::invalid("plugin", "name a plugin by its id, such as `budget-live`"));
    }
    let operation = operations::begin(app, ctx, "POST /v1/linkings", &input)?;
    let begun = begin_once(app, ctx, user, &input, &operation).await;
    app.metrics.dealt("linking", operations::result_word(&begun));
    let Answered { value: flow, replayed } = begun?.ok_or(Error::Busy)?;
    Ok(Answered { value: linking(app, ctx, flow).await?, replayed })
}

/// None: the plugin was switched each time that it was asked.
async fn begin_once(
    app: &App,
    ctx: &Ctx,
    user: UserId,
    input: &LinkInput,
    operation: &Begun,
) -> Result<Option<Answered<FlowId>>, Error> {
    if let Some(decided) = operation.decided(app).await? {
        return decided.expect(begin::opened).map(Some);
    }
    for _ in 0..BEGUN_MAX {
        // Like every 503, a plugin that is not there decides nothing.
        let plugin = plugins::in_force_for(app, &input.plugin, user).await?;
        let Some(plugin) = plugin.filter(|plugin| plugin.interfaces().contains(&"link-account")) else {
            return Err(Error::refused(Refusal::ChannelNotAvailable));
        };
        if plugin.manifest().link(&input.kind).is_none() {
            return Err(Error::invalid("kind", format!("`{}` has no such links; GET /v1/links/offers", plugin.id())));
        }
        let renews = match input.renews {
            Some(id) => Some(own_link(app, user, id).await?).filter(|link| link.plugin == plugin.id()),
            None => None,
        };
        if input.renews.is_some() && renews.is_none() {
            return Err(Error::invalid("renews", format!("is no link with `{}`", plugin.id())));
        }
        let live = rows::live(&app.store, koban_domain::accounts::PluginKey::of(plugin.id()), user).await?;
        if renews.is_none() && live.len() >= LINKS_MAX {
            return Err(Error::Conflict(format!("{LINKS_MAX} links with `{}` hold; end one first", plugin.id())));
        }
        let mut work = ctx.work(app.clock.id());
        work.relies_on = vec![Reliance { plugin: plugin.id().to_owned(), digest: plugin.digest(), in_force: true }];
        match begin::owner(app, user).await? {
            Ok(owner) => {
                let opening = opening(app, ctx, &plugin, &owner, (input, renews.as_ref()));
                begin::lay(app, ctx, &plugin, opening, &mut work).await?;
            }
            Err(refusal) => work.refused = Some(refusal),
        }
        if let Some(begun) = begin::commit(app, operation, work).await? {
            return Ok(Some(begun));
        }
    }
    Ok(None)
}

/// The call that begins the linking.
fn opening(
    app: &App,
    ctx: &Ctx,
    plugin: &Plugin,
    owner: &UserRow,
    (input, renews): (&LinkInput, Option<&Link>),
) -> Opening {
    let known = Some((owner.kind, owner.created_at));
    let request = LinkRequest {
        wallet: begin::wallet_name(plugin.id(), owner.id),
        kind: input.kind.clone(),
        link: renews.map(Link::to_guest),
        mandate: None,
        facts: begin::facts(&plugin.manifest().facts, ctx, known, app.clock.now()),
    };
    Opening {
        user: owner.id,
        beginning: Beginning::LinkAccount,
        // No money moves by it.
        at_most: Money::yen(0),
        fee: 0,
        bill: None,
        linking: Linking { kind: Some(input.kind.clone()), ..Linking::default() },
        rows: None,
        input: Input::BeginLink(request),
    }
}

/// A linking of the signed-in user.
pub async fn linking(app: &App, ctx: &Ctx, id: FlowId) -> Result<LinkingView, Error> {
    let flow = own::flow(app, ctx, id, Beginning::LinkAccount).await?;
    let links = rows::of_user(&app.store, ctx.user()?).await?;
    Ok(view(app, ctx, flow, &links).await)
}

/// The signed-in user's linkings, newest first.
pub async fn linkings(app: &App, ctx: &Ctx, page: &Page) -> Result<Paged<LinkingView>, Error> {
    let paged = own::list(app, ctx, Beginning::LinkAccount, page).await?;
    let links = rows::of_user(&app.store, ctx.user()?).await?;
    let mut items = Vec::with_capacity(paged.items.len());
    for flow in paged.items {
        items.push(view(app, ctx, flow, &links).await);
    }
    Ok(Paged { items, next: paged.next })
}

/// Fills in a form that the linking shows. Waits a moment for the plugin, then says how it stands.
pub async fn answer(app: &App, ctx: &Ctx, id: FlowId, key: &str, values: Vec<Named>) -> Result<LinkingView, Error> {
    own::answer(app, &own::flow(app, ctx, id, Beginning::LinkAccount).await?, key, values).await?;
    linking(app, ctx, id).await
}

/// Asks the plugin to stop the linking.
pub async fn cancel(app: &App, ctx: &Ctx, id: FlowId) -> Result<LinkingView, Error> {
    own::cancel(app, &own::flow(app, ctx, id, Beginning::LinkAccount).await?).await?;
    linking(app, ctx, id).await
}

/// The linking in the user's language.
async fn view(app: &App, ctx: &Ctx, flow: Flow, links: &[Link]) -> LinkingView {
    let plugin = plugins::of_flow(app, &flow).await.ok();
    let manifest: Option<&Manifest> = plugin.as_ref().map(Plugin::manifest);
    LinkingView {
        id: flow.id,
        plugin: flow.plugin.clone(),
        kind: flow.linking.kind.clone().unwrap_or_default(),
        standing: own::standing(&flow),
        shows: own::shows(&flow, manifest, &ctx.locale),
        link: links.iter().find(|link| link.saved_by == flow.id).map(|link| link.id),
        note: own::note(&flow, manifest, &ctx.locale),
        opened_at: flow.opened_at,
        changed_at: flow.changed_at,
    }
}

/// What the signed-in user has linked, newest first; what has ended is among it.
pub async fn list(app: &App, ctx: &Ctx) -> Result<Vec<Link>, Error> {
    Ok(rows::of_user(&app.store, ctx.user()?).await?)
}

/// One of them. Errors: [`Error::NotFound`], also for another's.
pub async fn get(app: &App, ctx: &Ctx, id: LinkId) -> Result<Link, Error> {
    own_link(app, ctx.user()?, id).await
}

async fn own_link(app: &App, user: UserId, id: LinkId) -> Result<Link, Error> {
    let link = rows::by_id(&app.store, id).await?.filter(|link| link.user == user);
    link.ok_or(Error::NotFound("link"))
}

/// Ends a link of the signed-in user: from this commit on nothing goes to its partner, and consents that no other link rests on end with it.
/// Ended before is ended.
pub async fn end(app: &App, ctx: &Ctx, id: LinkId) -> Result<Link, Error> {
    let link = get(app, ctx, id).await?;
    if link.ended.is_none() {
        over(app, ctx, &link, EndedBy::User).await?;
    }
    get(app, ctx, id).await
}

/// A link is over: whoever takes rows to it is asked to stop, and consents that nothing else rests on end.
pub(crate) async fn over(app: &App, ctx: &Ctx, link: &Link, by: EndedBy) -> Result<(), Error> {
    let mut work = ctx.work(app.clock.id());
    let end = End { link: link.key(), user: link.user, by };
    work.commands = vec![Command::Link(Box::new(OfLink::End(end)))];
    let detail = json!({ "plugin": link.plugin, "kind": link.kind, "why": by.word() }).to_string();
    work.audit = vec![audit(app, ctx, "link.end", link.id.to_string(), &detail)];
    if let Decided::SignedOut = app.ledger.commit(work).await? {
        return Err(Error::NotSignedIn);
    }
    tracing::info!(link = %link.id, plugin = link.plugin, why = by.word(), "a link has ended");
    if let Some(rows) = &link.under_way
        && let Some(flow) = koban_store::flows::by_id(&app.store, rows.flow).await?
    {
        own::ask_to_stop(app, &flow).await?;
    }
    let others = rows::live(&app.store, link.key().plugin, link.user).await?;
    for endpoint in &link.consents {
        let rests = others.iter().any(|other| other.id != link.id && other.consents.contains(endpoint));
        if !rests && by != EndedBy::Consent {
            consents::end_for_link(app, &link.plugin, endpoint, link.user).await?;
        }
    }
    Ok(())
}

/// A user's consent has ended: so have the links that rest on it.
pub(crate) async fn consent_ended(app: &App, ctx: &Ctx, plugin: &str, endpoint: &str) -> Result<(), Error> {
    let user = ctx.user()?;
    for link in rows::live(&app.store, koban_domain::accounts::PluginKey::of(plugin), user).await? {
        if link.consents.iter().any(|rests_on| rests_on == endpoint) {
            over(app, ctx, &link, EndedBy::Consent).await?;
        }
    }
    Ok(())
}

/// Ends what a user has linked, and wipes what the user knew it by and what plugins kept in it.
pub(crate) async fn forget_user(app: &App, ctx: &Ctx, user: UserId) -> Result<(), Error> {
    for link in rows::of_user(&app.store, user).await? {
        if !link.label.is_empty() || !link.data.is_empty() || link.ended.is_none() {
            over(app, ctx, &link, EndedBy::Erasure).await?;
        }
    }
    Ok(())
}

/// The host itself, where a link ends without its user.
pub(crate) fn by_the_host() -> Ctx {
    Ctx::new(Actor::System, "")
}
