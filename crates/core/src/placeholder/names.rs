//! What a variable's name (and value) tells about it.

use crate::format::ValueType;
use crate::format::split_url;

/// Words anywhere in a name that make it a secret's.
const SECRET_WORDS: [&str; 22] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "pass",
    "secret",
    "secrets",
    "token",
    "tokens",
    "credential",
    "credentials",
    "creds",
    "apikey",
    "apikeys",
    "dsn",
    "salt",
    "pepper",
    "privatekey",
    "passwort",
    "pat",
    "keytab",
];
/// Words that mark a setting about a secret when they stand last.
const SETTING_ENDS: [&str; 56] = [
    "path",
    "file",
    "dir",
    "directory",
    "folder",
    "source",
    "type",
    "algorithm",
    "alg",
    "name",
    "names",
    "header",
    "prefix",
    "suffix",
    "field",
    "id",
    "ids",
    "user",
    "username",
    "email",
    "host",
    "hostname",
    "port",
    "region",
    "issuer",
    "audience",
    "version",
    "rounds",
    "format",
    "backend",
    "provider",
    "mode",
    "policy",
    "validation",
    "required",
    "limit",
    "count",
    "size",
    "length",
    "bytes",
    "bits",
    "minutes",
    "seconds",
    "days",
    "hours",
    "ms",
    "endpoint",
    "scope",
    "scopes",
    "domain",
    "strategy",
    "enabled",
    "disabled",
    "engine",
    "address",
    "mount",
];
/// Words that mark a setting wherever they stand.
const SETTING_WORDS: [&str; 20] = [
    "expire",
    "expires",
    "expiry",
    "expiration",
    "expiring",
    "ttl",
    "lifetime",
    "timeout",
    "max",
    "min",
    "cors",
    "allow",
    "enable",
    "disable",
    "require",
    "rotation",
    "retention",
    "public",
    "publishable",
    "per",
];
/// Words before `key` that make it no secret.
const OTHER_KEYS: [&str; 12] = [
    "primary",
    "foreign",
    "cache",
    "sort",
    "partition",
    "idempotency",
    "site",
    "row",
    "map",
    "hot",
    "index",
    "color",
];
/// Services whose address or password belongs to the infrastructure.
const INFRASTRUCTURE: [&str; 28] = [
    "database",
    "databases",
    "db",
    "postgres",
    "postgresql",
    "pg",
    "pgpassword",
    "mysql",
    "mariadb",
    "mongo",
    "mongodb",
    "redis",
    "valkey",
    "rabbitmq",
    "amqp",
    "kafka",
    "broker",
    "celery",
    "elasticsearch",
    "opensearch",
    "memcached",
    "minio",
    "nats",
    "clickhouse",
    "cassandra",
    "mssql",
    "sqlserver",
    "neo4j",
];
/// Schemes of such services.
const INFRASTRUCTURE_SCHEMES: [&str; 14] = [
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "mongodb",
    "mongodb+srv",
    "redis",
    "rediss",
    "amqp",
    "amqps",
    "nats",
    "kafka",
    "clickhouse",
    "sqlserver",
];
/// Words of keys that an installation makes for itself.
const OWN_KEYS: [&str; 18] = [
    "jwt",
    "session",
    "sessions",
    "cookie",
    "cookies",
    "csrf",
    "xsrf",
    "encryption",
    "encrypt",
    "signing",
    "hmac",
    "salt",
    "pepper",
    "nextauth",
    "internal",
    "master",
    "fernet",
    "state",
];
/// Words that go with a key which an installation makes for itself.
const OWN_KEY_COMPANIONS: [&str; 20] = [
    "secret",
    "secrets",
    "key",
    "keys",
    "base",
    "app",
    "application",
    "auth",
    "authentication",
    "token",
    "access",
    "refresh",
    "django",
    "flask",
    "rails",
    "laravel",
    "server",
    "site",
    "api",
    "hash",
];
/// Words of keys that somebody else gives out.
const GIVEN_KEYS: [&str; 26] = [
    "client",
    "webhook",
    "webhooks",
    "stripe",
    "aws",
    "google",
    "github",
    "gitlab",
    "azure",
    "facebook",
    "twitter",
    "slack",
    "openai",
    "anthropic",
    "clerk",
    "auth0",
    "supabase",
    "recaptcha",
    "captcha",
    "turnstile",
    "s3",
    "paypal",
    "shopify",
    "consumer",
    "twilio",
    "sendgrid",
];
/// Beginnings of tokens that are secret whatever they are called.
const TOKEN_PREFIXES: [&str; 20] = [
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "whsec_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "hvs.",
    "hf_",
    "npm_",
    "pypi-",
    "shpat_",
    "SG.",
];

/// Lower-case words of a name: `apiKey`, `API_KEY` and `api-key` all give `api`, `key`.
pub(super) fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut last_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && last_lower) {
            words.push(String::new());
        }
        last_lower = c.is_lowercase() || c.is_ascii_digit();
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// True for names of settings about secrets: `ACCESS_TOKEN_EXPIRE_MINUTES`, `SECRETS_SOURCE`.
pub(super) fn is_setting_name(name: &str) -> bool {
    is_setting(&words_of(name))
}

fn is_setting(words: &[String]) -> bool {
    let last = words.last().map_or("", String::as_str);
    SETTING_ENDS.contains(&last) || has(words, &SETTING_WORDS)
}

fn has(words: &[String], list: &[&str]) -> bool {
    words.iter().any(|word| list.contains(&word.as_str()))
}

/// Whether a variable of this name probably holds a secret.
#[must_use]
pub fn is_sensitive_name(name: &str) -> bool {
    let words = words_of(name);
    if is_setting(&words) {
        return false;
    }
    let last = words.last().map_or("", String::as_str);
    let before_last = words.iter().rev().nth(1).map_or("", String::as_str);
    if matches!(
        last,
        "url" | "uri" | "urls" | "conn" | "connection" | "connectionstring"
    ) {
        return has(&words, &INFRASTRUCTURE)
            || before_last == "webhook"
            || last.starts_with("conn");
    }
    let is_connection_string = words.iter().any(|word| word.starts_with("conn"))
        && matches!(last, "string" | "str" | "connectionstring");
    let is_key = matches!(last, "key" | "keys" | "base") && has(&words, &["key", "keys"]);
    let ends_in_secret = ["password", "passwd", "secret", "apikey"];
    has(&words, &SECRET_WORDS)
        || is_connection_string
        || (is_key && !OTHER_KEYS.contains(&before_last))
        || words
            .iter()
            .any(|word| ends_in_secret.iter().any(|end| word.ends_with(end)))
}

/// What a variable of an `.env` file probably is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guess {
    /// It holds a secret.
    pub sensitive: bool,
    /// The type its value has, when that is plain.
    pub format: Option<ValueType>,
    /// An installation can draw it for itself.
    pub generated: bool,
    /// It is the address or password of a database, broker or cache.
    pub infrastructure: bool,
}

/// Guesses what a variable is from its name and value, for a first manifest.
#[must_use]
pub fn guess(name: &str, value: &str) -> Guess {
    let value = value.trim();
    let words = words_of(name);
    let format = guess_format(&words, value);
    let url = split_url(value);
    let scheme = url
        .as_ref()
        .map(|parts| parts.scheme.to_ascii_lowercase())
        .unwrap_or_default();
    let has_password = url
        .as_ref()
        .and_then(|parts| parts.password)
        .is_some_and(|password| !password.is_empty());
    let plain = matches!(
        format,
        Some(ValueType::Boolean | ValueType::Integer | ValueType::Port | ValueType::Email)
    ) && value.len() < 6;
    let local_database = ["sqlite", "file"]
        .iter()
        .any(|local| scheme.starts_with(local));
    let by_name = is_sensitive_name(name) && !plain && !local_database;
    let by_value = has_password
        || matches!(format, Some(ValueType::Jwt))
        || value.contains("PRIVATE KEY-----")
        || TOKEN_PREFIXES
            .iter()
            .any(|prefix| value.starts_with(prefix));
    let sensitive = by_name || by_value;
    let infrastructure = sensitive
        && (INFRASTRUCTURE_SCHEMES.contains(&scheme.as_str()) || has(&words, &INFRASTRUCTURE));
    let generated = sensitive && !infrastructure && format.is_none() && is_own_key(&words);
    Guess {
        sensitive,
        format,
        generated,
        infrastructure,
    }
}

/// `JWT_SECRET`, `SESSION_SECRET`, `DATA_ENCRYPTION_KEY`, `SECRET_KEY_BASE`, `APP_KEY`.
fn is_own_key(words: &[String]) -> bool {
    let last = words.last().map_or("", String::as_str);
    let ends_well = [
        "secret", "secrets", "key", "keys", "base", "salt", "pepper", "token",
    ];
    if !ends_well.contains(&last) || has(words, &GIVEN_KEYS) {
        return false;
    }
    let all_own = words.iter().all(|word| {
        OWN_KEYS.contains(&word.as_str()) || OWN_KEY_COMPANIONS.contains(&word.as_str())
    });
    // `API_KEY` and `ACCESS_TOKEN` alone are given by somebody.
    let given = ["api", "access", "refresh"]
        .iter()
        .any(|word| words.iter().any(|own| own == word))
        && !has(words, &OWN_KEYS);
    let only_token = last == "token" && !has(words, &["internal"]);
    (has(words, &OWN_KEYS) || (all_own && !given)) && !only_token
}

fn guess_format(words: &[String], value: &str) -> Option<ValueType> {
    let is = |value_type: ValueType| value_type.check(value.as_bytes()).is_ok();
    let last = words.last().map_or("", String::as_str);
    if value.is_empty() {
        return None;
    }
    if has(words, &["port"]) && is(ValueType::Port) {
        return Some(ValueType::Port);
    }
    if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
        return Some(ValueType::Boolean);
    }
    let shapes = [
        ValueType::Integer,
        ValueType::PostgresUrl,
        ValueType::MysqlUrl,
        ValueType::MongodbUrl,
        ValueType::RedisUrl,
        ValueType::AmqpUrl,
        ValueType::Url,
        ValueType::Uuid,
        ValueType::Jwt,
        ValueType::Pem,
    ];
    if let Some(shape) = shapes.into_iter().find(|shape| is(*shape)) {
        return Some(shape);
    }
    let mail_like =
        matches!(last, "email" | "mail" | "from" | "to" | "sender") || value.contains('.');
    (mail_like && is(ValueType::Email)).then_some(ValueType::Email)
}
