//! Which parameters an endpoint knows. Stripe refuses others, and so finds misspelt ones.

use serde_json::Value;

use crate::error::ApiError;
use crate::params::Params;

/// What every list knows besides.
const PAGING: &str = "limit starting_after ending_before";
const CHECKOUT: &str = "adaptive_pricing after_expiration allow_promotion_codes automatic_tax billing_address_collection \
                        branding_settings cancel_url client_reference_id consent_collection currency custom_fields custom_text \
                        customer customer_account customer_creation customer_email customer_update discounts \
                        excluded_payment_method_types expires_at invoice_creation line_items locale metadata mode \
                        name_collection optional_items origin_context payment_intent_data payment_method_collection \
                        payment_method_configuration payment_method_data payment_method_options payment_method_types \
                        permissions phone_number_collection redirect_on_completion return_url saved_payment_method_options \
                        setup_intent_data shipping_address_collection shipping_options submit_type subscription_data \
                        success_url tax_id_collection ui_mode wallet_options";
const INTENT: &str = "amount amount_details application_fee_amount automatic_payment_methods capture_method confirm \
                      confirmation_method confirmation_token currency customer customer_account description \
                      error_on_requires_action excluded_payment_method_types hooks mandate mandate_data metadata off_session \
                      on_behalf_of payment_details payment_method payment_method_configuration payment_method_data \
                      payment_method_options payment_method_types radar_options receipt_email return_url setup_future_usage \
                      shipping statement_descriptor statement_descriptor_suffix transfer_data transfer_group use_stripe_sdk";
const INTENT_DATA: &str = "application_fee_amount capture_method description metadata on_behalf_of receipt_email \
                           setup_future_usage shipping statement_descriptor statement_descriptor_suffix transfer_data \
                           transfer_group";
const CUSTOMER: &str = "address balance business_name cash_balance default_source description email individual_name \
                        invoice_prefix invoice_settings metadata name next_invoice_sequence payment_method phone \
                        preferred_locales shipping source tax tax_exempt tax_id_data test_clock";
const ACCOUNT: &str = "account_token business_profile business_type capabilities company controller country default_currency \
                       documents email external_account groups individual metadata settings tos_acceptance type";
const VERIFICATION: &str = "client_reference_id metadata options provided_details related_customer related_customer_account \
                            related_person return_url type verification_flow";

/// Refuses parameters the endpoint does not know.
pub(crate) fn check(method: &str, path: &[&str], params: &Params) -> Result<(), ApiError> {
    if let Some(known) = parameters(method, path) {
        only(&params.value, known, "", method == "GET")?;
    }
    if (method, path) == ("POST", &["checkout", "sessions"]) {
        only(&params.value["payment_intent_data"], INTENT_DATA, "payment_intent_data", false)?;
        for item in params.value["line_items"].as_array().into_iter().flatten() {
            let known = "adjustable_quantity dynamic_tax_rates metadata price price_data quantity tax_rates";
            only(item, known, "line_items", false)?;
            let known =
                "currency product product_data recurring tax_behavior unit_amount unit_amount_decimal";
            only(&item["price_data"], known, "line_items[price_data]", false)?;
        }
    }
    Ok(())
}

fn only(given: &Value, known: &str, inside: &str, list: bool) -> Result<(), ApiError> {
    for name in given.as_object().into_iter().flat_map(|map| map.keys()) {
        let mut names = known.split_whitespace().chain(if list { PAGING } else { "" }.split_whitespace());
        if names.any(|known| known == name) || (inside.is_empty() && name == "expand") {
            continue;
        }
        let name = if inside.is_empty() { name.clone() } else { format!("{inside}[{name}]") };
        let message = format!("Received unknown parameter: {name}");
        return Err(ApiError::bad(&name, message).code("parameter_unknown"));
    }
    Ok(())
}

fn parameters(method: &str, path: &[&str]) -> Option<&'static str> {
    if method == "GET" { of_list(path) } else { of_post(path) }
}

fn of_list(path: &[&str]) -> Option<&'static str> {
    Some(match path {
        ["customers"] => "created email test_clock",
        ["customers", _, "payment_methods"] => "allow_redisplay type",
        ["checkout", "sessions"] => {
            "created customer customer_account customer_details payment_intent payment_link status subscription"
        }
        ["payment_intents"] => "created customer customer_account",
        ["payment_methods"] => "allow_redisplay customer customer_account type",
        ["charges"] => "created customer payment_intent transfer_group",
        ["refunds" | "disputes"] | ["radar", "early_fraud_warnings"] => "charge created payment_intent",
        ["identity", "verification_sessions"] => {
            "client_reference_id created related_customer related_customer_account status"
        }
        ["accounts"] => "created",
        ["transfers"] => "created destination transfer_group",
        ["payouts"] => "arrival_date created destination status",
        ["balance_transactions"] => "created currency payout source type",
        ["events"] => "created delivery_success type types",
        ["transfers", _, "reversals"] | ["checkout", "sessions", _, "line_items"] => "",
        _ => return None,
    })
}

fn of_post(path: &[&str]) -> Option<&'static str> {
    Some(match path {
        ["customers"] | ["customers", _] => CUSTOMER,
        ["checkout", "sessions"] => CHECKOUT,
        ["payment_intents"] | ["payment_intents", _] | ["payment_intents", _, "confirm"] => INTENT,
        ["payment_intents", _, "cancel"] => "cancellation_reason",
        ["payment_methods", _, "attach"] => "customer customer_account",
        ["refunds"] => {
            "amount charge currency customer instructions_email metadata origin payment_intent reason \
             refund_application_fee reverse_transfer"
        }
        ["refunds", _] => "metadata",
        ["charges", _] => "customer description fraud_details metadata receipt_email shipping transfer_group",
        ["disputes", _] => "evidence metadata submit",
        ["billing_portal", "sessions"] => {
            "configuration customer customer_account flow_data locale on_behalf_of return_url"
        }
        ["identity", "verification_sessions"] => VERIFICATION,
        ["identity", "verification_sessions", _] => "metadata options provided_details type",
        ["accounts"] | ["accounts", _] => ACCOUNT,
        ["account_links"] => "account collect collection_options refresh_url return_url type",
        ["transfers"] => {
            "amount currency description destination metadata source_transaction source_type transfer_group"
        }
        ["transfers", _, "reversals"] => "amount description metadata refund_application_fee",
        ["payouts"] => {
            "amount currency description destination metadata method payout_method source_type statement_descriptor"
        }
        ["checkout", "sessions", _, "expire"]
        | ["payment_methods", _, "detach"]
        | ["disputes", _, "close"]
        | ["identity", "verification_sessions", _, "cancel" | "redact"]
        | ["payouts", _, "cancel"]
        | ["accounts", _, "login_links"] => "",
        _ => return None,
    })
}
