//! Where a MariaDB or MySQL is, as clients of Vault say it: in the form of Go's driver.

use strongroom_core::secret::SecretValue;

/// Options that mean nothing here: they are about values in rows, and how long a client waits.
const IDLE: [&str; 16] = [
    "allowNativePasswords",
    "charset",
    "checkConnLiveness",
    "clientFoundRows",
    "collation",
    "columnsWithAlias",
    "connectionAttributes",
    "interpolateParams",
    "loc",
    "maxAllowedPacket",
    "multiStatements",
    "parseTime",
    "readTimeout",
    "rejectReadOnly",
    "timeout",
    "writeTimeout",
];

/// `USER:PASSWORD@tcp(HOST:PORT)/DATABASE?OPTION=VALUE`, in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dsn<'a> {
    pub(super) user: &'a str,
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    pub(super) database: &'a str,
    /// What `tls` says, where it does.
    pub(super) tls: Option<bool>,
}

/// The parts before the place: user and password, where there is one.
fn userinfo(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let end = text.rfind('/')?;
    let at = text[..end].rfind('@');
    let place = &text[at.map_or(0, |at| at + 1)..];
    let said = &text[..at.unwrap_or(0)];
    Some(match said.split_once(':') {
        Some((user, password)) => (user, Some(password), place),
        None => (said, None, place),
    })
}

impl<'a> Dsn<'a> {
    /// Reads one. A password in it is passed over.
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        const FORM: &str = "it is not of the form {{username}}:{{password}}@tcp(HOST:PORT)/";
        let (user, _, place) = userinfo(text).ok_or(FORM)?;
        let (network, rest) = place.split_once('(').unwrap_or(("", place));
        if !matches!(network, "" | "tcp") {
            return Err("only tcp(HOST:PORT) can be reached".into());
        }
        let (address, rest) = match rest.len() == place.len() {
            // Nothing but the database: the usual port of this machine.
            true => ("localhost", place.strip_prefix('/').ok_or(FORM)?),
            false => rest.split_once(")/").ok_or(FORM)?,
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse::<u16>().map_err(|_| "its port is none")?;
                (host, Some(port))
            }
            _ => (address, None),
        };
        let (database, query) = rest.split_once('?').unwrap_or((rest, ""));
        let tls = tls_of(query)?;
        match host {
            "" => Err("it names no host".into()),
            host => Ok(Self {
                user,
                host,
                port,
                database,
                tls,
            }),
        }
    }
}

fn tls_of(query: &str) -> Result<Option<bool>, String> {
    let mut tls = None;
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match (name, value) {
            ("tls", "false") => tls = Some(false),
            ("tls", "skip-verify" | "preferred") => {
                return Err(format!(
                    "tls={value} does not check whom it talks to: true, or false where the network \
                     is trusted"
                ));
            }
            // Others name settings, which are the fields tls_ca and tls_server_name here.
            ("tls", _) => tls = Some(true),
            (name, _) if IDLE.contains(&name) => {}
            (name, _) => return Err(format!("its option {name} is not supported")),
        }
    }
    Ok(tls)
}

/// One without the user and the password that stand in it.
pub(crate) fn without_password(text: &str) -> (String, Option<(String, SecretValue)>) {
    let Some((user, Some(password), place)) = userinfo(text) else {
        return (text.to_owned(), None);
    };
    if user.contains("{{") || password.contains("{{") {
        return (text.to_owned(), None);
    }
    let url = format!("{{{{username}}}}:{{{{password}}}}@{place}");
    let password = SecretValue::copy_from(password.as_bytes());
    (url, Some((user.to_owned(), password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_s_form_is_read() {
        let read = |text| Dsn::read(text).unwrap();
        let dsn = read("{{username}}:{{password}}@tcp(127.0.0.1:3307)/");
        assert_eq!((dsn.user, dsn.host), ("{{username}}", "127.0.0.1"));
        assert_eq!((dsn.port, dsn.database, dsn.tls), (Some(3307), "", None));
        let dsn = read("boss:a@b/c:d(e@tcp([::1]:3306)/shop?parseTime=true&tls=false");
        assert_eq!((dsn.user, dsn.host), ("boss", "[::1]"));
        assert_eq!((dsn.database, dsn.tls), ("shop", Some(false)));
        let dsn = read("tcp(db.example)/?tls=custom");
        assert_eq!((dsn.user, dsn.host, dsn.port), ("", "db.example", None));
        assert_eq!(dsn.tls, Some(true));
        assert_eq!(read("u@/shop").host, "localhost");
        assert_eq!(read("tcp([fe80::1])/").host, "[fe80::1]");
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_its_password() {
        for (text, why) in [
            ("", "form"),
            ("canary:canary@tcp(h:1)", "form"),
            ("u:canary@tcp(h:1/", "form"),
            ("u:canary@unix(/run/m.sock)/", "tcp(HOST:PORT)"),
            ("u:canary@tcp(h:x)/", "port"),
            ("u:canary@tcp(:3306)/", "host"),
            ("u:canary@tcp(h:1)/?tls=skip-verify", "does not check"),
            ("u:canary@tcp(h:1)/?tls=preferred", "does not check"),
            (
                "u:canary@tcp(h:1)/?allowCleartextPasswords=true",
                "allowClear",
            ),
        ] {
            let said = Dsn::read(text).unwrap_err();
            assert!(
                said.contains(why) && !said.contains("canary"),
                "{text} {said}"
            );
        }
    }

    #[test]
    fn a_password_is_taken_out() {
        let (url, found) = without_password("ann:p@ss:w%40rd@tcp(h:3306)/db");
        assert_eq!(url, "{{username}}:{{password}}@tcp(h:3306)/db");
        let (user, password) = found.unwrap();
        assert_eq!(user, "ann");
        assert!(password.ct_eq(&SecretValue::copy_from(b"p@ss:w%40rd")));
        for url in ["{{username}}:{{password}}@tcp(h)/", "ann@tcp(h)/", "x"] {
            let (same, found) = without_password(url);
            assert_eq!((same.as_str(), found.is_none()), (url, true));
        }
    }
}
