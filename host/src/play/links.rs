//! The play's budgeting app: Hana links it, and in the end it knows everything since, without having been asked.

use std::time::Duration;

use anyhow::Context as _;
use koban_domain::ids::LinkId;
use serde_json::{Value, json};

use super::{Line, Play, expect, key, stopwatch, text};

const PLUGIN: &str = "budget-live";
/// How long the play waits for what takes milliseconds.
const LOOKS: u32 = 250;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What Hana linked.
pub(super) struct Linked {
    id: LinkId,
    /// What she had then, in yen.
    had: i64,
}

impl Play<'_> {
    /// Hana links her budgeting app: a name, the app's page, and back.
    pub(super) async fn links(&mut self) -> anyhow::Result<Linked> {
        let body = json!({ "plugin": PLUGIN, "kind": "app" });
        let begun = self.hana.post_once("/v1/linkings", &key("link", "begin"), body).await?;
        let linking = format!("/v1/linkings/{}", text(&expect(begun, 201)?, "id")?);
        let name = json!({ "key": "name", "values": [{ "name": "name", "value": "My household" }] });
        expect(self.hana.post(&format!("{linking}/answers"), name).await?, 200)?;
        let asked = json!({ "plugin": PLUGIN, "endpoint": "app" });
        let page = text(&expect(self.hana.post("/v1/consents", asked).await?, 200)?, "url")?;
        let path = page.split_once("://").and_then(|(_, rest)| rest.split_once('/')).context("the app has no page")?.1;
        let sent_back = self.world.get(&format!("/{path}")).await?;
        let place = sent_back.header("location").context("the app sends Hana nowhere")?;
        let field = |name: &str| {
            let mut pairs = place.split(['?', '&']).filter_map(|pair| pair.split_once('='));
            pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).context("half an address")
        };
        let brought = json!({ "state": field("state")?, "code": field("code")? });
        expect(self.hana.post("/v1/consents/finish", brought).await?, 200)?;
        for _ in 0..LOOKS {
            let found = expect(self.hana.get(&linking).await?, 200)?;
            if let Some(link) = found["link"].as_str() {
                return Ok(Linked { id: link.parse()?, had: self.balance().await? });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::bail!("the app was not linked")
    }

    /// What the app was told since adds up to what Hana has.
    pub(super) async fn app_was_told(&mut self, linked: &Linked) -> anyhow::Result<()> {
        let balance = self.balance().await?;
        let started = stopwatch();
        // The host looks about once a minute; the play asks it to look now.
        koban_store::links::look_again(&self.app.store, &[linked.id], self.app.clock.now()).await?;
        let (mut sum, mut rows, mut took) = (0, 0, started.elapsed());
        for _ in 0..LOOKS {
            let book = expect(self.world.get("/control/app").await?, 200)?;
            let told = book["rows"].as_array().map_or(&[][..], Vec::as_slice);
            (sum, rows) = (told.iter().filter_map(|row: &Value| row["amount"].as_i64()).sum::<i64>(), told.len());
            took = started.elapsed();
            if linked.had + sum == balance {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let decision = self.newest(PLUGIN).await?;
        self.say(Line {
            what: "Her budgeting app was told by itself",
            amount: Some(balance),
            plugin: PLUGIN,
            decision,
            took,
            came: format!("{rows} rows since she linked it, each once"),
            good: linked.had + sum == balance && rows > 5,
        });
        Ok(())
    }
}
