//! Versions and their values.

use data_encoding::BASE64;
use serde_json::Value;
use serde_json::json;

use super::Answer;
use super::Inner;
use super::Secret;
use super::VALUE_BYTES_MAX;
use super::Version;
use super::absent;
use super::encode;
use super::invalid;

pub(super) fn add(inner: &mut Inner, name: &str, body: &Value) -> Answer {
    super::found(inner, name)?;
    let payload = &body["payload"];
    let text = payload["data"].as_str().unwrap_or_default();
    let data = BASE64
        .decode(text.as_bytes())
        .map_err(|_| invalid("the payload is no base64"))?;
    if data.len() > VALUE_BYTES_MAX {
        return Err(invalid("the payload has over 65536 bytes"));
    }
    // 64-bit numbers are texts in JSON; both are taken.
    let sent = match &payload["dataCrc32c"] {
        Value::Null => None,
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    };
    if sent.is_some_and(|sent| sent != u64::from(crc32c(&data))) {
        return Err(invalid("the checksum does not fit the payload"));
    }
    let secret = inner.secrets.get_mut(name).unwrap();
    secret.versions.push(Version {
        state: "ENABLED",
        data,
        has_checksum: sent.is_some(),
    });
    let number = secret.versions.len();
    Ok(self::body(name, number, &secret.versions[number - 1]))
}

pub(super) fn version(inner: &mut Inner, method: &str, name: &str, version: &str) -> Answer {
    let is_damaging = inner.is_damaging;
    super::found(inner, name)?;
    let secret = inner.secrets.get_mut(name).unwrap();
    let (version, verb) = version.split_once(':').unwrap_or((version, ""));
    let number = number(secret, version)
        .ok_or_else(|| absent(&format!("Secret Version [{name}/versions/{version}]")))?;
    let found = &mut secret.versions[number - 1];
    match (method, verb) {
        ("GET", "") => {}
        ("GET", "access") if found.state == "ENABLED" => {
            let mut data = found.data.clone();
            let checksum = crc32c(&data);
            if is_damaging {
                data.push(b'!');
            }
            let name = format!("projects/1234/secrets/{name}/versions/{number}");
            let payload = json!({ "data": encode(&data), "dataCrc32c": checksum.to_string() });
            return Ok(json!({ "name": name, "payload": payload }));
        }
        ("GET", "access") => {
            let text = format!("Secret Version is in {} state.", found.state);
            return Err((400, "FAILED_PRECONDITION", text));
        }
        ("POST", "enable") => found.state = "ENABLED",
        ("POST", "disable") => found.state = "DISABLED",
        ("POST", "destroy") => {
            found.state = "DESTROYED";
            found.data.clear();
        }
        _ => return Err(absent("Method")),
    }
    Ok(body(name, number, found))
}

/// A number, `latest`, or an alias.
fn number(secret: &Secret, version: &str) -> Option<usize> {
    let count = secret.versions.len();
    let alias = &secret.body["versionAliases"][version];
    let number = match version {
        "latest" => count,
        version => match version.parse() {
            Ok(number) => number,
            Err(_) => match alias {
                Value::String(text) => text.parse().ok()?,
                number => usize::try_from(number.as_u64()?).ok()?,
            },
        },
    };
    (1..=count).contains(&number).then_some(number)
}

pub(super) fn body(name: &str, number: usize, version: &Version) -> Value {
    json!({
        "name": format!("projects/1234/secrets/{name}/versions/{number}"),
        "createTime": format!("2026-11-28T06:{:02}:00Z", number.min(59)),
        "state": version.state,
        "clientSpecifiedPayloadChecksum": version.has_checksum,
        "etag": format!("\"v{number}\""),
    })
}

/// By a table, unlike the backend's own.
fn crc32c(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256)
        .map(|index: u32| {
            (0..8).fold(index, |crc, _| {
                (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
            })
        })
        .collect();
    let step = |crc: u32, byte: &u8| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        (crc >> 8) ^ table[usize::try_from(index).unwrap()]
    };
    !bytes.iter().fold(!0, step)
}
