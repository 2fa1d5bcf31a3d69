//! Transfers from the platform to connected accounts, and back.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::lists;
use crate::params::Params;
use crate::state::{Answer, Movement, State, int, text, yes};

const NOT_ENOUGH: &str = "You have insufficient available funds in your Stripe account. Try adding funds directly to your \
                          available balance by creating Charges using the 4000000000000077 test card. See: \
                          https://stripe.com/docs/testing#available-balance";

pub(crate) fn create(s: &mut State, p: &Params) -> Answer {
    let amount = p.amount("amount")?;
    let currency = p.need("currency")?.to_lowercase();
    let destination = p.need("destination")?;
    let metadata = p.metadata()?;
    let amount = amount.ok_or_else(|| ApiError::missing("amount"))?;
    let account = s.find("account", destination).filter(|account| !yes(account, "deleted"));
    let account = account.ok_or_else(|| ApiError::no_such("destination", destination, "destination"))?;
    if account["capabilities"]["transfers"] != "active" {
        let message = "Your destination account needs to have at least one of the following capabilities enabled: \
                       transfers, crypto_transfers, legacy_payments";
        return Err(ApiError::refused("insufficient_capabilities_for_transfer", message));
    }
    if p.text("source_transaction").is_none() && s.available.get("").copied().unwrap_or_default() < amount {
        return Err(ApiError::refused("balance_insufficient", NOT_ENOUGH));
    }
    let id = s.id("tr_");
    let movement = Movement { kind: "transfer", category: "transfer", source: &id, amount: -amount, fee: 0 };
    let transaction = s.book("", &movement);
    *s.available.entry(destination.to_owned()).or_default() += amount;
    let transfer = json!({
        "id": id,
        "object": "transfer",
        "amount": amount,
        "amount_reversed": 0,
        "balance_transaction": transaction["id"],
        "created": s.now(),
        "currency": currency,
        "description": p.json("description"),
        "destination": destination,
        "destination_payment": s.id("py_"),
        "livemode": false,
        "metadata": metadata,
        "reversals": lists::inner(&[], &format!("/v1/transfers/{id}/reversals")),
        "reversed": false,
        "source_transaction": p.json("source_transaction"),
        "source_type": "card",
        "transfer_group": p.json("transfer_group"),
    });
    s.put_and_emit(&transfer, "transfer.created");
    Ok(transfer)
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    lists::list(s, p, "transfer", &["destination", "transfer_group"], "transfers")
}

pub(crate) fn reverse(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut transfer = s.get("transfer", id)?;
    let left = int(&transfer, "amount") - int(&transfer, "amount_reversed");
    let amount = p.amount("amount")?.unwrap_or(left);
    let metadata = p.metadata()?;
    if left == 0 {
        return Err(ApiError::refused("", format!("Transfer {id} is already fully reversed.")));
    }
    if amount > left {
        let message = "Transfer reversal amount is greater than unreversed amount on transfer";
        return Err(ApiError::refused("", message).param("amount"));
    }
    let destination = text(&transfer, "destination").to_owned();
    if s.available.get(&destination).copied().unwrap_or_default() < amount {
        let message = "The connected account has insufficient funds for this reversal.";
        return Err(ApiError::refused("balance_insufficient", message));
    }
    let reversal_id = s.id("trr_");
    *s.available.entry(destination).or_default() -= amount;
    let movement = Movement {
        kind: "transfer_refund",
        category: "transfer_reversal",
        source: &reversal_id,
        amount,
        fee: 0,
    };
    let transaction = s.book("", &movement);
    let reversal = json!({
        "id": reversal_id,
        "object": "transfer_reversal",
        "amount": amount,
        "balance_transaction": transaction["id"],
        "created": s.now(),
        "currency": transfer["currency"],
        "destination_payment_refund": s.id("pyr_"),
        "metadata": metadata,
        "source_refund": Value::Null,
        "transfer": id,
    });
    s.put(&reversal);
    let reversed = int(&transfer, "amount_reversed") + amount;
    transfer["amount_reversed"] = json!(reversed);
    transfer["reversed"] = json!(reversed == int(&transfer, "amount"));
    let all: Vec<Value> = of(s, id).rev().cloned().collect();
    transfer["reversals"] = lists::inner(&all, &format!("/v1/transfers/{id}/reversals"));
    s.put_and_emit(&transfer, "transfer.reversed");
    Ok(reversal)
}

fn of<'a>(s: &'a State, id: &'a str) -> impl DoubleEndedIterator<Item = &'a Value> {
    s.all("transfer_reversal").iter().filter(move |reversal| text(reversal, "transfer") == id)
}

pub(crate) fn reversals(s: &State, id: &str, p: &Params) -> Answer {
    s.get("transfer", id)?;
    lists::page(of(s, id), p, &format!("transfers/{id}/reversals"))
}

pub(crate) fn reversal(s: &State, transfer: &str, id: &str) -> Answer {
    let reversal = s.get("transfer_reversal", id)?;
    if text(&reversal, "transfer") == transfer {
        Ok(reversal)
    } else {
        Err(ApiError::no_such("transfer_reversal", id, "id").not_found())
    }
}
