//! Whom and what an event is about, read from its public data.

use serde_json::Value;

use crate::ids::{PaymentId, UserId};
use crate::ledger::News;
use crate::money::{Currency, Money};

/// Whom and what an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Concern {
    /// The payer, the sender or whose wallet it is.
    pub user: Option<UserId>,
    /// The payment.
    pub payment: Option<PaymentId>,
    /// How much, if it is about money: of a payment that was paid what was captured, of an exchange what was given.
    pub amount: Option<Money>,
}

/// Whom and what an event is about.
pub fn concern(news: &News) -> Concern {
    let data: Value = serde_json::from_str(&news.body).unwrap_or_default();
    let user = ["payer", "user", "sender"].into_iter().find_map(|field| data.get(field)?.as_str()?.parse().ok());
    let payment = if news.kind.starts_with("payment.") { "id" } else { "payment" };
    let payment = data.get(payment).and_then(|id| id.as_str()?.parse().ok());
    let amount = match news.kind.as_str() {
        "payment.captured" => money(&data, "captured"),
        "exchange.posted" => data.get("sell").and_then(|sell| money(sell, "amount")),
        "bonus.expired" | "bonus.revoked" => money(&data, "taken"),
        _ => money(&data, "amount"),
    };
    Concern { user, payment, amount }
}

fn money(data: &Value, field: &str) -> Option<Money> {
    let currency = Currency::new(data.get("currency")?.as_str()?).ok()?;
    Some(Money::new(data.get(field)?.as_i64()?, currency))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{EventId, MerchantId};
    use crate::time::Timestamp;

    fn news(kind: &str, body: &str) -> News {
        News {
            id: EventId::default(),
            kind: kind.into(),
            merchant: None::<MerchantId>,
            body: body.into(),
            at: Timestamp(0),
        }
    }

    #[test]
    fn an_event_names_its_person_its_payment_and_its_amount() {
        let (user, payment) = (UserId(uuid::Uuid::from_u128(1)), PaymentId(uuid::Uuid::from_u128(2)));
        let paid = format!(r#"{{"id":"{payment}","payer":"{user}","amount":900,"captured":800,"currency":"JPY"}}"#);
        let about = Concern { user: Some(user), payment: Some(payment), amount: Some(Money::yen(800)) };
        assert_eq!(concern(&news("payment.captured", &paid)), about);
        let refund = format!(r#"{{"id":"x","payment":"{payment}","payer":"{user}","amount":5,"currency":"JPY"}}"#);
        assert_eq!(concern(&news("refund.posted", &refund)), Concern { amount: Some(Money::yen(5)), ..about });
        let sent = format!(r#"{{"sender":"{user}","receiver":"{user}","amount":7,"currency":"JPY"}}"#);
        assert_eq!(concern(&news("transfer.posted", &sent)).user, Some(user));
        assert_eq!(concern(&news("transfer.posted", &sent)).payment, None);
        assert_eq!(concern(&news("settlement.matched", "{}")), Concern::default());
        assert_eq!(concern(&news("closing.made", "no json")), Concern::default());
    }
}
