//! `[seller]`: who sells, and the tax that is in the prices.

use serde::{Deserialize, Serialize};
use types::money::Cents;

use crate::config::ConfigError;

/// `[seller]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Seller {
    pub name: String,
    pub address: String,
    pub email: String,
    pub vat_id: String,
    pub tax_label: String,
    pub tax_percent: String,
    pub receipt_prefix: String,
}

/// A hundredth of a percent.
pub const BASIS_POINTS: i64 = 10_000;

impl Seller {
    /// The tax in hundredths of a percent: `19.5` is 1950.
    ///
    /// # Errors
    /// A [`ConfigError`] when it is no percentage.
    pub fn tax_basis_points(&self) -> Result<i64, ConfigError> {
        // Percent have two decimals, as dollars do.
        let read = Cents::parse_dollars(&self.tax_percent).map(Cents::get);
        read.ok().filter(|points| (0..=BASIS_POINTS).contains(points)).ok_or_else(|| {
            ConfigError(
                "seller.tax_percent must be between 0 and 100, with at most two decimals, such as \"19\" or \"8.25\""
                    .to_owned(),
            )
        })
    }

    /// What can be found wrong.
    ///
    /// # Errors
    /// A [`ConfigError`] that says which key to set.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: &str| Err(ConfigError(text.to_owned()));
        if self.name.trim().is_empty() {
            return refuse("seller.name must be set: it stands on receipts");
        }
        if self.tax_basis_points()? > 0 && self.tax_label.trim().is_empty() {
            return refuse("seller.tax_label must be set, such as \"VAT\", because seller.tax_percent is");
        }
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_/.".contains(c);
        if self.receipt_prefix.len() > 16 || !self.receipt_prefix.chars().all(fine) {
            return refuse("seller.receipt_prefix must be at most 16 letters, digits, - _ / .");
        }
        Ok(())
    }
}

/// The tax in an amount that includes it, rounded half up to the cent.
#[must_use]
pub fn included_tax(amount: Cents, basis_points: i64) -> Cents {
    let (amount, points) = (i128::from(amount.get()), i128::from(basis_points.max(0)));
    let whole = i128::from(BASIS_POINTS) + points;
    let tax = (2 * amount * points + whole) / (2 * whole);
    Cents::new(i64::try_from(tax).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tax_is_in_the_price_and_rounded_half_up() {
        let cases = [
            // amount, basis points, tax
            (499, 0, 0),
            (499, 1900, 80),   // 79.67
            (999, 1900, 160),  // 159.50
            (2499, 1900, 399), // 399.00
            (4999, 1900, 798), // 798.16
            (119, 1900, 19),
            (499, 825, 38), // 38.03
            (1, 1900, 0),   // 0.16
            (3, 2000, 1),   // 0.5, up
            (9, 2000, 2),   // 1.5, up
            (2, 2000, 0),   // 0.33
            (100, 10_000, 50),
            (1_000_000_000_000, 2000, 166_666_666_667),
            (i64::MAX, 10_000, i64::MAX / 2 + 1),
        ];
        for (amount, points, tax) in cases {
            assert_eq!(included_tax(Cents::new(amount), points), Cents::new(tax), "{amount} at {points}");
        }
    }
}
