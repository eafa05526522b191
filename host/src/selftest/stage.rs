//! The host that is attacked: a whole one on a database of its own, behind the door of the installed one, with people, a partner and names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use koban_domain::access::Access;
use koban_domain::flows::EffectState;
use koban_domain::guest::Verdict;
use koban_domain::ids::{FlowId, MerchantId, UserId};
use koban_domain::limits::WalletKind;
use koban_domain::manifest::Manifest;
use koban_domain::money::Money;
use koban_domain::packages::Package;
use koban_domain::payments::Payment;
use koban_domain::policy::FailurePolicy;
use koban_domain::records::{Ending, Input, Record};
use koban_domain::releases::{Scope, State};
use koban_domain::verification::Verification;
use koban_outside::{Keyring, Outside, Resolver, Settings, signature};
use koban_runtime::Door;
use koban_service::charges::{self, ChargeInput, ChargeView};
use koban_service::ctx::Actor;
use koban_service::flows::{self, FlowDetail, InboundReply, InboundRequest};
use koban_service::jobs::{self, Jobs};
use koban_service::merchants::{self, NewMerchant};
use koban_service::page::Page;
use koban_service::payments::{self, PayInput};
use koban_service::plugins::{self, EndpointInput};
use koban_service::releases::{self, Accept, Move, ReleaseView, Upload};
use koban_service::sealing::Sealer;
use koban_service::{App, Ctx, Error, clock, decisions, operators, platform, policy, users as users_service, wallets};
use koban_store::users::{self, UserRow};
use koban_store::{Config as StoreConfig, Store};

use super::guest::Guest;
use super::manifests::{self, PARTNER, SAY};
use super::neighbour::Neighbour;
use super::partner::{Names, Partner};

/// What a channel of the pack may have unsettled, in yen. It may lose nothing.
pub(super) const EXPOSURE_CAP: i64 = 1_000_000;
/// The most that somebody agrees to in a charge of the pack, in yen.
pub(super) const AT_MOST: i64 = 5_000;
/// How long a flow may take until nothing moves any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(300);
/// How often a flow is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The attacked host with everybody in it.
pub(super) struct Stage {
    pub(super) app: App,
    jobs: Jobs,
    pub(super) partner: Partner,
    pub(super) names: Names,
    /// Charges through attacking channels, and must not gain by it.
    pub(super) mallory: UserId,
    /// Pays where attacking rules judge.
    pub(super) ken: UserId,
    pub(super) neighbour: Neighbour,
    /// A door of the same sort with one slot, behind which every guest is in the place of the one before.
    pub(super) alone: Door,
    /// Where the host keeps its files, and where the door keeps compiled code.
    pub(super) dir: PathBuf,
    pub(super) compiled: PathBuf,
    secret: String,
    count: AtomicU64,
}

/// Where a stage is put up.
pub(super) struct Ground<'a> {
    /// The door that is tried.
    pub(super) door: &'a Door,
    /// Another of the same sort with one slot.
    pub(super) alone: &'a Door,
    /// Where the door keeps compiled code.
    pub(super) compiled: &'a Path,
    /// A folder for this host's own files.
    pub(super) dir: &'a Path,
}

/// A header of a call, with its value.
pub(super) type Header = (&'static str, String);

impl Stage {
    /// Puts the host together in this folder and lets the neighbours in.
    pub(super) async fn open(ground: &Ground<'_>) -> anyhow::Result<Stage> {
        let file = ground.dir.join("koban.db");
        let store = Store::open(&StoreConfig::new(format!("sqlite:{}", file.display()))).await?;
        store.prepare().await?;
        let clock = platform::begin(&store, false).await?;
        let names = Names::default();
        let settings = Settings { resolver: Resolver::Asked(names.resolver()), ..Settings::default() };
        let outside = Outside::new(settings).context("the way out cannot be opened")?;
        let sealer = Sealer::of(&Sealer::new_key())?;
        let app = App::start(store, ground.door.clone(), outside, clock, sealer).await?;
        let jobs = jobs::start(&app);
        let ctx = operators::command_line("");
        policy::set(&app, &ctx, FailurePolicy { on_fault: Verdict::Decline, on_missing: Verdict::Decline }).await?;
        let (mallory, ken, hana) =
            (sign_up(&app, "mallory").await?, sign_up(&app, "ken").await?, sign_up(&app, "hana").await?);
        let (partner, secret) = (Partner::start().await?, secret());
        let stage = Stage {
            neighbour: Neighbour::new(hana, merchant(&app, "Neighbour").await?),
            app,
            jobs,
            partner,
            names,
            mallory,
            ken,
            alone: ground.alone.clone(),
            dir: ground.dir.to_owned(),
            compiled: ground.compiled.to_owned(),
            secret,
            count: AtomicU64::new(0),
        };
        stage.let_neighbours_in().await?;
        Ok(stage)
    }

    /// An honest rule and an honest channel, through which honest people get their money.
    async fn let_neighbours_in(&self) -> anyhow::Result<()> {
        let rule = manifests::package(&Guest::rule(super::neighbour::RULE), manifests::rule(super::neighbour::RULE))?;
        self.enabled(rule, Scope::Platform).await?;
        self.channel(&honest(super::neighbour::CHANNEL, AT_MOST), &[]).await?;
        for user in [self.neighbour.user, self.ken] {
            self.charge_honestly(user).await?;
        }
        Ok(())
    }

    /// A charge through the honest channel, from the wish to the money.
    pub(super) async fn charge_honestly(&self, user: UserId) -> anyhow::Result<()> {
        let before = self.balance(user).await?;
        let flow = self.begin(user, super::neighbour::CHANNEL).await?.id;
        let correlation = self.correlation(flow).await?;
        let reply = self.say(super::neighbour::CHANNEL, &correlation).await?;
        let gained = self.balance(user).await? - before;
        if reply.status != 200 || gained != AT_MOST {
            bail!("an honest charge brought {gained} yen and the answer {}", reply.status);
        }
        Ok(())
    }

    /// One payment of the neighbours; whether it went as it should.
    pub(super) async fn neighbour_pays(&self) -> bool {
        self.neighbour.pays(&self.app, self.key()).await
    }

    /// Ends everything.
    pub(super) async fn close(self) {
        self.jobs.stop().await;
        self.app.store.close().await;
    }

    /// The circumstances of an operator.
    pub(super) fn operator(&self) -> Ctx {
        operators::command_line(self.key())
    }

    /// The circumstances of a user.
    pub(super) fn of_user(&self, user: UserId) -> Ctx {
        Ctx::new(Actor::User(user), self.key())
    }

    /// A key that nobody has used.
    fn key(&self) -> String {
        format!("selftest-{}", self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// A merchant where nobody but an attack's own people pay.
    pub(super) async fn merchant(&self) -> anyhow::Result<MerchantId> {
        merchant(&self.app, "Attacked").await
    }

    /// What is in a wallet, in yen.
    pub(super) async fn balance(&self, user: UserId) -> anyhow::Result<i64> {
        let wallet = wallets::balances(&self.app, user).await?;
        Ok(wallet.prepaid.minor + wallet.funds.minor)
    }

    /// Somebody else with so much as a charge brings, verified, so that it may be taken out and exchanged.
    pub(super) async fn somebody(&self) -> anyhow::Result<UserId> {
        let user = sign_up(&self.app, "somebody").await?;
        users_service::verify(&self.app, &self.operator(), user).await?;
        self.charge_honestly(user).await?;
        Ok(user)
    }

    /// Uploads a package as an operator takes one from an author, unsigned.
    pub(super) async fn upload(&self, package: Package) -> Result<ReleaseView, Error> {
        releases::upload(&self.app, &self.operator(), Upload { package, unsigned: true }).await
    }

    /// Uploads a package and accepts whatever it asks for.
    pub(super) async fn install(&self, package: Package) -> Result<ReleaseView, Error> {
        let touches_money = koban_domain::permissions::touches_money(&package.manifest);
        let release = self.upload(package).await?;
        let accept = Accept {
            settings: Some(Vec::new()),
            exposure_cap: touches_money.then_some(EXPOSURE_CAP),
            loss_budget: touches_money.then_some(0),
            asks: Some(release.asks),
        };
        releases::install(&self.app, &self.operator(), &release.plugin, release.digest, accept).await
    }

    /// The same, enabled at this scope.
    pub(super) async fn enabled(&self, package: Package, scope: Scope) -> Result<ReleaseView, Error> {
        let release = self.install(package).await?;
        let step = Move { scope, ..Move::to(State::Enabled) };
        releases::move_to(&self.app, &self.operator(), &release.plugin, release.digest, &step).await
    }

    /// Installs a guest as a rule that judges at a merchant of its own, and answers where.
    pub(super) async fn rule(&self, guest: &Guest) -> anyhow::Result<MerchantId> {
        let shop = self.merchant().await?;
        let package = manifests::package(guest, manifests::rule(&guest.id))?;
        self.enabled(package, Scope::Merchant(shop)).await?;
        Ok(shop)
    }

    /// Ken pays at a shop.
    pub(super) async fn pay(&self, shop: MerchantId, yen: i64) -> Result<Payment, Error> {
        self.pays(self.ken, shop, yen).await
    }

    /// A user pays at a shop.
    pub(super) async fn pays(&self, user: UserId, shop: MerchantId, yen: i64) -> Result<Payment, Error> {
        let input = PayInput { merchant: shop, amount: Money::yen(yen), reference: None, hold_s: None };
        Ok(payments::pay(&self.app, &self.of_user(user), input).await?.value)
    }

    /// Installs a guest as a rule, and has it judge one payment of ten yen: what is recorded of the call, if there was one.
    pub(super) async fn judged(&self, guest: &Guest) -> anyhow::Result<Option<Record>> {
        let shop = self.rule(guest).await?;
        // What the rule did is recorded; what the payer is told is the policy's affair.
        let _ = self.pay(shop, 10).await;
        Ok(self.records(&guest.id).await?.into_iter().next())
    }

    /// What is recorded of a plugin, newest first.
    pub(super) async fn records(&self, plugin: &str) -> anyhow::Result<Vec<Record>> {
        let page = Page { after: None, limit: 100 };
        let kept = decisions::list(&self.app, Some(plugin), &page).await?.items;
        kept.iter().map(|kept| Ok(decisions::whole(kept)?)).collect()
    }

    /// Installs a guest as a channel whose partner signs its calls and whose endpoints lie at these base addresses.
    pub(super) async fn channel(&self, guest: &Guest, endpoints: &[(&str, String)]) -> anyhow::Result<()> {
        let names: Vec<&str> = endpoints.iter().map(|(name, _)| *name).collect();
        let endpoints = endpoints.iter().map(|(name, base)| at(name, base.clone()));
        self.channel_of(guest, manifests::channel(&guest.id, &names), endpoints.collect()).await
    }

    /// The same under a manifest of its own.
    pub(super) async fn channel_of(
        &self,
        guest: &Guest,
        manifest: Manifest,
        endpoints: Vec<EndpointInput>,
    ) -> anyhow::Result<()> {
        self.enabled(manifests::package(guest, manifest)?, Scope::Platform).await?;
        let partner = EndpointInput {
            secrets: vec![self.secret.clone()],
            credential: BTreeMap::new(),
            ..at(PARTNER, self.partner.base())
        };
        for endpoint in std::iter::once(partner).chain(endpoints) {
            plugins::set_endpoint(&self.app, &self.operator(), &guest.id, endpoint).await?;
        }
        Ok(())
    }

    /// A user begins a charge through a channel.
    pub(super) async fn begin(&self, user: UserId, channel: &str) -> Result<ChargeView, Error> {
        let at_most = Some(Money::yen(AT_MOST));
        let input = ChargeInput { channel: channel.to_owned(), amount: None, at_most };
        Ok(charges::begin(&self.app, &self.of_user(user), input).await?.value)
    }

    /// The partner of a channel makes a signed call with this body.
    pub(super) async fn say(&self, channel: &str, body: &str) -> Result<InboundReply, Error> {
        let headers = self.signed(body, 0).map_err(|error| Error::Internal(error.to_string()))?;
        self.call(channel, body, &headers).await
    }

    /// The headers with which the partner signs this body, by a clock that is so many seconds ahead.
    pub(super) fn signed(&self, body: &str, ahead_s: i64) -> anyhow::Result<Vec<Header>> {
        self.signed_with(&self.secret, body, ahead_s)
    }

    /// The headers with which somebody else signs this body.
    pub(super) fn signed_by_another(&self, body: &str) -> anyhow::Result<Vec<Header>> {
        self.signed_with(&secret(), body, 0)
    }

    fn signed_with(&self, secret: &str, body: &str, ahead_s: i64) -> anyhow::Result<Vec<Header>> {
        let at = self.app.clock.now().plus_ms(ahead_s * 1_000);
        let id = format!("msg_{}", self.key());
        Ok(signature::sign(&id, body.as_bytes(), &Keyring::parse([secret])?, at).to_vec())
    }

    /// Somebody calls a channel with these headers.
    pub(super) async fn call(&self, channel: &str, body: &str, headers: &[Header]) -> Result<InboundReply, Error> {
        flows::receive(&self.app, self.request(channel, body, headers)).await
    }

    /// A call of a channel as it comes in.
    pub(super) fn request(&self, channel: &str, body: &str, headers: &[Header]) -> InboundRequest {
        InboundRequest {
            plugin: channel.to_owned(),
            operation: SAY.to_owned(),
            path: String::new(),
            query: Vec::new(),
            raw_query: String::new(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    /// The wallet's name, under which guests of the pack expect their partner's call. To be asked before the plugin's next flow begins.
    pub(super) async fn correlation(&self, flow: FlowId) -> anyhow::Result<String> {
        let plugin = flows::get(&self.app, flow).await?.summary.plugin;
        let records = self.records(&plugin).await?;
        let wallets = records.iter().filter_map(|record| match &record.input {
            Input::BeginCharge(request) => Some(request.wallet.clone()),
            Input::BeginWithdraw(request) => Some(request.wallet.clone()),
            _ => None,
        });
        wallets.into_iter().next().context("the beginning is recorded")
    }

    /// Waits until nothing of a flow is under way any more, or it is stuck.
    pub(super) async fn settled(&self, flow: FlowId) -> anyhow::Result<FlowDetail> {
        let settled = async {
            loop {
                let detail = flows::get(&self.app, flow).await?;
                // A call or a timer is open until what came of it was told and answered.
                let waits = |kind| matches!(kind, "call" | "timer");
                let under_way =
                    detail.effects.iter().any(|effect| effect.state == EffectState::Open && waits(effect.kind));
                if detail.summary.stuck.is_some() || (detail.next.is_none() && !under_way) {
                    return Ok(detail);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(SETTLED_WITHIN, settled).await {
            Ok(settled) => settled,
            Err(_) => bail!("a flow did not settle: {:?}", flows::get(&self.app, flow).await?),
        }
    }
}

/// How a recorded call ended: the fault's word, or `answered`.
pub(super) fn ended(record: Option<&Record>) -> String {
    match record.map(|record| &record.ending) {
        Some(Ending::Fault(fault)) => fault.to_string(),
        Some(Ending::Output(_)) => "answered".to_owned(),
        None => "no record".to_owned(),
    }
}

/// What an operator writes down of an endpoint on this machine, with a token.
pub(super) fn at(name: &str, base: String) -> EndpointInput {
    let credential = BTreeMap::from([("token".to_owned(), "a-token-of-the-pack".to_owned())]);
    EndpointInput { name: name.to_owned(), base, allow_private: true, credential, ..EndpointInput::default() }
}

/// A channel that credits what it should: so much, once, when its partner says so.
pub(super) fn honest(id: &str, yen: i64) -> Guest {
    use super::guest::When::{Refused, What};
    use super::scripts::{credit, deliver, expects, reply, waits, with};
    Guest::new(id)
        .answers("charge", "begin", expects())
        .answers("inbound", "route", deliver("$call.body"))
        .when("machine", "resume", &[Refused], with(waits(), "reply", reply(409, "refused")))
        .when("machine", "resume", &[What("message")], credit(yen, "$ctx.call"))
        .answers("machine", "resume", waits())
}

/// Somebody with a wallet and without a password: nobody signs in here, and hashing takes memory that is not what is to be seen.
async fn sign_up(app: &App, name: &str) -> anyhow::Result<UserId> {
    let user = UserRow {
        id: UserId(app.clock.id()),
        kind: WalletKind::Prepaid,
        access: Access::Open,
        verification: Verification::Unverified,
        created_at: app.clock.now(),
        display_name: name.to_owned(),
        email: None,
        password_hash: None,
        locale: "en".to_owned(),
    };
    users::create(&app.store, &user).await?;
    Ok(user.id)
}

async fn merchant(app: &App, name: &str) -> anyhow::Result<MerchantId> {
    let input = NewMerchant { name: name.to_owned(), category: "5812".to_owned() };
    Ok(merchants::create(app, &operators::command_line(""), input).await?.id)
}

/// A secret of the partner's, and nobody's password.
fn secret() -> String {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    clock::fill(&mut bytes);
    format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}
