//! What a rotation would do, told before it is done.

use strongroom_core::rotator::MysqlUser;
use strongroom_core::rotator::RotatorSpec;

/// What each step does, and what happens to the old value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// One line for each of the four steps.
    pub steps: [String; 4],
    /// Until when the old value works, and for whom not.
    pub old_value: String,
}

/// The outlook of a declared rotator; `None` stands for one that draws values.
#[must_use]
pub fn outlook(spec: Option<&RotatorSpec>) -> Outlook {
    let finish = "the new version becomes the current one, the old one AWSPREVIOUS";
    let draw = "a new value is drawn and waits as AWSPENDING";
    let (create, set, test, old_value): (&str, String, &str, &str) = match spec {
        None => (
            draw,
            "nobody is told".into(),
            "the new value is not empty",
            "whoever checks the value elsewhere is not told of the new one, and goes on with the \
             old one",
        ),
        Some(RotatorSpec::Postgres(role)) => {
            let place = &role.address;
            match &role.alternate {
                Some(_) => (
                    "a password is drawn for the role that is not in use, and waits as AWSPENDING",
                    format!("the role that is not in use gets it at {place}"),
                    "the role logs in with it",
                    "the old name and password work until the next rotation",
                ),
                None => (
                    "a password is drawn and waits as AWSPENDING",
                    format!("the role gets it at {place}"),
                    "the role logs in with it",
                    "sessions go on; from setSecret on nobody connects with the old password, so \
                     whoever keeps it has to read the secret anew when it is refused",
                ),
            }
        }
        Some(RotatorSpec::Mysql(user)) => mysql(user),
        Some(RotatorSpec::Redis(user)) => (
            "a password is drawn and waits as AWSPENDING",
            format!(
                "the user takes it as a second one at {}, and all others but the current one end",
                user.address
            ),
            "the user logs in with it",
            "the old password works until the next rotation",
        ),
        Some(RotatorSpec::SigningKey(key)) => (
            "a key is made, waits as AWSPENDING and joins the key set",
            "nobody is told".into(),
            "a message is signed, and checked by the public half",
            match key.algorithm.as_str() {
                "HS256" => "whoever checks tokens needs both versions until the old ones expire",
                _ => "the old key stays in the key set until its last token has expired",
            },
        ),
        Some(RotatorSpec::Certificate(of)) => (
            match &of.issuer {
                Some(_) => {
                    "a key is made and a certificate for it signed by its issuer; both wait as \
                     AWSPENDING"
                }
                None => "a key is made and signs its own certificate; both wait as AWSPENDING",
            },
            "nobody is told".into(),
            "a client that trusts the issuer shakes hands with a server that has the new pair",
            match &of.issuer {
                Some(_) => "the old certificate is good until it expires",
                None => {
                    "the old certificate is good until it expires; clients have to trust the new \
                     one before servers show it"
                }
            },
        ),
        Some(RotatorSpec::VaultStaticRole(role)) => (
            "the other server changes the password of its role, which waits as AWSPENDING",
            "nothing: it has told the database".into(),
            match role.login {
                Some(_) => "it is read back, and the role logs in with it",
                None => "it is read back",
            },
            "sessions go on; from createSecret on nobody connects with the old password, and it \
             cannot be put back",
        ),
        Some(RotatorSpec::Command(program)) => {
            let name = program.command.first().map_or("", String::as_str);
            (
                "the program answers a new value, which waits as AWSPENDING",
                format!("{name} is run with both values on its input"),
                "the program tries the new value",
                "what the program says",
            )
        }
        Some(RotatorSpec::Manual(list)) => (
            "waits for somebody with a checklist, and for `strongroom rotate supply`",
            format!(
                "nothing: {} lines of the checklist are done",
                list.checklist.len()
            ),
            "the new value is another one than the current one",
            "what the checklist says",
        ),
    };
    Outlook {
        steps: [create.into(), set, test.into(), finish.into()],
        old_value: old_value.into(),
    }
}

/// Create, set and test of a user of MariaDB or MySQL, and until when its old value works.
fn mysql(user: &MysqlUser) -> (&'static str, String, &'static str, &'static str) {
    const DRAW: &str = "a password is drawn and waits as AWSPENDING";
    const TEST: &str = "the user logs in with it";
    let place = &user.address;
    match (&user.alternate, &user.admin) {
        (Some(_), _) => (
            "a password is drawn for the user that is not in use, and waits as AWSPENDING",
            format!("the user that is not in use gets it at {place}"),
            TEST,
            "the old name and password work until the next rotation",
        ),
        (None, Some(_)) => (
            DRAW,
            format!(
                "the user takes it as a second one at {place}, and all others but the current one \
                 end"
            ),
            TEST,
            "the old password works until the next rotation; where the server keeps one only \
             (MySQL before 8.0.14), sessions go on and nobody connects with the old one from \
             setSecret on",
        ),
        (None, None) => (
            DRAW,
            format!("the user gets it at {place}"),
            TEST,
            "sessions go on; from setSecret on nobody connects with the old password, so whoever \
             keeps it has to read the secret anew when it is refused",
        ),
    }
}
