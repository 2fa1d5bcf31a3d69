//! Statements about receipts and their numbers.

use db::{DbError, Row, Tx, params};
use serde_json::Value;
use types::id::PurchaseId;

use super::seller::Seller;
use super::{Party, Receipt};

const RECEIPT: &str =
    "number, purchase_id, issued_at, seller, buyer_email, buyer_name, description, credits, amount_cents,
    currency, tax_basis_points, tax_cents, provider, payment_ref";

/// The next number. It is used up when the transaction is kept, and never otherwise.
pub async fn next_number(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    let sql = "INSERT INTO receipt_counter (id, last) VALUES (1, 1)
               ON CONFLICT (id) DO UPDATE SET last = receipt_counter.last + 1";
    tx.execute(sql, &params![]).await?;
    tx.query_one("SELECT last FROM receipt_counter WHERE id = 1", &params![]).await?.get(0)
}

pub async fn insert(tx: &mut Tx<'_>, receipt: &Receipt) -> Result<(), DbError> {
    let sql =
        "INSERT INTO receipts (number, purchase_id, issued_at, seller, buyer_email, buyer_name, description,
                 credits, amount_cents, currency, tax_basis_points, tax_cents, provider, payment_ref)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let seller = serde_json::to_string(&receipt.seller).map_err(|error| DbError::Other(error.to_string()))?;
    let row = params![
        receipt.number,
        receipt.purchase,
        receipt.issued_at,
        &seller,
        &receipt.buyer.email,
        &receipt.buyer.name,
        &receipt.description,
        receipt.credits,
        receipt.amount,
        &receipt.currency,
        receipt.tax_basis_points,
        receipt.tax,
        &receipt.provider,
        &receipt.payment_ref
    ];
    tx.execute_one(sql, &row).await
}

pub async fn by_purchase(tx: &mut Tx<'_>, purchase: PurchaseId) -> Result<Option<Receipt>, DbError> {
    let sql = format!("SELECT {RECEIPT} FROM receipts WHERE purchase_id = $1");
    tx.query_opt(&sql, &params![purchase]).await?.as_ref().map(read).transpose()
}

/// Who made a purchase, and the provider's name for its payment.
pub async fn buyer(tx: &mut Tx<'_>, purchase: PurchaseId) -> Result<(Party, Option<String>), DbError> {
    let sql = "SELECT u.email, u.name, p.payment_ref FROM purchases p JOIN users u ON u.id = p.user_id
               WHERE p.id = $1";
    let row = tx.query_one(sql, &params![purchase]).await?;
    Ok((Party { email: row.get(0)?, name: row.get(1)? }, row.get(2)?))
}

/// Field by field: a receipt outlives the settings of its day.
fn read_seller(text: &str) -> Result<Seller, DbError> {
    let seller: Value =
        serde_json::from_str(text).map_err(|error| DbError::Other(format!("a seller: {error}")))?;
    let field = |name: &str| seller.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Seller {
        name: field("name"),
        address: field("address"),
        email: field("email"),
        vat_id: field("vat_id"),
        tax_label: field("tax_label"),
        tax_percent: field("tax_percent"),
        receipt_prefix: field("receipt_prefix"),
    })
}

fn read(row: &Row) -> Result<Receipt, DbError> {
    let seller: String = row.get(3)?;
    Ok(Receipt {
        number: row.get(0)?,
        purchase: row.get(1)?,
        issued_at: row.get(2)?,
        seller: read_seller(&seller)?,
        buyer: Party { email: row.get(4)?, name: row.get(5)? },
        description: row.get(6)?,
        credits: row.get(7)?,
        amount: row.get(8)?,
        currency: row.get(9)?,
        tax_basis_points: row.get(10)?,
        tax: row.get(11)?,
        provider: row.get(12)?,
        payment_ref: row.get(13)?,
    })
}
