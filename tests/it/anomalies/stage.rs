//! Two hosts on one database, and what people do there, without a wire between.

use std::sync::Arc;
use std::time::Duration;

use koban_domain::access::{Access, Warrant};
use koban_domain::accounts::PluginKey;
use koban_domain::charges::ChargeCredit;
use koban_domain::guest::Verdict;
use koban_domain::ids::{AuditId, CampaignId, FlowId, KeyId, MerchantId, OperatorId, PaymentId, UserId};
use koban_domain::ledger::{Answer, Audit, Command, Decided, Work};
use koban_domain::limits::WalletKind;
use koban_domain::money::{Currency, Money};
use koban_domain::operations::Claim;
use koban_domain::outcomes::Refusal;
use koban_domain::payments::{Pay, Payment, Terms};
use koban_domain::policy::FailurePolicy;
use koban_domain::transfers::Transfer;
use koban_domain::verification::{Verification, Verify};
use koban_outside::{Outside, Settings};
use koban_service::bonus::CampaignInput;
use koban_service::clock::Clock;
use koban_service::operations::Answered;
use koban_service::payments::PayInput;
use koban_service::transfers::SendInput;
use koban_service::{Actor, App, Ctx, Error, bonus, exchanges, operators, payments, policy, transfers, wallets};
use koban_store::users::UserRow;

use crate::harness::{Database, Kind, TILL, door, limit_dollars, sealer, seed_shop, seed_till, unique};
use crate::load::Dice;

/// Who verifies people.
const OPERATOR: OperatorId = OperatorId(uuid::Uuid::nil());

/// Where races happen.
pub(crate) struct Stage {
    pub(crate) database: Database,
    pub(crate) hosts: [App; 2],
    /// A merchant that everybody pays.
    pub(crate) shop: MerchantId,
    /// What grants bonus.
    pub(crate) campaign: CampaignId,
}

/// What somebody was told, as far as races care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said<T> {
    /// Done.
    Done(T),
    /// Done before, under the same key.
    Again(T),
    /// Refused for good.
    No(Refusal),
    /// The same key is running.
    Running,
    /// The key was used for something else.
    Reused,
}

impl<T> Said<T> {
    pub(crate) fn of(result: Result<Answered<T>, Error>) -> Said<T> {
        match result {
            Ok(Answered { value, replayed: false }) => Said::Done(value),
            Ok(Answered { value, replayed: true }) => Said::Again(value),
            Err(Error::Refused { refusal, .. }) => Said::No(refusal),
            Err(Error::KeyRunning) => Said::Running,
            Err(Error::KeyReused) => Said::Reused,
            Err(other) => panic!("neither done nor refused: {other:?}"),
        }
    }

    /// Whether it was done by this very request.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Said::Done(_))
    }
}

impl Stage {
    /// Two hosts that allow what no rule judges.
    pub(crate) async fn open() -> Arc<Stage> {
        let database = Database::fresh().await;
        let mut hosts = Vec::new();
        for _ in 0..2 {
            let outside = Outside::new(Settings::default()).expect("the way out opens");
            let store = database.store().await;
            hosts.push(App::start(store, door(), outside, Clock::machine(), sealer()).await.expect("a host starts"));
        }
        let hosts: [App; 2] = hosts.try_into().unwrap_or_else(|_| panic!("two hosts"));
        let allow = FailurePolicy { on_fault: Verdict::Decline, on_missing: Verdict::Allow };
        policy::set(&hosts[0], &operators::command_line(unique("op")), allow).await.expect("the policy is set");
        let operator = operators::command_line(unique("op"));
        limit_dollars(&hosts[0], &operator).await;
        let offered = exchanges::put_currency(&hosts[0], &operator, usd(), 1_000_000_000);
        offered.await.expect("dollars are offered");
        seed_till(&hosts[0]).await;
        let (shop, _) = seed_shop(&hosts[0], "5812").await;
        for host in &hosts {
            host.ledger.refresh().await.expect("it looks");
        }
        let input = CampaignInput {
            name: "a race".into(),
            budget: Money::yen(1_000_000_000),
            open: true,
            ends_at: None,
            per_user: None,
            bound: None,
            reason: "a race".into(),
        };
        let campaign = bonus::begin(&hosts[0], &operator, input);
        let campaign = campaign.await.expect("a campaign").value.id;
        Arc::new(Stage { database, hosts, shop, campaign })
    }

    /// One of the hosts.
    pub(crate) fn host(&self, number: usize) -> &App {
        &self.hosts[number % 2]
    }

    /// A verified user with so many yen, made without a password: hashing would be most of the race.
    pub(crate) async fn person(&self, yen: i64) -> UserId {
        let app = self.host(0);
        let id = UserId(app.clock.id());
        let row = UserRow {
            id,
            kind: WalletKind::Prepaid,
            access: Access::Open,
            verification: Verification::Unverified,
            created_at: app.clock.now(),
            display_name: "Hana".into(),
            email: None,
            password_hash: None,
            locale: "en".into(),
        };
        koban_store::users::create(&app.store, &row).await.expect("a user");
        let mut work = Work::new(app.clock.id(), Actor::Operator(OPERATOR).to_string());
        work.commands = vec![Command::Verify(Verify { user: id, operator: OPERATOR })];
        work.audit = vec![audit(app, "user.verify", id.to_string())];
        if yen > 0 {
            work.commands.push(credit(app, id, yen, unique("till")));
        }
        match app.ledger.commit(work).await.expect("the ledger answers") {
            Decided::Done(_) => id,
            other => panic!("{other:?}"),
        }
    }

    /// A payment through one of the hosts.
    pub(crate) async fn pay(&self, host: usize, who: UserId, yen: i64, key: &str) -> Said<Payment> {
        let input = PayInput { merchant: self.shop, amount: Money::yen(yen), reference: None, hold_s: None };
        Said::of(payments::pay(self.host(host), &user(who, key), input).await)
    }

    /// A transfer through one of the hosts.
    pub(crate) async fn send(&self, host: usize, from: UserId, to: UserId, yen: i64) -> Said<Transfer> {
        let input = SendInput { receiver: to, amount: Money::yen(yen), message: None };
        Said::of(transfers::send(self.host(host), &user(from, &unique("send")), input).await)
    }

    /// Something that is paid, or held for so many milliseconds; by its payer, under a key of its own, with no rule between.
    pub(crate) async fn paid(&self, who: UserId, yen: i64, held_ms: Option<i64>) -> Payment {
        self.paid_to(self.shop, who, yen, held_ms).await
    }

    /// The same to another merchant.
    pub(crate) async fn paid_to(&self, merchant: MerchantId, who: UserId, yen: i64, held_ms: Option<i64>) -> Payment {
        let app = self.host(0);
        let payment = PaymentId(app.clock.id());
        let terms = held_ms.map_or(Terms::AtOnce, |for_ms| Terms::Held { for_ms });
        let amount = Money::yen(yen);
        let pay = Pay { payment, payer: who, merchant, amount, reference: None, decision: None, terms, review: false };
        match self.asked(0, Actor::User(who), None, Command::Pay(pay)).await {
            Ok(Answer::Paid(payment)) => payment,
            other => panic!("{other:?}"),
        }
    }

    /// A command by this actor, under a key of its own.
    pub(crate) async fn asked(
        &self,
        host: usize,
        actor: Actor,
        key: Option<KeyId>,
        command: Command,
    ) -> Result<Answer, Refusal> {
        let app = self.host(host);
        let mut work = Work::new(app.clock.id(), actor.to_string());
        work.operation = Some(Claim::new(&actor.to_string(), &unique("asked"), "POST /v1/test", b"{}"));
        work.key = key;
        work.commands = vec![command];
        decided(app.ledger.commit(work).await.expect("the ledger answers"))
    }

    /// A command by this actor whose authority may end meanwhile: whether it was done.
    pub(crate) async fn warranted(&self, host: usize, actor: Actor, warrant: Warrant, command: Command) -> bool {
        let app = self.host(host);
        let mut work = Work::new(app.clock.id(), actor.to_string());
        work.operation = Some(Claim::new(&actor.to_string(), &unique("asked"), "POST /v1/test", b"{}"));
        work.warrant = Some(warrant);
        work.commands = vec![command];
        match app.ledger.commit(work).await.expect("the ledger answers") {
            Decided::Done(_) => true,
            Decided::SignedOut => false,
            other => panic!("{other:?}"),
        }
    }

    /// A command that no request asked for.
    pub(crate) async fn told(&self, host: usize, command: Command) -> Result<Answer, Refusal> {
        let app = self.host(host);
        let mut work = Work::new(app.clock.id(), Actor::System.to_string());
        work.commands = vec![command];
        decided(app.ledger.commit(work).await.expect("the ledger answers"))
    }

    /// The entries of captures of what this user holds, by sequence.
    pub(crate) async fn captures_of(&self, who: UserId) -> Vec<i64> {
        let sql = format!(
            "select sequence from entries where kind = 10 and subject in
             (select c.id from captures c join payments p on p.id = c.payment where p.payer = {}) order by sequence",
            self.blob(who)
        );
        self.database.hand().await.numbers(&sql).await
    }

    /// An id as this store writes it in a statement.
    fn blob(&self, id: UserId) -> String {
        match self.database.kind {
            Kind::Sqlite => format!("x'{}'", hex::encode(id.bytes())),
            Kind::Postgres => format!("decode('{}', 'hex')", hex::encode(id.bytes())),
        }
    }

    /// What somebody has of bonus, as the other host sees it.
    pub(crate) async fn bonus(&self, who: UserId) -> i64 {
        wallets::balances(self.host(1), who).await.expect("a wallet").bonus.left.minor
    }

    /// What somebody has, as the other host sees it.
    pub(crate) async fn balance(&self, who: UserId) -> i64 {
        let wallet = wallets::balances(self.host(1), who).await.expect("a wallet");
        wallet.prepaid.minor + wallet.funds.minor
    }
}

fn decided(decided: Decided) -> Result<Answer, Refusal> {
    match decided {
        Decided::Done(mut answers) => Ok(answers.pop().expect("an answer")),
        Decided::Refused(_, refusal) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

/// The circumstances of a user's request.
pub(crate) fn user(who: UserId, key: &str) -> Ctx {
    Ctx::new(Actor::User(who), key)
}

/// An audit row of the operator at the command line.
pub(crate) fn audit(app: &App, act: &str, subject: String) -> Audit {
    let actor = Actor::Operator(OPERATOR).to_string();
    Audit { id: AuditId(app.clock.id()), actor, act: act.to_owned(), subject, detail: "{}".to_owned() }
}

/// Money that simply comes.
pub(crate) fn credit(app: &App, user: UserId, yen: i64, reference: String) -> Command {
    Command::Credit(ChargeCredit {
        plugin: PluginKey::of(TILL),
        flow: FlowId(app.clock.id()),
        user,
        amount: Money::yen(yen),
        reference,
        arrived: true,
    })
}

/// An amount between one and a thousand yen.
pub(crate) fn some_yen(dice: &mut Dice) -> i64 {
    1 + i64::try_from(dice.below(1_000)).unwrap_or(0)
}

/// Which host begins.
pub(crate) fn first(dice: &mut Dice) -> usize {
    usize::try_from(dice.below(2)).unwrap_or(0)
}

/// A moment, so that now one comes first and now the other.
pub(crate) fn moment(dice: &mut Dice) -> Duration {
    Duration::from_micros(dice.below(5) * 1_500)
}

/// Dollars.
pub(crate) fn usd() -> Currency {
    Currency::new("USD").expect("a currency")
}
