//! Asking a plugin about an event: what it is told, and what its answer means for the books.

use koban_domain::accounts::PluginKey;
use koban_domain::bonus::{Campaign, Grant};
use koban_domain::events::{self, Concern};
use koban_domain::gifts::{Gift, GiftKey, TakeBack};
use koban_domain::guest::{About, Action, BudgetBonus, Happening, Named, Remembered};
use koban_domain::ids::{LotId, PaymentId, UserId};
use koban_domain::ledger::{Command, News, SealedRecord};
use koban_domain::policy::{PluginInForce, Policy, Reliance};
use koban_domain::records::{FaultClass, Input, Output};
use koban_domain::releases::Scope;
use koban_domain::subscriptions::{Kept, Put, VALUE_BYTES_MAX, Whose, value_bytes};
use koban_domain::time::{Timestamp, beginning_of_day};
use koban_runtime::Plugin;
use koban_store::{payments, subscriptions as rows, users};

use crate::app::App;
use crate::error::Error;
use crate::flows::begin::wallet_name;
use crate::guests::{self, For};

/// What an answer means.
pub(super) struct Answer {
    /// What is remembered and forgotten.
    pub(super) puts: Vec<Put>,
    /// What is granted and taken back, in order.
    pub(super) commands: Vec<Command>,
    /// Whether something is taken back: it must see what the events before this one left.
    pub(super) takes_back: bool,
}

/// What came of a call.
pub(super) enum Asked {
    /// An answer that the books can take.
    Answered(Answer),
    /// No answer, in words for operators.
    Faulted(String),
    /// The host had no free slot; it says nothing of the plugin.
    Busy,
}

/// The component that an answer rests on: it must still be the one in force.
pub(super) fn reliance(plugin: &Plugin) -> Reliance {
    Reliance { plugin: plugin.id().to_owned(), digest: plugin.digest(), in_force: true }
}

/// Whom and what an event is about. A capture names its payer by the payment.
pub(super) async fn concerned(app: &App, news: &News) -> Result<Concern, Error> {
    let concern = events::concern(news);
    match concern {
        Concern { user: None, payment: Some(payment), .. } => {
            let user = payments::by_id(&app.store, payment).await?.map(|payment| payment.payer);
            Ok(Concern { user, ..concern })
        }
        _ => Ok(concern),
    }
}

/// Which release of a plugin hears of an event, and the scope that says so: what is in force for its merchant, and the same one for the same
/// user always. None if none is.
pub(super) fn chosen(policy: &Policy, plugin: &str, news: &News, concern: &Concern) -> Option<(Scope, PluginInForce)> {
    let scopes: Vec<Scope> = news.merchant.map(Scope::Merchant).into_iter().chain([Scope::Platform]).collect();
    let person = concern.user.map_or(news.id.bytes(), |user| user.bytes());
    let (scope, version) = policy.chosen_at(plugin, &scopes, &person)?;
    Some((scope.clone(), version))
}

/// Gives an event to a plugin that hears of it at this scope, with what it has remembered.
pub(super) async fn ask(
    app: &App,
    (scope, plugin): (&Scope, &Plugin),
    (news, concern): (&News, Concern),
    known: &[Kept],
) -> Result<(Asked, SealedRecord), Error> {
    let now = app.clock.now();
    let user = match concern.user {
        Some(user) => users::by_id(&app.store, user).await?,
        None => None,
    };
    let mut facts = Vec::new();
    for name in &plugin.manifest().facts {
        let Some(user) = &user else { continue };
        match name.as_str() {
            "account.kind" => facts.push(Named::text(name, user.kind.word())),
            "account.age_days" => {
                const DAY_MS: i64 = 86_400_000;
                facts.push(Named::whole(name, news.at.since_ms(user.created_at).max(0) / DAY_MS));
            }
            _ => {}
        }
    }
    let happening = Happening {
        id: news.id.to_string(),
        kind: news.kind.clone(),
        at: u64::try_from(news.at.0).unwrap_or(0),
        amount: concern.amount,
        user: concern.user.map(|user| wallet_name(plugin.id(), user)),
        merchant: news.merchant.map(|merchant| merchant.to_string()),
        facts,
    };
    let remembered = known.iter().filter(|kept| !kept.is_over(now)).map(|kept| Remembered {
        about: if kept.whose == Whose::SCOPE { About::Scope } else { About::User },
        name: kept.name.clone(),
        value: kept.value.clone(),
    });
    let locale = user.as_ref().map_or("en", |user| user.locale.as_str());
    let scope = scope.to_string();
    let whom = For { scope: &scope, locale, about: concern.user };
    let input = Input::OnEvent(happening, remembered.collect());
    let (answer, record) = guests::call(app, plugin, whom, input).await;
    let asked = match answer {
        Ok(Output::Actions(actions)) => {
            let about = Case { plugin, news, concern };
            match about.mean(app, &actions, now).await? {
                Ok(answer) => Asked::Answered(answer),
                Err(why) => Asked::Faulted(why),
            }
        }
        Ok(Output::Failure(failure)) => Asked::Faulted(format!("{}: {}", failure.code, failure.message)),
        Ok(_) => Asked::Faulted("the answer belongs to another function".to_owned()),
        Err(fault) if fault.class == FaultClass::Busy => Asked::Busy,
        Err(fault) => Asked::Faulted(fault.to_string()),
    };
    Ok((asked, record))
}

/// An event as a plugin answers it.
struct Case<'a> {
    plugin: &'a Plugin,
    news: &'a News,
    concern: Concern,
}

impl Case<'_> {
    /// What the actions mean. `Err`: why they mean nothing, for operators.
    async fn mean(&self, app: &App, actions: &[Action], now: Timestamp) -> Result<Result<Answer, String>, Error> {
        let mut answer = Answer { puts: Vec::new(), commands: Vec::new(), takes_back: false };
        let needs = |action: &Action| matches!(action, Action::Bonus(_));
        let budgets = match actions.iter().any(needs) {
            true => rows::budgets(&app.store, self.plugin.id()).await?,
            false => Default::default(),
        };
        for action in actions {
            let taken = match action {
                Action::Tell(_) => Err("this host does not tell users texts of plugins yet".to_owned()),
                Action::Begin(_) => Err("this host does not begin flows for events yet".to_owned()),
                Action::Put(put) => self.put(put).map(|put| answer.puts.push(put)),
                Action::Bonus(bonus) => {
                    let granted = self.grant(app, bonus, budgets.get(&bonus.budget), now);
                    granted.map(|command| answer.commands.push(command))
                }
                Action::Reclaim(budget) => {
                    answer.takes_back = true;
                    match self.concern.payment {
                        Some(payment) => {
                            answer.commands.extend(self.take_back(app, budget, payment).await?);
                            Ok(())
                        }
                        None => Err("the event is about no payment, so nothing can be reclaimed".to_owned()),
                    }
                }
            };
            if let Err(why) = taken {
                return Ok(Err(why));
            }
        }
        Ok(Ok(answer))
    }

    fn put(&self, put: &koban_domain::guest::Put) -> Result<Put, String> {
        let whose = match (put.about, self.concern.user) {
            (About::Scope, _) => Whose::SCOPE,
            (About::User, Some(user)) => Whose(user),
            (About::User, None) => return Err("the event is about no user, so nothing is remembered of one".to_owned()),
        };
        if let Some(value) = &put.value
            && value_bytes(value) > VALUE_BYTES_MAX
        {
            return Err(format!(
                "`{}` has {} bytes, at most {VALUE_BYTES_MAX} are remembered",
                put.name,
                value_bytes(value)
            ));
        }
        let moment = |at: u64| Timestamp(i64::try_from(at).unwrap_or(i64::MAX));
        let value = put.value.clone().map(|value| (value, put.expires.map(moment)));
        Ok(Put { whose, name: put.name.clone(), value })
    }

    fn grant(
        &self,
        app: &App,
        bonus: &BudgetBonus,
        campaign: Option<&Campaign>,
        now: Timestamp,
    ) -> Result<Command, String> {
        let user: UserId = self.concern.user.ok_or("the event is about no user, so nothing can be granted")?;
        let bound = campaign.and_then(|campaign| Some((campaign.id, campaign.bound.as_ref()?)));
        let (campaign, bound) = bound.ok_or_else(|| {
            format!("no campaign is bound to the budget `{}`; bind one, then try the event again", bonus.budget)
        })?;
        let grant = Grant {
            lot: LotId(app.clock.id()),
            user,
            campaign,
            amount: bonus.amount,
            usable_from: None,
            expires_at: beginning_of_day(now.jst_day().saturating_add(i32::from(bound.lasts_days))),
            reason: bonus.reason.clone(),
        };
        let plugin = self.plugin.id().to_owned();
        let key = GiftKey { plugin: PluginKey::of(&plugin), budget: bonus.budget.clone(), event: self.news.id };
        Ok(Command::Gift(Gift { plugin, key, payment: self.concern.payment, grant }))
    }

    async fn take_back(&self, app: &App, budget: &str, payment: PaymentId) -> Result<Vec<Command>, Error> {
        let gifts = rows::gifts_of(&app.store, (self.plugin.id(), budget), payment).await?;
        Ok(gifts.into_iter().map(|(key, of)| Command::TakeBack(TakeBack { key, of, payment })).collect())
    }
}
