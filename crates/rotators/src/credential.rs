//! A name and a password, in the forms that applications keep them in.
//!
//! A secret is a `postgres://` address, a JSON object with `username` and `password` (as AWS has
//! it), or the password alone. A new one has the same form, and keeps everything else in it.

use strongroom_core::port::RotatorError;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_engine::object::Object;
use tokio_postgres::Config;

const USER: &str = "username";
const PASSWORD: &str = "password";

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

fn form_of(payload: &Payload) -> Result<Form, RotatorError> {
    // EXPOSE: looked at for its beginning only.
    let text = payload.value.expose_secret_text();
    match (payload.shape, text) {
        (Shape::Fields, Some(_)) => Ok(Form::Object),
        (Shape::Text, Some(text)) if text.contains("://") => Ok(Form::Url),
        (Shape::Text, Some(text)) if !text.is_empty() => Ok(Form::Password),
        _ => Err(unread()),
    }
}

/// Reads a secret.
pub(crate) fn read(payload: &Payload) -> Result<Credential, RotatorError> {
    match form_of(payload)? {
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
            // How the connection is protected is not looked at here.
            let address = text.split_once('?').map_or(text, |(address, _)| address);
            let config: Config = address.parse().map_err(|_| unread())?;
            let user = config.get_user().ok_or_else(unread)?.to_owned();
            let password = config.get_password().ok_or_else(unread)?;
            Ok(Credential {
                user: Some(user),
                password: SecretValue::copy_from(password),
            })
        }
    }
}

/// The same secret with another name and password.
pub(crate) fn write(
    payload: &Payload,
    user: &str,
    password: &SecretValue,
) -> Result<Payload, RotatorError> {
    match form_of(payload)? {
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

fn unread() -> RotatorError {
    RotatorError::new(
        "rotation.no_credential",
        "the value is none that has a password: a postgres:// address with user and password, a \
         JSON object with the texts `username` and `password`, or the password alone",
    )
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
        let before = payload(text, shape);
        let found = read(&before).unwrap();
        assert_eq!(found.user.as_deref(), user, "{text}");
        assert_eq!(
            found.password.expose_secret_text(),
            Some(password),
            "{text}"
        );
        let new = SecretValue::copy_from(b"n/e:w@");
        let after = write(&before, "next one", &new).unwrap();
        assert_eq!(after.value.expose_secret_text(), Some(expected));
        assert_eq!(after.shape, shape);
        let again = read(&after).unwrap();
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
            let error = read(&payload(text, shape)).unwrap_err();
            assert_eq!(error.code, "rotation.no_credential");
            assert!(!error.message.contains("canary"));
        }
    }
}
