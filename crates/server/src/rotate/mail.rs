//! Notices by mail.
//!
//! The name and the password for the server are a secret of the store, read when they are needed.
//! What a server answers is not shown, as it may quote them.

use std::sync::Arc;
use std::time::Duration;

use lettre::Address;
use lettre::AsyncSmtpTransport;
use lettre::AsyncTransport;
use lettre::Message;
use lettre::Tokio1Executor;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::Certificate;
use lettre::transport::smtp::client::CertificateStore;
use lettre::transport::smtp::client::Tls;
use lettre::transport::smtp::client::TlsParameters;
use reqwest::Url;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use strongroom_core::host::is_near;
use strongroom_core::path::is_forbidden;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::request::sha256;
use strongroom_engine::Error;
use strongroom_engine::object::Object;
use strongroom_engine::rotation::MailTarget;
use strongroom_engine::rotation::Notice;

use super::policies::MOUNT;
use super::rotators;
use crate::core::Core;
use crate::node::Node;

/// Longest time of a mail, with all that is said about it.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The port of TLS from the start.
const PORT_TLS: u16 = 465;
/// The port of STARTTLS.
const PORT_STARTTLS: u16 = 587;
/// Longest URL of a server.
const URL_CHARS_MAX: usize = 512;
/// Longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 200;
/// Most people that one target writes to.
const RECIPIENTS_MAX: usize = 20;

/// A server, and how the channel to it is protected.
#[derive(Debug, PartialEq, Eq)]
struct Server {
    host: String,
    port: u16,
    protection: Protection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    /// TLS from the start.
    Whole,
    /// STARTTLS, without which nothing is sent.
    Starttls,
    /// None: only on this machine.
    None,
}

/// What is wrong with where mail is to be sent.
pub(crate) fn check(target: &MailTarget) -> Result<(), String> {
    server_of(target)?;
    tls(target, "localhost")?;
    mailbox(&target.from)?;
    if target.to.is_empty() || target.to.len() > RECIPIENTS_MAX {
        return Err(format!(
            "mail is for 1 to {RECIPIENTS_MAX} addresses (`to`)"
        ));
    }
    for to in &target.to {
        mailbox(to)?;
    }
    match &target.credentials {
        Some(name) if crate::aws::name::path_of(name).is_none() => {
            Err("`credentials` is the name of a secret".into())
        }
        _ => Ok(()),
    }
}

fn server_of(target: &MailTarget) -> Result<Server, String> {
    let wrong = || "`server` is smtps://HOST or smtp://HOST, with a port where it is another";
    let text = target.server.as_str();
    if text.len() > URL_CHARS_MAX {
        return Err(wrong().into());
    }
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "`server` is shown in lists: no name and password may stand in it; `credentials` \
             names a secret that has them"
                .into(),
        );
    }
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
    let host = url.host_str().filter(|host| !host.is_empty() && is_bare);
    let host = host.ok_or_else(wrong)?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let is_here = is_near(&host);
    let (protection, port) = match url.scheme() {
        "smtps" => (Protection::Whole, PORT_TLS),
        "smtp" if is_here && target.ca.is_none() => (Protection::None, 25),
        "smtp" => (Protection::Starttls, PORT_STARTTLS),
        _ => return Err(wrong().into()),
    };
    Ok(Server {
        port: url.port().unwrap_or(port),
        host,
        protection,
    })
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    let wrong =
        || "`from` and `to` are addresses of mail, such as Ops <ops@example.org>".to_owned();
    if text.chars().any(is_forbidden) {
        return Err(wrong());
    }
    text.parse::<Mailbox>().map_err(|_| wrong())
}

fn tls(target: &MailTarget, host: &str) -> Result<TlsParameters, String> {
    let unusable = |_| "the certificates (`ca`) cannot be used".to_owned();
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = &target.ca {
        builder = builder.certificate_store(CertificateStore::None);
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let der = der.map_err(|_| "the certificates (`ca`) are no PEM")?;
            let certificate = Certificate::from_der(der.to_vec()).map_err(unusable)?;
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build_rustls().map_err(unusable)
}

/// Sends a notice; why it was not taken, where it was not.
pub(crate) async fn send(
    node: &Node,
    core: &Core,
    name: &str,
    notice: &Notice,
) -> Result<Result<(), String>, Error> {
    let Some(target) = core.state.mail_target(name).await? else {
        // It was forgotten meanwhile.
        return Ok(Ok(()));
    };
    let target = target.value;
    let credentials = match &target.credentials {
        None => None,
        Some(secret) => {
            let live = core.mounts().get(MOUNT).map(Arc::clone);
            let value = match &live {
                Some(live) => rotators::value_of(node, live, secret).await?,
                None => None,
            };
            let read = value.as_ref().and_then(|value| read(&value.value));
            let Some(read) = read else {
                return Ok(Err(format!(
                    "the secret {secret} has no JSON object with the texts `username` and \
                     `password`"
                )));
            };
            Some(read)
        }
    };
    let sent = tokio::time::timeout(TIMEOUT, deliver(&target, credentials, notice)).await;
    Ok(sent.unwrap_or_else(|_| Err("the mail server did not answer in time".into())))
}

fn read(value: &SecretValue) -> Option<Credentials> {
    let object = Object::read(value)?;
    let (user, password) = (object.text("username")?, object.text("password")?);
    // EXPOSE: handed to the library, which sends them to the server and keeps them for this mail.
    let (user, password) = (user.expose_secret_text()?, password.expose_secret_text()?);
    Some(Credentials::new(user.to_owned(), password.to_owned()))
}

async fn deliver(
    target: &MailTarget,
    credentials: Option<Credentials>,
    notice: &Notice,
) -> Result<(), String> {
    let message = message(target, notice)?;
    let server = server_of(target)?;
    let channel = match server.protection {
        Protection::None => Tls::None,
        Protection::Starttls => Tls::Required(tls(target, &server.host)?),
        Protection::Whole => Tls::Wrapper(tls(target, &server.host)?),
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host.as_str());
    let mut builder = builder
        .port(server.port)
        .tls(channel)
        .timeout(Some(TIMEOUT));
    if let Some(credentials) = credentials {
        builder = builder.credentials(credentials);
    }
    let sent = builder.build().send(message).await;
    sent.map(drop).map_err(|error| failed(&server.host, &error))
}

/// A failure in words: what the server said may quote what it was told.
fn failed(host: &str, error: &smtp::Error) -> String {
    let what = match error.status() {
        Some(code) => return format!("the mail server {host} refuses it ({code})"),
        None if error.is_timeout() => "did not answer in time",
        None if error.is_tls() => "has a certificate that is not accepted, or no TLS",
        None if error.is_client() => "does not do what is needed: STARTTLS, or a way to log in",
        None => "cannot be reached, or broke the connection",
    };
    format!("the mail server {host} {what}")
}

fn message(target: &MailTarget, notice: &Notice) -> Result<Message, String> {
    let body: Value = serde_json::from_str(&notice.body).unwrap_or_default();
    let text = |name: &str| plain(body[name].as_str().unwrap_or_default());
    let subject = format!("[strongroom] {}: {}", text("event"), text("secret"));
    let subject: String = subject.chars().take(SUBJECT_CHARS_MAX).collect();
    let mut lines = format!("{}\n", text("message"));
    for name in ["event", "secret", "at", "policy", "owner"] {
        let value = text(name);
        if !value.is_empty() {
            lines.push_str(&format!("\n{name}: {value}"));
        }
    }
    lines.push('\n');
    let from = mailbox(&target.from)?;
    // Told twice (after a crash, say) it is the same mail.
    let id = format!("{}\0{}", notice.to, notice.key);
    let id = data_encoding::HEXLOWER.encode(&sha256(id.as_bytes()));
    let id = format!("<{id}@{}>", domain(&from.email));
    let seconds = u64::try_from(notice.made.as_micros() / 1_000_000).unwrap_or_default();
    let mut builder = Message::builder()
        .from(from)
        .subject(subject)
        .message_id(Some(id))
        .date(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
        .header(ContentType::TEXT_PLAIN);
    for to in &target.to {
        builder = builder.to(mailbox(to)?);
    }
    // It is told what is missing, and quotes nothing.
    let built = builder.body(lines);
    built.map_err(|error| format!("the mail cannot be written: {error}"))
}

fn domain(address: &Address) -> &str {
    address.domain()
}

/// A text on one line: what would begin a header, or a line of a terminal, becomes a space.
fn plain(text: &str) -> String {
    let letter = |c: char| match is_forbidden(c) {
        true => ' ',
        false => c,
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(server: &str) -> MailTarget {
        MailTarget {
            server: server.into(),
            from: "Strongroom <strongroom@example.org>".into(),
            to: vec!["ops@example.org".into()],
            credentials: None,
            ca: None,
            created: strongroom_core::time::Timestamp::from_micros(0),
        }
    }

    #[test]
    fn servers_are_reached_in_the_clear_on_this_machine_only() {
        let of = |text: &str| {
            let server = server_of(&target(text))?;
            Ok::<_, String>((server.host, server.port, server.protection))
        };
        for (text, host, port, protection) in [
            (
                "smtps://mail.internal",
                "mail.internal",
                465,
                Protection::Whole,
            ),
            (
                "smtp://mail.internal",
                "mail.internal",
                587,
                Protection::Starttls,
            ),
            (
                "smtp://mail.internal:25",
                "mail.internal",
                25,
                Protection::Starttls,
            ),
            ("smtp://127.0.0.1:2525", "127.0.0.1", 2525, Protection::None),
            ("smtp://[::1]:2525/", "::1", 2525, Protection::None),
            (
                "smtps://localhost:2525",
                "localhost",
                2525,
                Protection::Whole,
            ),
        ] {
            assert_eq!(of(text), Ok((host.into(), port, protection)), "{text}");
        }
        for text in [
            "mail.internal",
            "https://mail.internal",
            "smtp://",
            "smtp://a:canary@mail.internal",
            "smtps://mail.internal/x",
            "smtps://mail.internal?tls=no",
        ] {
            let said = of(text).unwrap_err();
            assert!(!said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn who_is_written_to_cannot_begin_a_header() {
        assert_eq!(check(&target("smtps://mail.internal")), Ok(()));
        for address in ["", "ops", "ops@example.org\r\nBcc: a@b.c", "a@b.c, d@e.f"] {
            let to = MailTarget {
                to: vec![address.into()],
                ..target("smtps://mail.internal")
            };
            assert!(check(&to).is_err(), "{address}");
            let from = MailTarget {
                from: address.into(),
                ..target("smtps://mail.internal")
            };
            assert!(check(&from).is_err(), "{address}");
        }
    }
}
