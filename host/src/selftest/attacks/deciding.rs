//! Attacks by answers that decide about money without a flow: prices for exchanges, and what tools grant for events.

use std::time::Duration;

use koban_domain::exchanges::Pair;
use koban_domain::gifts::Bound;
use koban_domain::guest::Side;
use koban_domain::ids::{CampaignId, MerchantId};
use koban_domain::limits::{Action, Limit, WalletKind, Window};
use koban_domain::money::{Currency, Money};
use koban_domain::records::Input;
use koban_domain::releases::Scope;
use koban_service::bonus::{self, CampaignInput};
use koban_service::differences::{self, WriteOffInput};
use koban_service::page::Page;
use koban_service::quotes::{self, QuoteInput};
use koban_service::{Error, exchanges, limits, plugins, subscriptions};
use serde_json::{Value, json};

use super::Tries;
use super::money::came_of;
use crate::selftest::guest::Guest;
use crate::selftest::guest::When::{self, Is};
use crate::selftest::manifests::{self, BUDGET};
use crate::selftest::stage::{Stage, ended, honest};

/// What the platform itself holds a dollar to be worth, in yen, and how far a price may be from that.
const MID: &str = "112.75";
const BAND: &str = "0.05";
/// The most dollars that the platform lets itself be short of, in cents.
const POSITION_CENTS: i64 = 1_500;
/// How long an event is waited for, and how often it is looked at.
const HEARD_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A price of a dollar in yen.
fn price(mantissa: i64, scale: u8, fixed: Value, expires: i64) -> Value {
    json!({ "ok": {
        "base": "USD", "quote": "JPY", "rate": { "mantissa": mantissa, "scale": scale }, "mid": { "mantissa": 11_275, "scale": 2 },
        "fixed": fixed, "expires": expires,
    } })
}

/// Offers dollars at a reference of the platform's own. No earlier price is named again in place of a refused one.
async fn offer_dollars(stage: &Stage) -> anyhow::Result<Currency> {
    let (app, ctx, usd) = (&stage.app, stage.operator(), Currency::new("USD")?);
    for (action, window) in [(Action::Hold, Window::Once), (Action::Send, Window::Day)] {
        let amount = Money::new(1_000_000, usd);
        let limit = Limit { wallet: WalletKind::Funds, action, window, amount, from: app.clock.now() };
        limits::put(app, &ctx, limit).await?;
    }
    exchanges::put_currency(app, &ctx, usd, POSITION_CENTS).await?;
    exchanges::put_reference(app, &ctx, Pair { base: usd, quote: Currency::JPY }, MID, "0.01").await?;
    quotes::set_policy(app, &ctx, BAND, 0).await?;
    Ok(usd)
}

/// Prices far from the platform's own, of no money, of another pair, too long, too old; then one below cost, as far as the band goes.
pub(super) async fn prices(stage: &Stage) -> Tries {
    let usd = offer_dollars(stage).await?;
    let now = stage.app.clock.now().0;
    let soon = now + 60_000;
    let fixed = || json!("$ctx.now");
    let mut another = price(11_275, 2, fixed(), soon);
    another["ok"]["base"] = json!("EUR");
    let long_ago = json!(now - 30 * 86_400_000);
    // Which one is named says the amount that is asked about.
    let made_up = [
        price(11_839, 2, fixed(), soon),
        price(10_711, 2, fixed(), soon),
        price(i64::MAX, 4, fixed(), soon),
        price(i64::MAX, 0, fixed(), soon),
        price(0, 0, fixed(), soon),
        price(-11_275, 2, fixed(), soon),
        another,
        price(11_275, 2, fixed(), now + 3_600_000),
        price(11_275, 2, fixed(), now - 1),
        price(11_275, 2, long_ago, soon),
    ];
    let below_cost = price(10_825, 2, fixed(), soon);
    let mut guest = Guest::new("prices").answers("rates", "parse", json!({ "ok": [] }));
    for (number, price) in (100..).zip(&made_up) {
        guest = guest.when("quote", "quote", &[Is("request.amount.minor", number)], price.clone());
    }
    let guest = guest.answers("quote", "quote", below_cost);
    stage.enabled(manifests::package(&guest, manifests::exchange(&guest.id))?, Scope::Platform).await?;
    let user = stage.somebody().await?;
    let ask = async |yen: i64| {
        let input = QuoteInput { sell: Currency::JPY, buy: usd, amount: Money::yen(yen) };
        quotes::ask(&stage.app, &stage.of_user(user), input).await
    };
    let mut seen = Vec::new();
    for (number, _) in (100..).zip(&made_up) {
        seen.push(match ask(number).await {
            Ok(quote) => format!("quoted: {}", quote.rate),
            Err(error) => super::refusal(&error),
        });
    }
    // Within the band the platform stands by it, and loses at most the band of its position.
    for yen in [1_000, 1_000] {
        let quote = ask(yen).await?;
        seen.push(match quotes::accept(&stage.app, &stage.of_user(user), quote.id).await {
            Ok(_) => "answered".to_owned(),
            Err(error) => super::refusal(&error),
        });
    }
    Ok(seen)
}

/// A wish for a bonus out of the tool's budget.
fn wish(minor: i64) -> Value {
    json!({ "bonus": { "budget": BUDGET, "amount": { "minor": minor, "currency": "JPY" }, "reason": "known" } })
}

/// The same with another field.
fn wish_with(field: &str, value: Value) -> Value {
    let mut wish = wish(100);
    wish["bonus"][field] = value;
    wish
}

/// A tool that answers so, where it hears of payments at a shop of its own, with a campaign of so many yen.
async fn tool(
    stage: &Stage,
    guest: &Guest,
    budget: i64,
    per_user: Option<i64>,
) -> anyhow::Result<(MerchantId, CampaignId)> {
    let shop = stage.merchant().await?;
    let package = manifests::package(guest, manifests::tool(&guest.id, &["payment.captured"]))?;
    stage.enabled(package, Scope::Merchant(shop)).await?;
    Ok((shop, campaign(stage, &guest.id, budget, per_user).await?))
}

async fn campaign(stage: &Stage, plugin: &str, budget: i64, per_user: Option<i64>) -> anyhow::Result<CampaignId> {
    let input = CampaignInput {
        name: "Attacked".to_owned(),
        budget: Money::yen(budget),
        open: true,
        ends_at: None,
        per_user,
        bound: Some(Bound { plugin: plugin.to_owned(), budget: BUDGET.to_owned(), lasts_days: 30 }),
        reason: "for an attack".to_owned(),
    };
    Ok(bonus::begin(&stage.app, &stage.operator(), input).await?.value.id)
}

fn answers(id: &str, actions: Value) -> Guest {
    answers_when(id, Vec::new(), actions)
}

fn answers_when(id: &str, when: Vec<(Vec<When>, Value)>, otherwise: Value) -> Guest {
    let mut guest = Guest::new(id);
    for (when, actions) in when {
        guest = guest.when("on-event", "on-event", &when, json!({ "ok": actions }));
    }
    guest.answers("on-event", "on-event", json!({ "ok": otherwise }))
}

/// Waits until a plugin was told of so many events: how the last call ended.
async fn told(stage: &Stage, plugin: &str, events: usize) -> anyhow::Result<String> {
    let told = async {
        loop {
            let records = stage.records(plugin).await?;
            let calls: Vec<_> = records.iter().filter(|record| matches!(record.input, Input::OnEvent(..))).collect();
            if calls.len() >= events {
                return anyhow::Ok(ended(calls.first().copied()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(HEARD_WITHIN, told).await?
}

/// More than the budget has, more than a user's share, and two for one event.
pub(super) async fn greedy_bonuses(stage: &Stage) -> Tries {
    let mut seen = Vec::new();
    for (id, actions, budget, per_user, payments, most) in [
        ("over-budget", json!([wish(600)]), 1_000, None, 3, 600),
        ("over-share", json!([wish(200)]), 10_000, Some(300), 3, 200),
        ("twice-for-one", json!([wish(100), wish(100)]), 10_000, None, 1, 100),
    ] {
        let guest = answers(id, actions);
        let (shop, campaign) = tool(stage, &guest, budget, per_user).await?;
        let user = stage.somebody().await?;
        for number in 1..=payments {
            stage.pays(user, shop, 10).await?;
            told(stage, id, number).await?;
        }
        let granted = bonus::campaign(&stage.app, campaign).await?.granted;
        seen.push(if granted == most { "granted once".to_owned() } else { format!("{granted} yen granted") });
    }
    Ok(seen)
}

/// Out of a budget that is not its own, of no money, less than nothing, for a reason that nobody knows; and what hosts do not do for tools.
pub(super) async fn wild_bonuses(stage: &Stage) -> Tries {
    let dollars = json!({ "minor": 100, "currency": "USD" });
    let wishes = [
        wish_with("amount", json!({ "minor": -100, "currency": "JPY" })),
        wish_with("amount", json!({ "minor": 0, "currency": "JPY" })),
        wish_with("reason", json!("Call +81-3-0000-0000")),
        wish_with("budget", json!("of-somebody-else")),
        wish_with("amount", dollars),
    ];
    let mut seen = Vec::new();
    for (number, wish) in wishes.into_iter().enumerate() {
        let guest = answers(&format!("wild-bonus-{}", number + 1), json!([wish]));
        let (shop, campaign) = tool(stage, &guest, 10_000, None).await?;
        stage.pay(shop, 10).await?;
        let ended = told(stage, &guest.id, 1).await?;
        let granted = bonus::campaign(&stage.app, campaign).await?.granted;
        seen.push(match (granted, ended) {
            (0, ended) if ended == "answered" => "nothing granted".to_owned(),
            (0, ended) => ended,
            (granted, _) => format!("{granted} yen granted"),
        });
    }
    Ok(seen)
}

/// Lets the plugin's partner bring a credit that it never settles, and closes it as lost.
async fn lose(stage: &Stage, channel: &str) -> Result<String, Error> {
    let failed = |error: anyhow::Error| Error::Internal(error.to_string());
    let flow = stage.begin(stage.ken, channel).await?.id;
    let correlation = stage.correlation(flow).await.map_err(failed)?;
    stage.say(channel, &correlation).await?;
    let detail = stage.settled(flow).await.map_err(failed)?;
    let reference = detail.credits.first().map(|credit| credit.reference.clone()).unwrap_or_default();
    let reason = "its partner never paid".to_owned();
    let input = WriteOffInput { plugin: channel.to_owned(), side: Side::Credit, reference, reason };
    let written = differences::write_off(&stage.app, &stage.operator(), input).await?;
    Ok(format!("{} yen written off", written.value.lost.minor))
}

/// An event that is about no user: there is nobody to whom a tool could give.
pub(super) async fn bonus_for_nobody(stage: &Stage) -> Tries {
    let guest = answers("bonus-for-nobody", json!([wish(100)]));
    let package = manifests::package(&guest, manifests::tool(&guest.id, &["difference.closed"]))?;
    stage.enabled(package, Scope::Platform).await?;
    let campaign = campaign(stage, &guest.id, 10_000, None).await?;
    let channel = honest("lost-for-nobody", 100);
    stage.channel(&channel, &[]).await?;
    plugins::set_caps(&stage.app, &stage.operator(), &channel.id, 10_000, 10_000).await?;
    // It hears what comes after it has begun to listen.
    let listens = async {
        while subscriptions::get(&stage.app, &guest.id).await.is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(HEARD_WITHIN, listens).await?;
    lose(stage, &channel.id).await?;
    let set_aside = async {
        loop {
            let page = Page { after: None, limit: 1 };
            if let Some(parked) = subscriptions::parked(&stage.app, &guest.id, &page).await?.items.pop() {
                return anyhow::Ok(parked.reason);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let reason = tokio::time::timeout(HEARD_WITHIN, set_aside).await??;
    let granted = bonus::campaign(&stage.app, campaign).await?.granted;
    Ok(vec![
        format!("set aside: {reason}"),
        if granted == 0 { "nothing granted".to_owned() } else { format!("{granted} yen granted") },
    ])
}

/// What its partner did not pay was written off until its loss budget was used up.
pub(super) async fn loss_budget(stage: &Stage) -> Tries {
    let guest = honest("loss-budget", 1_000);
    stage.channel(&guest, &[]).await?;
    plugins::set_caps(&stage.app, &stage.operator(), &guest.id, 10_000, 1_000).await?;
    // Both began before anything was lost.
    let late = stage.begin(stage.mallory, &guest.id).await?.id;
    let correlation = stage.correlation(late).await?;
    let mut seen = vec![lose(stage, &guest.id).await?];
    stage.say(&guest.id, &correlation).await?;
    seen.push(came_of(stage, late).await?);
    let lost = plugins::get(&stage.app, &guest.id).await?.exposure.map_or(0, |exposure| exposure.lost.minor);
    seen.push(if lost <= 1_000 { "within its budget".to_owned() } else { format!("{lost} yen lost") });
    Ok(seen)
}
