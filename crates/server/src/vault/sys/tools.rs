//! Small tools: randomness and hashes.

use serde_json::json;
use strongroom_crypto::digest;
use zeroize::Zeroizing;

use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// Most random bytes at once.
const RANDOM_BYTES_MAX: i64 = 128 * 1024;

fn format_of(call: &Call, usual: &str) -> Result<String, Fault> {
    let format = field::text(&call.fields, "format")?.unwrap_or_else(|| usual.to_owned());
    match format.as_str() {
        "hex" | "base64" => Ok(format),
        _ => Err(Fault::invalid(
            "unsupported encoding format; must be \"hex\" or \"base64\"",
        )),
    }
}

fn encode(bytes: &[u8], format: &str) -> String {
    match format {
        "hex" => data_encoding::HEXLOWER.encode(bytes),
        _ => data_encoding::BASE64.encode(bytes),
    }
}

pub(super) async fn random(call: &mut Call) -> Result<Answer, Fault> {
    let is_source = |part: &String| matches!(part.as_str(), "platform" | "seal" | "all");
    let is_known = |part: &String| is_source(part) || part.parse::<i64>().is_ok();
    if !call.captures.iter().all(is_known) {
        return Err(Fault::invalid(
            "the number of bytes or the source is not understood",
        ));
    }
    // `random/32`, `random/platform`, `random/platform/32`: there is one source.
    let in_path = call
        .captures
        .iter()
        .find_map(|part| part.parse::<i64>().ok());
    let asked = match in_path {
        Some(count) => Some(count),
        None => field::integer(&call.fields, "bytes")?,
    };
    let count = asked.unwrap_or(32);
    let count = usize::try_from(count)
        .ok()
        .filter(|_| (1..=RANDOM_BYTES_MAX).contains(&count));
    let Some(count) = count else {
        return Err(Fault::Invalid(format!(
            "\"bytes\" has to be between 1 and {RANDOM_BYTES_MAX}"
        )));
    };
    let format = format_of(call, "base64")?;
    let mut bytes = Zeroizing::new(vec![0; count]);
    call.node.rng.fill(&mut bytes);
    Ok(Answer::data(
        json!({ "random_bytes": encode(&bytes, &format) }),
    ))
}

pub(super) async fn hash(call: &mut Call) -> Result<Answer, Fault> {
    let algorithm = match call.capture(0) {
        "" => field::text(&call.fields, "algorithm")?.unwrap_or_else(|| "sha2-256".into()),
        named => named.to_owned(),
    };
    let input = field::text(&call.fields, "input")?.unwrap_or_default();
    let input = Zeroizing::new(input);
    let input = data_encoding::BASE64.decode(input.as_bytes());
    let input =
        Zeroizing::new(input.map_err(|_| Fault::invalid("unable to decode input as base64"))?);
    let algorithm = match algorithm.as_str() {
        "sha2-224" => digest::Algorithm::Sha224,
        "sha2-256" => digest::Algorithm::Sha256,
        "sha2-384" => digest::Algorithm::Sha384,
        "sha2-512" => digest::Algorithm::Sha512,
        "sha3-256" => digest::Algorithm::Sha3_256,
        "sha3-384" => digest::Algorithm::Sha3_384,
        "sha3-512" => digest::Algorithm::Sha3_512,
        other => {
            let shown: String = other.chars().take(32).collect();
            return Err(Fault::Invalid(format!("unsupported algorithm {shown}")));
        }
    };
    let format = format_of(call, "hex")?;
    let sum = digest::digest(algorithm, &input);
    Ok(Answer::data(json!({ "sum": encode(&sum, &format) })))
}
