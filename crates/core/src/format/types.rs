//! One check for each declared type.

use core::net::IpAddr;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::FormatProblem;
use super::ValueType;
use super::json::is_json;
use super::parse_bool;

type Check = Result<(), FormatProblem>;

/// Checks a value of a declared type.
pub(super) fn check(value_type: ValueType, value: &[u8]) -> Check {
    let text = std::str::from_utf8(value).map_err(|_| FormatProblem::new("is not UTF-8 text"))?;
    if text.is_empty() {
        return Err(FormatProblem::new("is empty"));
    }
    if value_type != ValueType::Text
        && !is_block(value_type)
        && text.starts_with(char::is_whitespace) | text.ends_with(char::is_whitespace)
    {
        return Err(FormatProblem::new(
            "has white space or a line end around it",
        ));
    }
    match value_type {
        ValueType::Text => Ok(()),
        ValueType::Url => url(text, &[], "is not a URL such as https://host/path"),
        ValueType::HttpsUrl => url(text, &["https"], "is not a URL with scheme https://"),
        ValueType::PostgresUrl => url(
            text,
            &["postgres", "postgresql"],
            "is not a URL with scheme postgres:// or postgresql://",
        ),
        ValueType::MysqlUrl => url(
            text,
            &["mysql", "mariadb"],
            "is not a URL with scheme mysql:// or mariadb://",
        ),
        ValueType::MongodbUrl => url(
            text,
            &["mongodb", "mongodb+srv"],
            "is not a URL with scheme mongodb:// or mongodb+srv://",
        ),
        ValueType::RedisUrl => url(
            text,
            &["redis", "rediss"],
            "is not a URL with scheme redis:// or rediss://",
        ),
        ValueType::AmqpUrl => url(
            text,
            &["amqp", "amqps"],
            "is not a URL with scheme amqp:// or amqps://",
        ),
        ValueType::Email => expect(is_email(text), "is not a mail address"),
        ValueType::Hostname => expect(is_host(text), "is not a host name or IP address"),
        ValueType::Port => port(text),
        ValueType::Integer => expect(text.parse::<i64>().is_ok(), "is not a whole number"),
        ValueType::Boolean => expect(
            parse_bool(text).is_some(),
            "is not a boolean (true, false, 1, 0, yes, no, on or off)",
        ),
        ValueType::Hex => {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            let good = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            expect(good, "is not hexadecimal")
        }
        ValueType::Base64 => expect(is_base64(text, b"+/"), "is not base64"),
        ValueType::Base64url => expect(is_base64(text, b"-_"), "is not URL-safe base64"),
        ValueType::Uuid => expect(is_uuid(text), "is not a UUID such as 8-4-4-4-12 digits"),
        ValueType::Jwt => jwt(text),
        ValueType::Pem => pem(text, false),
        ValueType::SshPrivateKey => pem(text, true),
        ValueType::Json => expect(is_json(value), "is not JSON"),
    }
}

/// Types whose values are blocks of lines, where a line end at the end is usual.
fn is_block(value_type: ValueType) -> bool {
    matches!(
        value_type,
        ValueType::Pem | ValueType::SshPrivateKey | ValueType::Json
    )
}

fn expect(holds: bool, problem: &'static str) -> Check {
    if holds {
        Ok(())
    } else {
        Err(FormatProblem::new(problem))
    }
}

/// The parts of a URL that matter here.
pub(crate) struct UrlParts<'a> {
    /// Before `://`.
    pub(crate) scheme: &'a str,
    /// Between `:` and `@`, when there is one.
    pub(crate) password: Option<&'a str>,
    /// Hosts with their ports, separated by commas.
    hosts: &'a str,
    /// From the first `/`, `?` or `#` on.
    pub(crate) tail: &'a str,
}

/// Takes a URL apart; `None` when it has no scheme with `://`.
pub(crate) fn split_url(text: &str) -> Option<UrlParts<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    let mut letters = scheme.bytes();
    let scheme_good = letters
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    if !scheme_good {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user_info, hosts) = match authority.rsplit_once('@') {
        Some((user_info, hosts)) => (Some(user_info), hosts),
        None => (None, authority),
    };
    let password = user_info
        .and_then(|text| text.split_once(':'))
        .map(|(_, password)| password);
    Some(UrlParts {
        scheme,
        password,
        hosts,
        tail,
    })
}

/// The password inside a URL, as written (percent-encoded where it is).
#[must_use]
pub fn url_password(text: &str) -> Option<&str> {
    split_url(text)?
        .password
        .filter(|password| !password.is_empty())
}

fn url(text: &str, schemes: &[&str], problem: &'static str) -> Check {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(FormatProblem::new("is a URL with white space in it"));
    }
    let parts = split_url(text).ok_or(FormatProblem::new(problem))?;
    let known = schemes
        .iter()
        .any(|scheme| parts.scheme.eq_ignore_ascii_case(scheme));
    if !schemes.is_empty() && !known {
        return Err(FormatProblem::new(problem));
    }
    if parts.hosts.is_empty() {
        let has_path = parts.tail.len() > 1;
        let local = ["file", "sqlite", "unix", "postgres", "postgresql"];
        let may_be_local = local.iter().any(|scheme| parts.scheme.starts_with(scheme));
        return expect(has_path && may_be_local, "is a URL without a host");
    }
    for host in parts.hosts.split(',') {
        url_host(host)?;
    }
    Ok(())
}

fn url_host(host: &str) -> Check {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (
            name,
            rest.strip_prefix(':').or(rest.is_empty().then_some("")),
        ),
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("")),
        },
    };
    let port_good = port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok());
    expect(
        port_good,
        "is a URL whose port is no number (a password with / ? # or @ must be percent-encoded)",
    )?;
    // Container names may hold underscores, and percent-encoded socket paths stand for hosts.
    let loose = |c: char| c.is_alphanumeric() || "-._%~".contains(c);
    let name_good = IpAddr::from_str(name).is_ok() || (!name.is_empty() && name.chars().all(loose));
    expect(name_good, "is a URL whose host is malformed")
}

fn is_host(text: &str) -> bool {
    if IpAddr::from_str(text).is_ok() {
        return true;
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label_good)
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let local_good = (1..=64).contains(&local.len())
        && local
            .chars()
            .all(|c| !c.is_whitespace() && !c.is_control() && !"\"(),:;<>@[\\]".contains(c));
    local_good && is_host(domain)
}

fn port(text: &str) -> Check {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let in_range = text.parse::<u16>().is_ok_and(|port| port > 0);
    expect(digits && in_range, "is not a port number from 1 to 65535")
}

fn is_base64(text: &str, extra: &[u8; 2]) -> bool {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    let padding_good = match body.len() % 4 {
        0 => padding == 0,
        1 => false,
        2 => matches!(padding, 0 | 2),
        _ => matches!(padding, 0 | 1),
    };
    padding_good
        && !body.is_empty()
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
}

fn is_uuid(text: &str) -> bool {
    let groups = text.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12])
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn jwt(text: &str) -> Check {
    let problem = FormatProblem::new("is not a JSON web token of three parts");
    let parts: Vec<&str> = text.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        return Err(problem);
    };
    let is_object = |part: &str| {
        BASE64URL_NOPAD
            .decode(part.as_bytes())
            .map(Zeroizing::new)
            .is_ok_and(|bytes| bytes.first() == Some(&b'{') && is_json(&bytes))
    };
    if !is_object(header) || !is_object(claims) {
        return Err(problem);
    }
    expect(
        is_base64(signature, b"-_"),
        "is a JSON web token without a signature",
    )
}

fn pem(text: &str, ssh_only: bool) -> Check {
    let problem = || FormatProblem::new("is not a PEM block (-----BEGIN … -----END …)");
    if text.contains("\\n") && text.contains("-----BEGIN ") {
        return Err(FormatProblem::new(
            "has \\n written out where a line end should be",
        ));
    }
    let mut open: Option<&str> = None;
    let mut blocks = 0_u32;
    let mut body_chars = 0_usize;
    for line in text.lines().map(str::trim_end) {
        let begin = line
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.strip_suffix("-----"));
        let end = line
            .strip_prefix("-----END ")
            .and_then(|rest| rest.strip_suffix("-----"));
        match (open, begin, end) {
            (None, Some(label), _) => {
                let is_key = label.ends_with("PRIVATE KEY");
                expect(!ssh_only || is_key, "is a PEM block, but no private key")?;
                open = Some(label);
                body_chars = 0;
            }
            (Some(label), _, Some(closed)) if closed == label && body_chars > 0 => {
                open = None;
                blocks += 1;
            }
            // Older encrypted keys have headers such as `Proc-Type: 4,ENCRYPTED`.
            (Some(_), None, None) if line.is_empty() || line.contains(": ") => {}
            (Some(_), None, None) => {
                let good = line
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                expect(good, "is a PEM block whose body is not base64")?;
                body_chars += line.len();
            }
            // Text before a block is allowed (RFC 7468, 5.2).
            (None, None, None) => {}
            _ => return Err(problem()),
        }
    }
    if open.is_some() {
        return Err(FormatProblem::new(
            "is a PEM block that is cut off before its END line",
        ));
    }
    if blocks == 0 { Err(problem()) } else { Ok(()) }
}
