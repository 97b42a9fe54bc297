//! How an application is signed: which certificate, and where its password comes from. Names only:
//! nothing is signed here, and no private key and no password is kept.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::placeholder;

use super::bare;
use super::documents;
use super::documents::Of;
use super::field;
use super::profiles::Profile;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Text,
    Flag,
    /// The name of a variable that the one who signs has.
    Variable,
    /// A path to a file on the machine that signs.
    File,
    OneOf(&'static [&'static str]),
}

struct Field {
    name: &'static str,
    holds: Holds,
    is_required: bool,
}

const fn field_of(name: &'static str, holds: Holds, is_required: bool) -> Field {
    Field {
        name,
        holds,
        is_required,
    }
}

/// The schema of manifests has these (`code_signing`).
const PLATFORMS: [(&str, &[Field]); 3] = [
    (
        "windows",
        &[
            field_of(
                "certificate_source",
                Holds::OneOf(&["file", "store", "azure_keyvault", "aws_kms"]),
                true,
            ),
            field_of("certificate_file", Holds::File, false),
            field_of("certificate_password_env", Holds::Variable, false),
            field_of("certificate_thumbprint", Holds::Text, false),
            field_of("timestamp_server", Holds::Text, false),
            field_of(
                "sign_algorithm",
                Holds::OneOf(&["sha256", "sha384", "sha512"]),
                false,
            ),
            field_of("dual_sign", Holds::Flag, false),
        ],
    ),
    (
        "macos",
        &[
            field_of("identity", Holds::Text, true),
            field_of("team_id", Holds::Text, true),
            field_of("hardened_runtime", Holds::Flag, true),
            field_of("notarize", Holds::Flag, true),
            field_of("entitlements_file", Holds::File, false),
            field_of("provisioning_profile", Holds::File, false),
            field_of("apple_id_env", Holds::Variable, false),
            field_of("apple_id_password_env", Holds::Variable, false),
            field_of("apple_api_key_id", Holds::Text, false),
            field_of("apple_api_key_file", Holds::File, false),
            field_of("apple_api_issuer_id", Holds::Text, false),
        ],
    ),
    (
        "linux",
        &[
            field_of("gpg_key_id", Holds::Text, false),
            field_of("gpg_passphrase_env", Holds::Variable, false),
            field_of("gpg_homedir", Holds::File, false),
        ],
    ),
];
/// Longest text, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// One thing that is wrong; never with the text that is.
struct Problem {
    path: String,
    message: String,
}

impl Problem {
    fn of(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    fn json(&self) -> Value {
        json!({ "path": self.path, "message": self.message })
    }
}

/// Everything that is wrong with a configuration.
fn problems(config: &Value) -> Vec<Problem> {
    let Some(fields) = config.as_object() else {
        return vec![Problem::of("$", "a configuration is an object")];
    };
    let mut found = Vec::new();
    if !fields.get("enabled").is_some_and(Value::is_boolean) {
        found.push(Problem::of("$.enabled", "is true or false"));
    }
    for (key, value) in fields {
        let platform = PLATFORMS.iter().find(|(name, _)| name == key);
        match platform {
            Some((name, known)) => of_platform(name, known, value, &mut found),
            None if key == "enabled" => {}
            None => found.push(Problem::of("$", unknown())),
        }
    }
    let is_enabled = fields.get("enabled") == Some(&Value::Bool(true));
    let has_platform = PLATFORMS.iter().any(|(name, _)| fields.contains_key(*name));
    if is_enabled && !has_platform {
        found.push(Problem::of(
            "$",
            "nothing says how: windows, macos or linux",
        ));
    }
    found
}

/// The key itself could be a value that was put in the wrong place.
fn unknown() -> &'static str {
    "has a field that the schema of code_signing does not know"
}

fn of_platform(name: &str, known: &[Field], value: &Value, found: &mut Vec<Problem>) {
    let at = |field: &str| format!("$.{name}.{field}");
    let Some(fields) = value.as_object() else {
        found.push(Problem::of(&format!("$.{name}"), "is an object"));
        return;
    };
    if fields
        .keys()
        .any(|key| known.iter().all(|field| field.name != key))
    {
        found.push(Problem::of(&format!("$.{name}"), unknown()));
    }
    for field in known {
        let path = at(field.name);
        match fields.get(field.name).filter(|value| !value.is_null()) {
            None if field.is_required => found.push(Problem::of(&path, "is missing")),
            None => {}
            Some(value) => {
                if let Some(message) = misfit(field, value) {
                    found.push(Problem::of(&path, message));
                }
            }
        }
    }
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let needed = match text("certificate_source") {
        Some("file") => Some("certificate_file"),
        Some("store") => Some("certificate_thumbprint"),
        _ => None,
    };
    if let Some(needed) = needed.filter(|needed| text(needed).is_none()) {
        found.push(Problem::of(
            &at(needed),
            "is missing, for this certificate_source",
        ));
    }
    let notarizes = fields.get("notarize") == Some(&Value::Bool(true));
    let has_login = text("apple_id_env").is_some() && text("apple_id_password_env").is_some();
    let has_key = text("apple_api_key_id").is_some()
        && text("apple_api_key_file").is_some()
        && text("apple_api_issuer_id").is_some();
    if notarizes && !has_login && !has_key {
        let message =
            "needs apple_id_env with apple_id_password_env, or the three apple_api_ fields";
        found.push(Problem::of(&at("notarize"), message));
    }
}

fn misfit(field: &Field, value: &Value) -> Option<String> {
    if field.holds == Holds::Flag {
        return (!value.is_boolean()).then(|| "is true or false".to_owned());
    }
    let Some(text) = value.as_str().filter(|text| !text.trim().is_empty()) else {
        return Some("is a text".to_owned());
    };
    if text.len() > TEXT_BYTES_MAX {
        return Some(format!("has over {TEXT_BYTES_MAX} bytes"));
    }
    // Keys and certificates in PEM, and what is only found in secrets.
    if text.contains("-----BEGIN") || text.contains('\n') {
        return Some("is a key or a certificate itself: keep it with `strongroom set`".to_owned());
    }
    match field.holds {
        Holds::OneOf(words) if !words.contains(&text) => {
            Some(format!("is none of {}", words.join(", ")))
        }
        Holds::Variable if !is_variable(text) => Some(
            "is no name of a variable: a password is kept with `strongroom set`, and the one who \
             signs is started with `strongroom run`"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Upper case and underscores; a password that happens to look so has no word of a secret's name.
fn is_variable(text: &str) -> bool {
    let mut bytes = text.bytes();
    let begins = bytes
        .next()
        .is_some_and(|b| b.is_ascii_uppercase() || b == b'_');
    let is_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    begins && bytes.all(is_name) && (placeholder::is_sensitive_name(text) || text.contains('_'))
}

/// Of a profile: `{enabled, windows?, macos?, linux?}`.
pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let mut profile = Profile::named(call).await?;
    let config = config_of(call);
    let found = problems(&config);
    if !found.is_empty() {
        return Err(Fault::invalid(told(&found)));
    }
    profile.value["code_signing"] = config.clone();
    let saved = profile.save(call, "Changed code signing").await?;
    Ok(bare(json!({
        "profile_id": saved["id"],
        "version": saved["version"],
        "code_signing": config,
    })))
}

/// What was sent, in `code_signing`, in `config`, or as it is.
fn config_of(call: &Call) -> Value {
    for key in ["code_signing", "config", "signing_config"] {
        if let Some(config) = call.fields.get(key) {
            return config.clone();
        }
    }
    let names = PLATFORMS.iter().map(|(name, _)| *name).chain(["enabled"]);
    let pairs = names.filter_map(|name| Some((name.to_owned(), call.fields.get(name)?.clone())));
    Value::Object(pairs.collect::<Map<String, Value>>())
}

fn told(found: &[Problem]) -> String {
    let lines: Vec<String> = found
        .iter()
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect();
    lines.join("; ")
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    let config = profile.value.get("code_signing").cloned();
    Ok(bare(json!({
        "profile_id": profile.value["id"],
        "code_signing": config.unwrap_or_else(|| json!({ "enabled": false })),
    })))
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let mut profile = Profile::named(call).await?;
    if let Some(fields) = profile.value.as_object_mut() {
        fields.remove("code_signing");
    }
    let saved = profile.save(call, "Removed code signing").await?;
    Ok(bare(
        json!({ "profile_id": saved["id"], "version": saved["version"] }),
    ))
}

/// Of what is sent, or of the profile that is named.
pub(super) async fn validate(call: &mut Call) -> Result<Answer, Fault> {
    let config = match field::text(call, "profile_id") {
        Some(id) => {
            let profile = Profile::find(call, &id).await?;
            profile.value["code_signing"].clone()
        }
        None => config_of(call),
    };
    Ok(bare(verdict(&config)))
}

pub(super) async fn validate_own(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    Ok(bare(verdict(&profile.value["code_signing"])))
}

fn verdict(config: &Value) -> Value {
    let found = problems(config);
    let errors: Vec<Value> = found.iter().map(Problem::json).collect();
    json!({ "valid": errors.is_empty(), "errors": errors })
}

/// A manifest with a profile's signing configuration: `{profile_id, manifest}`.
pub(super) async fn into_bundle(call: &mut Call) -> Result<Answer, Fault> {
    let id = field::text(call, "profile_id");
    let id = id.ok_or_else(|| Fault::invalid("profile_id is required"))?;
    let profile = Profile::find(call, &id).await?;
    let config = profile.value.get("code_signing").cloned();
    let config = config.unwrap_or_else(|| json!({ "enabled": false }));
    let Some(manifest) = call.fields.get("manifest") else {
        return Ok(bare(json!({ "profile_id": id, "code_signing": config })));
    };
    if !manifest.is_object() {
        return Err(Fault::invalid("manifest is an object"));
    }
    let mut manifest = manifest.clone();
    manifest["code_signing"] = config.clone();
    Ok(bare(
        json!({ "profile_id": id, "code_signing": config, "manifest": manifest }),
    ))
}

/// What the machine that signs needs. It is another one: nothing was looked for.
pub(super) async fn prerequisites(call: &mut Call) -> Result<Answer, Fault> {
    let config = match field::text(call, "profile_id") {
        Some(id) => Profile::find(call, &id).await?.value["code_signing"].clone(),
        None => Value::Null,
    };
    let rows = PLATFORMS.iter().map(|(platform, known)| {
        let own = &config[*platform];
        let named = |holds: Holds| -> Vec<&str> {
            let fields = known.iter().filter(|field| field.holds == holds);
            fields
                .filter_map(|field| own[field.name].as_str())
                .collect()
        };
        let tools: &[&str] = match *platform {
            "windows" => &["signtool or osslsigncode"],
            "macos" => &["codesign", "xcrun notarytool"],
            _ => &["gpg"],
        };
        json!({
            "platform": platform,
            "configured": own.is_object(),
            "tools": tools,
            "variables": named(Holds::Variable),
            "files": named(Holds::File),
            "checked": false,
        })
    });
    let rows: Vec<Value> = rows.collect();
    Ok(bare(json!({
        "prerequisites": rows,
        "note": "the server signs nothing, and has not looked for these on any machine",
    })))
}

/// The list of what has signing configured.
pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let all = documents::all(&call.core, Of::Profiles).await?.into_iter();
    let rows = all.filter(|(_, profile)| profile["code_signing"].is_object());
    let rows: Vec<Value> = rows
        .map(|(_, profile)| {
            json!({
                "profile_id": profile["id"],
                "enabled": profile["code_signing"]["enabled"],
                "valid": problems(&profile["code_signing"]).is_empty(),
            })
        })
        .collect();
    Ok(bare(json!({ "profiles": rows, "total": rows.len() })))
}
