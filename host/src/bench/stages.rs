//! Where a payment's processor time goes: stages of the full path run alone by as many clients, their processor time divided
//! by the calls, and what is left of the whole path for the commit.

use std::sync::Arc;

use anyhow::bail;
use koban_domain::guest::AssessPayment;
use koban_domain::ids::{MerchantId, PaymentId, UserId};
use koban_domain::limits::WalletKind;
use koban_domain::operations::Claim;
use koban_domain::releases::Scope;
use koban_domain::signals::{SubjectKey, Subjects};
use koban_service::ctx::{Actor, Ctx};
use koban_service::fraud::{self, Case};
use koban_service::payments::{self, PayInput};
use koban_service::reads::Asked;
use koban_service::users;

use super::clients::{self, Client, Measured, Outcome, Span};
use super::figures;
use super::processor::Spent;
use super::random::Random;
use super::workloads::{FullPayments, amount, device, key};
use super::world::World;

/// One line of the table, in microseconds of processor time for each payment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    /// What is done in it.
    pub(super) name: &'static str,
    /// By the host. On SQLite the database is part of it.
    pub(super) host_us: f64,
    /// By the database's server.
    pub(super) database_us: f64,
}

/// The stages in the order in which a payment meets them, and last the whole path. Also how many payments were made, for the
/// audit.
pub(super) async fn measure(world: &Arc<World>, clients: usize, span: Span) -> anyhow::Result<(Vec<Stage>, u64)> {
    let (mut stages, mut done) = (Vec::new(), 0);
    for (part, name) in [
        (Part::Identity, "token hash, session"),
        (Part::Reads, "reads: key, payer, merchant, signals"),
        (Part::Fraud, "fraud call with its record"),
        (Part::Pay, "commit: decide, rows, record, outbox"),
    ] {
        let alone = |stream| Alone { world: Arc::clone(world), random: Random::new(STREAMS, stream), part };
        let (measured, spent) = timed(world, span, (0_u64..).take(clients).map(alone).collect()).await?;
        let stage = line(name, &measured, spent);
        // Paying contains reads and fraud; the commit is what it has beside them.
        stages.push(if part == Part::Pay { rest(name, stage, &stages[1..]) } else { stage });
        done += if part == Part::Pay { measured.done } else { 0 };
    }
    let (measured, spent) = timed(world, span, FullPayments::clients(world, clients, STREAMS)).await?;
    let whole = line("the whole path", &measured, spent);
    stages.push(rest("HTTP: layers, rate limit, JSON", whole, &stages));
    stages.push(whole);
    Ok((stages, done + measured.done))
}

/// What a stage has beside these.
fn rest(name: &'static str, whole: Stage, parts: &[Stage]) -> Stage {
    Stage {
        name,
        host_us: figures::less(whole.host_us, parts.iter().map(|stage| stage.host_us)),
        database_us: figures::less(whole.database_us, parts.iter().map(|stage| stage.database_us)),
    }
}

/// The seed of these runs.
const STREAMS: u64 = 0x57a6e;

async fn timed<C: Client>(world: &World, span: Span, clients: Vec<C>) -> anyhow::Result<(Measured, Spent)> {
    let before = world.processor.spent();
    let measured = clients::run(span, clients).await?;
    Ok((measured, world.processor.spent().since(before)))
}

fn line(name: &'static str, measured: &Measured, spent: Spent) -> Stage {
    Stage {
        name,
        host_us: figures::share_us(spent.host, measured.done),
        database_us: figures::share_us(spent.database, measured.done),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Identity,
    Reads,
    Fraud,
    Pay,
}

struct Alone {
    world: Arc<World>,
    random: Random,
    part: Part,
}

impl Client for Alone {
    async fn request(&mut self) -> anyhow::Result<Outcome> {
        let (world, random) = (&self.world, &mut self.random);
        let at = random.place(world.tokens.len());
        let (payer, token) = (world.users[at], &world.tokens[at]);
        let merchant = world.merchants[random.place(world.merchants.len())];
        match self.part {
            Part::Identity => {
                users::by_token(&world.app, token).await?;
            }
            Part::Reads => {
                let claim = Claim::new(&Actor::User(payer).to_string(), &key(random), "POST /v1/payments", b"{}");
                world.app.reads.payment(Asked::payment(&claim, payer, merchant, &subjects(payer, merchant))).await?;
            }
            Part::Fraud => judge(world, random, payer, merchant).await?,
            Part::Pay => {
                let mut ctx = Ctx::new(Actor::User(payer), key(random));
                ctx.device = Some(device(payer));
                let input = PayInput { merchant, amount: amount(random), reference: None, hold_s: None };
                payments::pay(&world.app, &ctx, input).await?;
            }
        }
        Ok(Outcome::Done)
    }
}

async fn judge(world: &World, random: &mut Random, payer: UserId, merchant: MerchantId) -> anyhow::Result<()> {
    let app = &world.app;
    let device = device(payer);
    let case = Case {
        payment: AssessPayment {
            id: PaymentId(app.clock.id()).to_string(),
            kind: "payment".to_owned(),
            amount: amount(random),
            at: u64::try_from(app.clock.now().0).unwrap_or(0),
        },
        payer,
        subjects: subjects(payer, merchant),
        rings: Vec::new(),
        kind: WalletKind::Funds,
        since: app.clock.now(),
        first_time: false,
        device: Some(&device),
        category: Some("5812"),
        locale: "ja",
        scopes: &[Scope::Merchant(merchant), Scope::Platform],
    };
    if fraud::assess(app, &case).await?.records.is_empty() {
        bail!("no rule was asked");
    }
    Ok(())
}

fn subjects(payer: UserId, merchant: MerchantId) -> Subjects {
    Subjects {
        user: SubjectKey::user(payer),
        merchant: Some(SubjectKey::merchant(merchant)),
        device: Some(SubjectKey::device(&device(payer))),
    }
}
