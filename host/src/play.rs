//! The play: a day in the life of a wallet, over HTTP, each line with amount, plugin, decision and microseconds.

mod links;

use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Method;
use koban_domain::ids::MerchantId;
use koban_service::page::Page;
use koban_service::{App, decisions, plugins, verify};
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::up::Stage;

/// Hana signs up, charges and pays.
pub(crate) const HANA: &str = "hana@example.com";
/// Ken gets a transfer.
pub(crate) const KEN: &str = "ken@example.com";
/// A device that the fraud rules are told to deny.
const STOLEN: &str = "stolen-phone";

/// From this many yen on a payment brings bonus: the payments of the main job are smaller.
pub(crate) const CAMPAIGN_FROM: i64 = 2_500;
/// What the bill from the post is over, and what it costs to pay it, in yen.
const BILL: i64 = 3_200;
const FEE: i64 = 110;
/// What Hana takes out to her bank account, and what that costs, in yen.
const WITHDRAWN: i64 = 500;
const WITHDRAWAL_FEE: i64 = 216;

/// What Hana charges before she travels, in yen; 100 dollars, in cents, and what they cost at the played bank's rates, in yen.
const JOURNEY: i64 = 20_000;
const DOLLARS: i64 = 10_000;
const DOLLARS_COST: i64 = 11_388;

/// Who plays, and where.
#[derive(Debug, Clone)]
pub(crate) struct Cast {
    /// The host, `address:port`.
    pub host: String,
    /// The outside world, `address:port`.
    pub world: String,
    /// Everybody's password in the demo.
    pub password: String,
    /// The operator's address.
    pub operator: String,
    /// The shop.
    pub shop: MerchantId,
}

/// One line of the play.
struct Line<'a> {
    what: &'a str,
    amount: Option<i64>,
    plugin: &'a str,
    decision: Option<String>,
    took: Duration,
    came: String,
    good: bool,
}

struct Play<'a> {
    stage: Stage,
    app: &'a App,
    cast: &'a Cast,
    hana: Client,
    operator: Client,
    world: Client,
    good: bool,
}

/// Plays every line and says whether all went as they should.
pub(crate) async fn play(stage: Stage, app: &App, cast: &Cast) -> anyhow::Result<bool> {
    let anybody = Client::new(&cast.host);
    let (hana, _) = sign_up(&anybody, HANA, "Hana", &cast.password).await?;
    let (_, ken_id) = sign_up(&anybody, KEN, "Ken", &cast.password).await?;
    let operator = sign_in(&anybody, "/v1/operators/sessions", &cast.operator, &cast.password).await?;
    let mut play = Play { stage, app, cast, hana, operator, world: Client::new(&cast.world), good: true };

    if !stage.json {
        println!("{:<44} {:>10}  {:<15} {:<38} {:>9}  result", "what", "yen", "plugin", "decision", "us");
    }
    play.charge("Hana charges at an ATM", 10_000, "normal", "accepted-cash").await?;
    let payment = play.pays().await?;
    play.refunds(&payment).await?;
    play.is_declined().await?;
    play.transfers(&ken_id).await?;
    let linked = play.links().await?;
    play.loses_an_answer().await?;
    play.gets_bonus().await?;
    play.pays_a_bill().await?;
    play.withdraws().await?;
    play.charge("She charges for her journey", JOURNEY, "normal", "accepted-cash").await?;
    play.buys_dollars().await?;
    play.settles("The network settles the day", "charge-atm", "/control/end-of-day", 15_000 + JOURNEY).await?;
    play.settles("The collector settles the day", "bill-slip", "/control/bills/end-of-day", BILL).await?;
    play.settles("The bank settles the day", "bank-transfer", "/control/bank/end-of-day", WITHDRAWN).await?;
    play.exports().await?;
    play.app_was_told(&linked).await?;
    play.verifies().await?;
    Ok(play.good)
}

async fn sign_up(anybody: &Client, email: &str, name: &str, password: &str) -> anyhow::Result<(Client, String)> {
    let body = json!({ "email": email, "password": password, "name": name, "locale": "en" });
    let user = expect(anybody.post("/v1/users", body).await?, 201)?;
    let client = sign_in(anybody, "/v1/sessions", email, password).await?;
    Ok((client, text(&user, "id")?))
}

async fn sign_in(anybody: &Client, path: &str, email: &str, password: &str) -> anyhow::Result<Client> {
    let session = expect(anybody.post(path, json!({ "email": email, "password": password })).await?, 201)
        .with_context(|| format!("{email} cannot sign in at {}{path}", anybody.address()))?;
    Ok(anybody.with_token(text(&session, "token")?))
}

impl Play<'_> {
    fn say(&mut self, line: Line<'_>) {
        self.good &= line.good;
        let mark = if line.good { "ok " } else { "BAD" };
        let us = line.took.as_micros();
        let plugin = Some(line.plugin).filter(|plugin| *plugin != "-");
        let value = json!({ "what": line.what, "amount": line.amount, "currency": "JPY", "plugin": plugin,
            "decision": line.decision, "us": us, "good": line.good, "result": line.came });
        self.stage.tell("line", value, || {
            format!(
                "{:<44} {:>10}  {:<15} {:<38} {us:>9}  {mark} {}",
                line.what,
                line.amount.map_or(String::from("-"), |amount| amount.to_string()),
                line.plugin,
                line.decision.as_deref().unwrap_or("-"),
                line.came
            )
        });
    }

    /// From the wish to the money: begin, scan, approve, company number, notes. `ours` says what becomes of our answer.
    async fn charge(&mut self, what: &str, amount: i64, ours: &str, atm: &str) -> anyhow::Result<()> {
        let before = self.balance().await?;
        expect(self.world.post("/control/switches", json!({ "answers": "normal", "ours": ours })).await?, 200)?;
        let begun = self.hana.post_once("/v1/charges", &key(what, "begin"), json!({ "channel": "charge-atm" })).await?;
        let mut took = begun.took;
        let charge = text(&expect(begun, 201)?, "id")?;
        let session = expect(self.world.post("/control/sessions", json!({})).await?, 201)?;
        let scan = json!({ "key": "scan", "values": [{ "name": "session", "value": session["qr"] }] });
        let answered = self.hana.post(&format!("/v1/charges/{charge}/answers"), scan).await?;
        took += answered.took;
        expect(answered, 200)?;
        let number = self.company_number(&charge).await?;
        let session = text(&session, "session")?;
        let keypad = format!("/control/sessions/{session}/keypad");
        expect(self.world.post(&keypad, json!({ "company_number": number })).await?, 200)?;
        let deposit = format!("/control/sessions/{session}/deposit");
        let deposited = self.world.post(&deposit, json!({ "amount": amount })).await?;
        took += deposited.took;
        let report = expect(deposited, 200)?;
        let after = self.balance().await?;
        let credited = if atm == "accepted-cash" { amount } else { 0 };
        let good = report["atm"] == atm && after == before + credited;
        let decision = self.newest("charge-atm").await?;
        let came = format!("ATM {}, balance {after}", report["atm"].as_str().unwrap_or("?"));
        self.say(Line { what, amount: Some(amount), plugin: "charge-atm", decision, took, came, good });
        expect(self.world.post("/control/switches", json!({ "ours": "normal" })).await?, 200)?;
        Ok(())
    }

    /// The number that the wallet shows once the network has approved. Bounded: the approval takes milliseconds.
    async fn company_number(&self, charge: &str) -> anyhow::Result<String> {
        for _ in 0..100 {
            let view = expect(self.hana.get(&format!("/v1/charges/{charge}")).await?, 200)?;
            let shows = view["shows"].as_array().cloned().unwrap_or_default();
            if let Some(code) = shows.iter().find_map(|show| show["code"].as_str()) {
                return Ok(code.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the wallet shows no company number");
    }

    async fn pays(&mut self) -> anyhow::Result<Value> {
        let body =
            json!({ "merchant": self.cast.shop, "amount": 1_280, "currency": "JPY", "reference": "INV-20180925-01" });
        let reply = self.hana.post_once("/v1/payments", "play-payment", body.clone()).await?;
        let (took, payment) = (reply.took, expect(reply, 201)?);
        let balance = self.balance().await?;
        let line = Line {
            what: "Hana pays Wasm Cafe",
            amount: Some(1_280),
            plugin: "fraud-rules",
            decision: payment["decision"].as_str().map(str::to_owned),
            took,
            came: format!("paid, balance {balance}"),
            good: balance == 8_720,
        };
        self.say(line);
        let again = self.hana.post_once("/v1/payments", "play-payment", body).await?;
        let replayed = again.header("idempotent-replayed") == Some("true");
        let (took, same) = (again.took, again.body["id"] == payment["id"]);
        let balance = self.balance().await?;
        self.say(Line {
            what: "Her phone sends the same request again",
            amount: Some(1_280),
            plugin: "-",
            decision: payment["decision"].as_str().map(str::to_owned),
            took,
            came: format!("the first answer again, balance {balance}"),
            good: replayed && same && balance == 8_720,
        });
        Ok(payment)
    }

    async fn refunds(&mut self, payment: &Value) -> anyhow::Result<()> {
        let keys = format!("/v1/operator/merchants/{}/keys", self.cast.shop);
        let scopes = json!({ "name": "till", "scopes": ["payments:read", "payments:refund"] });
        let key = expect(self.operator.post(&keys, scopes).await?, 201)?;
        let shop = self.operator.with_token(text(&key, "secret")?);
        let refund = format!("/v1/payments/{}/refunds", text(payment, "id")?);
        let body = json!({ "amount": 280, "currency": "JPY" });
        let reply = shop.post_once(&refund, "play-refund", body).await?;
        let took = reply.took;
        expect(reply, 201)?;
        let balance = self.balance().await?;
        self.say(Line {
            what: "Wasm Cafe gives some of it back",
            amount: Some(280),
            plugin: "-",
            decision: None,
            took,
            came: format!("refunded, balance {balance}"),
            good: balance == 9_000,
        });
        Ok(())
    }

    async fn is_declined(&mut self) -> anyhow::Result<()> {
        let settings = json!({ "settings": [{ "name": "deny_devices", "value": STOLEN }] });
        let path = "/v1/operator/plugins/fraud-rules/settings";
        expect(self.operator.send(Method::PUT, path, &[], Some(settings.to_string().into_bytes())).await?, 200)?;
        let thief = self.hana.with_header("koban-device", STOLEN);
        let body = json!({ "merchant": self.cast.shop, "amount": 4_500, "currency": "JPY" });
        let reply = thief.post_once("/v1/payments", "play-declined", body).await?;
        let balance = self.balance().await?;
        let decision = self.newest("fraud-rules").await?;
        self.say(Line {
            what: "Somebody pays with Hana's stolen phone",
            amount: Some(4_500),
            plugin: "fraud-rules",
            decision,
            took: reply.took,
            came: format!("{} {}, balance {balance}", reply.status, reply.code()),
            good: reply.code() == "declined_by_fraud" && balance == 9_000,
        });
        Ok(())
    }

    async fn transfers(&mut self, ken: &str) -> anyhow::Result<()> {
        let me = expect(self.hana.get("/v1/me").await?, 200)?;
        for user in [text(&me, "id")?, ken.to_owned()] {
            let path = format!("/v1/operator/users/{user}/verification");
            let reply = self.operator.post_once(&path, &key("verify", &user), json!({})).await?;
            if !(200..300).contains(&reply.status) {
                bail!("the operator could not verify {user}: {} {}", reply.status, reply.body);
            }
        }
        let body = json!({ "receiver": ken, "amount": 2_000, "currency": "JPY", "message": "lunch" });
        let reply = self.hana.post_once("/v1/transfers", "play-transfer", body).await?;
        let (took, transfer) = (reply.took, expect(reply, 201)?);
        let balance = self.balance().await?;
        self.say(Line {
            what: "Both verified; Hana sends to Ken",
            amount: Some(2_000),
            plugin: "fraud-rules",
            decision: transfer["decision"].as_str().map(str::to_owned),
            took,
            came: format!("sent, balance {balance}"),
            good: balance == 7_000,
        });
        Ok(())
    }

    async fn loses_an_answer(&mut self) -> anyhow::Result<()> {
        self.charge("The ATM loses our answer, gives cash back", 5_000, "reverse", "gave-cash-back").await
    }

    /// A bill comes by post; scanned and paid, while the collector loses its answer: it is asked, and the biller is paid once.
    async fn pays_a_bill(&mut self) -> anyhow::Result<()> {
        let before = self.balance().await?;
        let printed = expect(self.world.post("/control/bills/slips", json!({ "amount": BILL })).await?, 201)?;
        let code = json!({ "source": "bar-code", "content": printed["slip"] });
        let found = self.hana.post("/v1/bills/recognise", code.clone()).await?;
        let mut took = found.took;
        let found = expect(found, 200)?;
        expect(self.world.post("/control/switches", json!({ "bills": "lost" })).await?, 200)?;
        let body = json!({ "payer": found["payer"], "code": code, "amount": found["amount"], "fee": found["fee"], "currency": "JPY" });
        let reply = self.hana.post_once("/v1/bills", "play-bill", body).await?;
        took += reply.took;
        let bill = expect(reply, 201)?;
        let bill = self.ended(&format!("/v1/bills/{}", text(&bill, "id")?), bill).await?;
        expect(self.world.post("/control/switches", json!({ "bills": "normal" })).await?, 200)?;
        let after = self.balance().await?;
        let decision = self.newest("bill-slip").await?;
        let standing = bill["standing"].as_str().unwrap_or("?");
        self.say(Line {
            what: "Hana pays a bill; the answer is lost",
            amount: Some(BILL),
            plugin: "bill-slip",
            decision,
            took,
            came: format!("{standing}, fee {FEE}, balance {after}"),
            good: standing == "done" && after == before - BILL - FEE,
        });
        Ok(())
    }

    /// Money goes out to a bank account, while the bank loses its answer: it is asked, and transfers once.
    async fn withdraws(&mut self) -> anyhow::Result<()> {
        let before = self.balance().await?;
        expect(self.world.post("/control/switches", json!({ "transfers": "lost" })).await?, 200)?;
        let body = json!({ "channel": "bank-transfer", "amount": WITHDRAWN, "fee": WITHDRAWAL_FEE, "currency": "JPY" });
        let begun = self.hana.post_once("/v1/withdrawals", "play-withdrawal", body).await?;
        let mut took = begun.took;
        let path = format!("/v1/withdrawals/{}", text(&expect(begun, 201)?, "id")?);
        let value = |name: &str, value: &str| json!({ "name": name, "value": value });
        let values =
            [value("bank", "0005"), value("branch", "123"), value("account", "7654321"), value("name", "ハナ")];
        let said = self.hana.post(&format!("{path}/answers"), json!({ "key": "payee", "values": values })).await?;
        took += said.took;
        let withdrawal = self.ended(&path, expect(said, 200)?).await?;
        expect(self.world.post("/control/switches", json!({ "transfers": "normal" })).await?, 200)?;
        let after = self.balance().await?;
        let decision = self.newest("bank-transfer").await?;
        let standing = withdrawal["standing"].as_str().unwrap_or("?");
        self.say(Line {
            what: "Hana takes money out; the answer is lost",
            amount: Some(WITHDRAWN),
            plugin: "bank-transfer",
            decision,
            took,
            came: format!("{standing}, fee {WITHDRAWAL_FEE}, balance {after}"),
            good: standing == "done" && after == before - WITHDRAWN - WITHDRAWAL_FEE,
        });
        Ok(())
    }

    /// The operator offers dollars; a plugin prices them at the bank's rates of the day, and Hana buys a hundred.
    async fn buys_dollars(&mut self) -> anyhow::Result<()> {
        let limit = |action: &str, window: &str| json!({ "wallet": "funds", "action": action, "window": window, "amount": 1_000_000, "currency": "USD" });
        for (path, body) in [
            ("/v1/operator/limits", limit("hold", "once")),
            ("/v1/operator/limits", limit("send", "day")),
            ("/v1/operator/currencies", json!({ "currency": "USD", "position_limit": 1_000_000 })),
            (
                "/v1/operator/exchange-rates",
                json!({ "base": "USD", "quote": "JPY", "mid": "112.745181285556", "spread": "0.01" }),
            ),
        ] {
            let reply = self.operator.send(Method::PUT, path, &[], Some(body.to_string().into_bytes())).await?;
            if reply.status != 204 {
                bail!("{path}: {} {}", reply.status, reply.body);
            }
        }
        let before = self.balance().await?;
        let asked = json!({ "sell": "JPY", "buy": "USD", "amount": DOLLARS, "currency": "USD" });
        let mut named = self.hana.post("/v1/quotes", asked.clone()).await?;
        // The feed is read within a second of the start. Bounded.
        for _ in 0..250 {
            if named.status != 503 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            named = self.hana.post("/v1/quotes", asked.clone()).await?;
        }
        let mut took = named.took;
        let quote = expect(named, 201)?;
        let path = format!("/v1/quotes/{}/accept", text(&quote, "id")?);
        let reply = self.hana.post_once(&path, "play-dollars", json!({})).await?;
        took += reply.took;
        let exchange = expect(reply, 201)?;
        let after = self.balance().await?;
        let rate = exchange["rate"].as_str().unwrap_or("?");
        self.say(Line {
            what: "Hana buys 100 dollars at the day's rate",
            amount: Some(DOLLARS_COST),
            plugin: "exchange-ecb",
            decision: quote["decision"].as_str().map(str::to_owned),
            took,
            came: format!("{rate} yen a dollar, balance {after}"),
            good: exchange["buy"]["amount"] == DOLLARS && after == before - DOLLARS_COST,
        });
        Ok(())
    }

    /// How it stands once it has ended. Bounded: the question after a lost answer follows within a second or two.
    async fn ended(&self, path: &str, mut shown: Value) -> anyhow::Result<Value> {
        for _ in 0..500 {
            if matches!(shown["standing"].as_str(), Some("done" | "failed" | "cancelled")) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            shown = expect(self.hana.get(path).await?, 200)?;
        }
        Ok(shown)
    }

    async fn settles(&mut self, what: &str, plugin: &str, end_of_day: &str, wanted: i64) -> anyhow::Result<()> {
        let before = self.exposure(plugin).await?;
        let reply = self.world.post(end_of_day, json!({})).await?;
        let took = reply.took;
        expect(reply, 200)?;
        let mut after = before;
        // The host answers once the file is stored and matches it right after.
        for _ in 0..200 {
            after = self.exposure(plugin).await?;
            if after == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let decision = self.newest(plugin).await?;
        self.say(Line {
            what,
            amount: Some(before - after),
            plugin,
            decision,
            took,
            came: format!("exposure {before} -> {after}"),
            good: before == wanted && after == 0,
        });
        Ok(())
    }

    /// An operator binds a campaign to the plugin's budget; the next payment brings 5 % of it back.
    async fn gets_bonus(&mut self) -> anyhow::Result<()> {
        let bound = json!({ "plugin": "charge-campaign", "budget": "spend_back", "lasts_days": 30 });
        let body = json!({ "name": "5 % back", "budget": 10_000, "currency": "JPY", "per_user": 1_000, "bound": bound,
            "reason": "the play" });
        expect(self.operator.post_once("/v1/operator/campaigns", "play-campaign", body).await?, 201)?;
        let body = json!({ "merchant": self.cast.shop, "amount": 3_000, "currency": "JPY" });
        let reply = self.hana.post_once("/v1/payments", "play-campaign-payment", body).await?;
        let took = reply.took;
        expect(reply, 201)?;
        let mut bonus = 0;
        // The plugin hears of the payment once it is committed. Bounded: that takes milliseconds.
        for _ in 0..250 {
            let wallet = expect(self.hana.get("/v1/wallet").await?, 200)?;
            bonus = wallet["bonus"].as_i64().unwrap_or(0);
            if bonus > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let balance = self.balance().await?;
        let decision = self.newest("charge-campaign").await?;
        self.say(Line {
            what: "Hana pays more, and a campaign thanks her",
            amount: Some(3_000),
            plugin: "charge-campaign",
            decision,
            took,
            came: format!("{bonus} of bonus, balance {balance}"),
            good: bonus == 150 && balance == 4_150,
        });
        Ok(())
    }

    /// Hana's household book reads the file, and adds it up.
    async fn exports(&mut self) -> anyhow::Result<()> {
        let path = "/v1/wallet/documents/budget-export/ofx?from_ms=0&to_ms=4102444800000";
        let reply = self.hana.get(path).await?;
        let (took, decision) = (reply.took, reply.header("koban-decision").map(str::to_owned));
        let statement = outside_world::household::read(&reply.bytes).context("the file is not what it should be")?;
        let sum: i64 = statement.transactions.iter().map(|line| line.amount).sum();
        let balance = self.balance().await?;
        self.say(Line {
            what: "Her household book reads the OFX file",
            amount: Some(statement.balance),
            plugin: "budget-export",
            decision,
            took,
            came: format!("{} lines add up to the balance", statement.transactions.len()),
            good: (sum, statement.balance) == (balance, balance) && statement.transactions.len() > 5,
        });
        Ok(())
    }

    async fn verifies(&mut self) -> anyhow::Result<()> {
        let started = stopwatch();
        let verdict = verify::verify(&self.app.store).await?;
        let good = verdict.difference.is_none();
        let us = started.elapsed().as_micros();
        let value = json!({ "clean": good, "us": us, "entries": verdict.entries, "postings": verdict.postings,
            "accounts": verdict.accounts, "records": verdict.records, "head": verdict.head.hash });
        self.stage.tell("verify", value, || format!("\nledger verify ({us} us): {verdict}"));
        self.good &= good;
        Ok(())
    }

    async fn balance(&self) -> anyhow::Result<i64> {
        let wallet = expect(self.hana.get("/v1/wallet").await?, 200)?;
        wallet["available"].as_i64().with_context(|| format!("the wallet says {wallet}"))
    }

    async fn exposure(&self, plugin: &str) -> anyhow::Result<i64> {
        let view = plugins::get(self.app, plugin).await?;
        Ok(view.exposure.map_or(0, |exposure| exposure.used.minor))
    }

    async fn newest(&self, plugin: &str) -> anyhow::Result<Option<String>> {
        let list = decisions::list(self.app, Some(plugin), &Page { after: None, limit: 1 }).await?;
        Ok(list.items.first().map(|kept| kept.head.id.to_string()))
    }
}

#[expect(clippy::disallowed_methods, reason = "the play's stopwatch")]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}

fn key(what: &str, part: &str) -> String {
    format!("play-{}-{part}", what.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
}

fn expect(reply: Reply, status: u16) -> anyhow::Result<Value> {
    if reply.status != status {
        bail!("expected {status}, got {}: {}", reply.status, String::from_utf8_lossy(&reply.bytes));
    }
    Ok(reply.body)
}

fn text(value: &Value, field: &str) -> anyhow::Result<String> {
    value[field].as_str().map(str::to_owned).with_context(|| format!("`{field}` is missing in {value}"))
}
