//! Merchants: who is paid, and what they are owed.

use koban_domain::access::Access;
use koban_domain::accounts::AccountKey;
use koban_domain::ids::MerchantId;
use koban_domain::money::{Currency, Money};
use koban_domain::time::Timestamp;
use koban_store::merchants::MerchantRow;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::page::{Page, Paged};
use crate::users;
use crate::wallets::{self, StatementLine};

/// What a merchant is made from.
#[derive(Debug, Clone)]
pub struct NewMerchant {
    /// What payers see, 1 to 60 characters.
    pub name: String,
    /// ISO 18245 category code: four digits.
    pub category: String,
}

/// A merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerchantView {
    /// Who.
    pub id: MerchantId,
    /// What payers see.
    pub name: String,
    /// ISO 18245 category code.
    pub category: String,
    /// In which currencies it is paid.
    pub currencies: Vec<Currency>,
    /// Open or frozen.
    pub access: Access,
    /// Since when.
    pub created_at: Timestamp,
}

/// Makes a merchant that is paid in yen.
pub async fn create(app: &App, ctx: &Ctx, input: NewMerchant) -> Result<MerchantView, Error> {
    ctx.operator()?;
    let name = users::check_name("name", &input.name)?;
    if input.category.len() != 4 || !input.category.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::invalid("category", "use the four digits of an ISO 18245 category code, such as 5812"));
    }
    let merchant = MerchantRow {
        id: MerchantId(app.clock.id()),
        access: Access::Open,
        name,
        category: input.category,
        currencies: vec![Currency::JPY],
        created_at: app.clock.now(),
    };
    let audit = users::audit(app, ctx, "merchant.create", merchant.id.to_string(), "{}");
    koban_store::merchants::create(&app.store, &merchant, &audit).await?;
    Ok(merchant.into())
}

/// A merchant by id.
pub async fn get(app: &App, id: MerchantId) -> Result<MerchantView, Error> {
    Ok(koban_store::merchants::by_id(&app.store, id).await?.ok_or(Error::NotFound("merchant"))?.into())
}

/// Merchants, newest first.
pub async fn list(app: &App, page: &Page) -> Result<Paged<MerchantView>, Error> {
    let limit = page.limit()?;
    let rows = koban_store::merchants::list(&app.store, page.before()?.map(MerchantId), limit + 1).await?;
    Ok(Paged::of(rows, limit, |row| row.id.bytes().to_vec()).map(MerchantView::from))
}

/// What the merchant is owed, in yen.
pub async fn balance(app: &App, id: MerchantId) -> Result<Money, Error> {
    let key = AccountKey::payable(id, Currency::JPY);
    let accounts = koban_store::statements::balances(&app.store, &[key.id()]).await?;
    Ok(Money::yen(accounts.get(&key.id()).map_or(0, |account| account.available())))
}

/// What happened on the merchant's account, newest first.
pub async fn statement(app: &App, id: MerchantId, page: &Page) -> Result<Paged<StatementLine>, Error> {
    wallets::statement_of(app, &[AccountKey::payable(id, Currency::JPY)], page).await
}

impl From<MerchantRow> for MerchantView {
    fn from(row: MerchantRow) -> MerchantView {
        MerchantView {
            id: row.id,
            name: row.name,
            category: row.category,
            currencies: row.currencies,
            access: row.access,
            created_at: row.created_at,
        }
    }
}
