//! A name and a password, in the forms that applications keep them in.
//!
//! A secret is the address of a database, a JSON object with `username` and `password` (as AWS has
//! it), or the password alone. A new one has the same form, and keeps everything else in it.

use strongroom_core::percent;
use strongroom_core::port::RotatorError;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_engine::object::Object;
use tokio_postgres::Config;
use url::Url;

const USER: &str = "username";
const PASSWORD: &str = "password";

/// Which addresses a secret may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Urls {
    Mysql,
    Postgres,
    Redis,
}

impl Urls {
    fn schemes(self) -> [&'static str; 2] {
        match self {
            Self::Mysql => ["mysql", "mariadb"],
            Self::Postgres => ["postgres", "postgresql"],
            Self::Redis => ["redis", "rediss"],
        }
    }
}

/// What a secret says.
#[derive(Debug)]
pub(crate) struct Credential {
    /// Who; `None` where the secret is the password alone.
    pub(crate) user: Option<String>,
    pub(crate) password: SecretValue,
}

/// What forms a value has.
enum Form {
    Url,
    Object,
    Password,
}

fn form_of(payload: &Payload, urls: Urls) -> Result<Form, RotatorError> {
    // EXPOSE: looked at for its beginning only.
    let text = payload.value.expose_secret_text();
    match (payload.shape, text) {
        (Shape::Fields, Some(_)) => Ok(Form::Object),
        (Shape::Text, Some(text)) if text.contains("://") => Ok(Form::Url),
        (Shape::Text, Some(text)) if !text.is_empty() => Ok(Form::Password),
        _ => Err(unread(urls)),
    }
}

/// Reads a secret.
pub(crate) fn read(payload: &Payload, urls: Urls) -> Result<Credential, RotatorError> {
    let unread = || unread(urls);
    match form_of(payload, urls)? {
        Form::Password => Ok(Credential {
            user: None,
            password: payload.value.clone(),
        }),
        Form::Object => {
            let object = Object::read(&payload.value).ok_or_else(unread)?;
            let user = object.text(USER).ok_or_else(unread)?;
            let password = object.text(PASSWORD).ok_or_else(unread)?;
            // EXPOSE: a name is no secret.
            let user = user.expose_secret_text().map(str::to_owned);
            Ok(Credential { user, password })
        }
        Form::Url => {
            // EXPOSE: read for its name and password, which are kept as secrets are.
            let text = payload.value.expose_secret_text().unwrap_or_default();
            let scheme = text.split_once("://").map(|(scheme, _)| scheme);
            if !scheme.is_some_and(|scheme| urls.schemes().contains(&scheme)) {
                return Err(unread());
            }
            match urls {
                Urls::Postgres => of_postgres(text).ok_or_else(unread),
                Urls::Mysql | Urls::Redis => of_url(text).ok_or_else(unread),
            }
        }
    }
}

fn of_postgres(text: &str) -> Option<Credential> {
    // How the connection is protected is not looked at here.
    let address = text.split_once('?').map_or(text, |(address, _)| address);
    let config: Config = address.parse().ok()?;
    Some(Credential {
        user: Some(config.get_user()?.to_owned()),
        password: SecretValue::copy_from(config.get_password()?),
    })
}

/// The user may be left out.
fn of_url(text: &str) -> Option<Credential> {
    let url = Url::parse(text).ok()?;
    let user = String::from_utf8(percent::decoded(url.username())).ok()?;
    let password = SecretValue::new(percent::decoded(url.password()?));
    Some(Credential {
        user: Some(user).filter(|user| !user.is_empty()),
        password,
    })
}

/// The same secret with another name and password. No name stays none.
pub(crate) fn write(
    payload: &Payload,
    urls: Urls,
    user: &str,
    password: &SecretValue,
) -> Result<Payload, RotatorError> {
    let unread = || unread(urls);
    match form_of(payload, urls)? {
        Form::Password => Ok(Payload {
            value: password.clone(),
            shape: Shape::Text,
        }),
        Form::Object => {
            let mut object = Object::read(&payload.value).ok_or_else(unread)?;
            let user = SecretValue::copy_from(user.as_bytes());
            match object.set(USER, &user) && object.set(PASSWORD, password) {
                true => Ok(object.payload()),
                false => Err(unread()),
            }
        }
        Form::Url => {
            // EXPOSE: copied around its name and password into a new secret.
            let text = payload.value.expose_secret_text().unwrap_or_default();
            let (scheme, rest) = text.split_once("://").ok_or_else(unread)?;
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, tail) = rest.split_at(end);
            let (_, hosts) = authority.rsplit_once('@').ok_or_else(unread)?;
            let mut bytes =
                Vec::with_capacity(text.len() + 3 * (user.len() + password.len_bytes()));
            bytes.extend_from_slice(scheme.as_bytes());
            bytes.extend_from_slice(b"://");
            push_encoded(&mut bytes, user.as_bytes());
            bytes.push(b':');
            // EXPOSE: goes into the new secret.
            push_encoded(&mut bytes, password.expose_secret());
            bytes.push(b'@');
            bytes.extend_from_slice(hosts.as_bytes());
            bytes.extend_from_slice(tail.as_bytes());
            Ok(Payload {
                value: SecretValue::new(bytes),
                shape: Shape::Text,
            })
        }
    }
}

/// Writes bytes as they may stand in the userinfo of a URL.
fn push_encoded(into: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(byte);
        } else {
            let digits = [byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)]);
            into.push(b'%');
            into.extend_from_slice(&digits);
        }
    }
}

fn unread(urls: Urls) -> RotatorError {
    let [scheme, _] = urls.schemes();
    let message = format!(
        "the value is none that has a password: a {scheme}:// address with user and password, a \
         JSON object with the texts `username` and `password`, or the password alone"
    );
    RotatorError::new("rotation.no_credential", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &str, shape: Shape) -> Payload {
        Payload {
            value: SecretValue::copy_from(text.as_bytes()),
            shape,
        }
    }

    fn check(text: &str, shape: Shape, user: Option<&str>, password: &str, expected: &str) {
        let urls = match text.contains("redis") {
            true => Urls::Redis,
            false => Urls::Postgres,
        };
        let before = payload(text, shape);
        let found = read(&before, urls).unwrap();
        assert_eq!(found.user.as_deref(), user, "{text}");
        assert_eq!(
            found.password.expose_secret_text(),
            Some(password),
            "{text}"
        );
        let new = SecretValue::copy_from(b"n/e:w@");
        let after = write(&before, urls, user.map_or("", |_| "next one"), &new).unwrap();
        assert_eq!(after.value.expose_secret_text(), Some(expected));
        assert_eq!(after.shape, shape);
        let again = read(&after, urls).unwrap();
        assert!(again.password.ct_eq(&new), "{expected}");
        assert_eq!(
            again.user.as_deref(),
            user.map(|_| "next one"),
            "{expected}"
        );
    }

    #[test]
    fn every_form_is_kept() {
        check("pw", Shape::Text, None, "pw", "n/e:w@");
        check(
            "{\"engine\":\"postgres\",\"username\":\"app\",\"password\":\"pw\",\"port\":5432}",
            Shape::Fields,
            Some("app"),
            "pw",
            "{\"engine\":\"postgres\",\"username\":\"next one\",\"password\":\"n/e:w@\",\
             \"port\":5432}",
        );
        check(
            "postgresql://a%40pp:p%2Fw@h1:1,h2:2/db?sslmode=require&x=a@b",
            Shape::Text,
            Some("a@pp"),
            "p/w",
            "postgresql://next%20one:n%2Fe%3Aw%40@h1:1,h2:2/db?sslmode=require&x=a@b",
        );
        check(
            "postgres://app:pw@h",
            Shape::Text,
            Some("app"),
            "pw",
            "postgres://next%20one:n%2Fe%3Aw%40@h",
        );
        check(
            "rediss://a%40pp:p%2Fw@h:6379/2?x=a@b",
            Shape::Text,
            Some("a@pp"),
            "p/w",
            "rediss://next%20one:n%2Fe%3Aw%40@h:6379/2?x=a@b",
        );
        check(
            "redis://:pw@h/0",
            Shape::Text,
            None,
            "pw",
            "redis://:n%2Fe%3Aw%40@h/0",
        );
    }

    #[test]
    fn what_has_no_password_is_refused_without_being_quoted() {
        for (text, shape) in [
            ("", Shape::Text),
            ("postgres://app@canary/db", Shape::Text),
            ("mysql://app:canary@h/db", Shape::Text),
            ("{\"password\":\"canary\"}", Shape::Fields),
            ("{\"username\":1,\"password\":\"canary\"}", Shape::Fields),
            ("canary", Shape::Binary),
        ] {
            for urls in [Urls::Postgres, Urls::Redis] {
                let error = read(&payload(text, shape), urls).unwrap_err();
                assert_eq!(error.code, "rotation.no_credential");
                assert!(!error.message.contains("canary"));
            }
        }
    }
}
