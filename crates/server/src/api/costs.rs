//! What an application's resources cost a month, by prices that people gave.
//! No prices are known here, and none are made up.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::json;

use super::bare;
use super::profiles::Profile;
use super::scenarios;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// Highest price, in the currency.
const PRICE_MAX: f64 = 1e9;
/// Longest name of a currency, in characters.
const CURRENCY_CHARS_MAX: usize = 12;

/// What resources cost a month.
struct Prices {
    currency: String,
    /// In hundredths, which add up exactly.
    monthly: BTreeMap<String, i64>,
}

/// `{prices?}`: those of the request, else those of the profile's settings.
pub(super) async fn estimate(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    let sent = call.fields.get("prices");
    let kept = profile.value["settings"].get("prices");
    let (prices, whose) = match (sent, kept) {
        (Some(sent), _) => (prices_of(sent)?, "request"),
        (None, Some(kept)) => (prices_of(kept)?, "settings.prices"),
        (None, None) => {
            let text = "no prices are known: send 'prices': {\"currency\": \"EUR\", \
                 \"monthly\": {\"postgres\": 15}}, or keep them in the profile's settings";
            return Err(Fault::invalid(text));
        }
    };
    let scenario = profile.text("scenario");
    let found = scenarios::find(&call.core, &scenario).await?;
    let found = found.ok_or_else(|| {
        let text =
            format!("scenario {scenario} not found: POST /api/v1/scenarios/NAME tells of it");
        Fault::NotFoundWith(vec![text])
    })?;
    let swaps = profile.swaps()?;
    let leans = found.resources().into_iter();
    // One resource that takes the place of two is paid for once.
    let resources: BTreeSet<String> = leans
        .map(|name| swaps.get(&name).cloned().unwrap_or(name))
        .collect();
    let (mut sum, mut items, mut unpriced) = (0_i64, Vec::new(), Vec::new());
    for name in resources {
        match prices.monthly.get(&name) {
            Some(price) => {
                sum = sum.saturating_add(*price);
                items.push(json!({ "resource": name, "monthly": units(*price) }));
            }
            None => unpriced.push(name),
        }
    }
    Ok(bare(json!({
        "profile_id": profile.value["id"],
        "scenario": scenario,
        "currency": prices.currency,
        "prices_from": whose,
        "monthly": units(sum),
        "items": items,
        "complete": unpriced.is_empty(),
        "unpriced": unpriced,
    })))
}

/// Hundredths as a number of the currency.
fn units(hundredths: i64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "far below what a float holds exactly"
    )]
    let units = hundredths as f64;
    units / 100.0
}

fn prices_of(value: &Value) -> Result<Prices, Fault> {
    let currency = value["currency"].as_str().unwrap_or_default();
    let is_currency = !currency.is_empty()
        && currency.len() <= CURRENCY_CHARS_MAX
        && currency.chars().all(|c| c.is_ascii_alphanumeric());
    if !is_currency {
        return Err(Fault::invalid(
            "prices.currency: expected the name of a currency, as in EUR",
        ));
    }
    let monthly = value["monthly"].as_object();
    let monthly = monthly.ok_or_else(|| {
        Fault::invalid("prices.monthly: expected an object of resources and what they cost")
    })?;
    let priced = monthly.iter().map(|(name, price)| {
        let price = price
            .as_f64()
            .filter(|price| (0.0..=PRICE_MAX).contains(price));
        let price = price.ok_or_else(|| {
            Fault::invalid(format!(
                "prices.monthly.{name}: expected a price, 0 or more"
            ))
        })?;
        #[expect(clippy::cast_possible_truncation, reason = "at most 1e11")]
        let hundredths = (price * 100.0).round() as i64;
        Ok((name.clone(), hundredths))
    });
    Ok(Prices {
        currency: currency.to_owned(),
        monthly: priced.collect::<Result<_, Fault>>()?,
    })
}
