//! A user with the rights of another one, as the server itself writes them down.

use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::mysql::native_hash;

use crate::account::clear;
use crate::account::literal;
use crate::account::name_of;
use crate::session::Flavor;
use crate::session::Session;

impl Session {
    /// Makes a user that may do what another one may do now, from the same hosts and under the same
    /// conditions. One that is there is left as it is.
    ///
    /// # Errors
    /// `Refused` when there is no first user, or a right of it cannot be given on; then nobody is
    /// made.
    pub async fn make_like(
        &mut self,
        first: &str,
        second: &str,
        password: &SecretValue,
    ) -> Result<(), UserError> {
        if !self.accounts(second).await?.is_empty() {
            return Ok(());
        }
        let hosts = self.accounts(first).await?;
        if hosts.is_empty() {
            return Err(UserError::refused(format!("there is no user {first}")));
        }
        for account in hosts {
            let made = self.copy(first, second, &account.host, password).await;
            if let Err(error) = made {
                self.drop_user(second).await?;
                return Err(error);
            }
        }
        Ok(())
    }

    async fn copy(
        &mut self,
        first: &str,
        second: &str,
        host: &str,
        password: &SecretValue,
    ) -> Result<(), UserError> {
        let (name, new) = (name_of(first, host), name_of(second, host));
        let not_all = || {
            UserError::refused(format!(
                "not all rights of {first}@{host} can be given to {second}: make it yourself"
            ))
        };
        let shown = self.rows(&format!("SHOW CREATE USER {name}")).await?;
        let shown = shown.first().and_then(|row| row.first());
        let shown = shown.map_or("", String::as_str);
        let conditions = conditions(shown, self.flavor()).ok_or_else(not_all)?;
        let given = match self.flavor() {
            Flavor::MariaDb => format!("PASSWORD {}", literal(&native_hash(password))),
            Flavor::MySql => clear(password),
        };
        let sql = format!("CREATE USER {new} IDENTIFIED BY {given}{conditions}");
        self.say_secret(&SecretValue::from_text(sql), &[password])
            .await?;
        let rights = self.rows(&format!("SHOW GRANTS FOR {name}")).await?;
        let rights = rights.iter().flatten();
        // That is none, and only who may give anything may give it.
        for right in rights.filter(|right| !right.starts_with("GRANT USAGE ON *.* ")) {
            let given = given_on(right, first, host, &new).ok_or_else(not_all)?;
            self.say(&given, &[]).await?;
        }
        Ok(())
    }
}

/// A text of the same length in bytes, with nothing between its quotes.
fn bare(text: &str) -> String {
    let mut within = None;
    let mut bare = String::with_capacity(text.len());
    for c in text.chars() {
        match within {
            Some(quote) if c == quote => within = None,
            Some(_) => {
                bare.push_str(&".".repeat(c.len_utf8()));
                continue;
            }
            None => within = Some(c).filter(|c| "'\"`".contains(*c)),
        }
        bare.push(c);
    }
    bare
}

/// What a server says of an account behind how it logs in. `None` where there is more: a MySQL has
/// the roles there that are its by default.
fn conditions(shown: &str, flavor: Flavor) -> Option<&str> {
    let words: &[&str] = match flavor {
        Flavor::MariaDb => &[" REQUIRE ", " WITH ", " PASSWORD EXPIRE", " ACCOUNT "],
        Flavor::MySql => &[" REQUIRE "],
    };
    let bare = bare(shown);
    if bare.contains(" DEFAULT ROLE ") {
        return None;
    }
    let start = words.iter().filter_map(|word| bare.find(word)).min();
    shown.get(start.unwrap_or(shown.len())..)
}

/// A right of one account as the statement that gives it to another one. `None` where that is not
/// understood.
fn given_on(right: &str, first: &str, host: &str, new: &str) -> Option<String> {
    let quoted = |quote: char, text: &str| {
        let doubled = text.replace(quote, &format!("{quote}{quote}"));
        format!("{quote}{doubled}{quote}")
    };
    let names =
        ['`', '\''].map(|quote| format!("{}@{}", quoted(quote, first), quoted(quote, host)));
    let (begin, joint) = match right.split_once(' ')? {
        ("GRANT", _) => ("GRANT ", " TO "),
        ("SET", _) => ("SET DEFAULT ROLE ", " FOR "),
        _ => return None,
    };
    let found = names.iter().find_map(|name| {
        let (head, rest) = right.rsplit_once(&format!("{joint}{name}"))?;
        head.starts_with(begin).then_some((head, rest))
    });
    let (head, rest) = found?;
    let rest = bare(rest);
    let option = ["GRANT OPTION", "ADMIN OPTION"];
    let option = option.iter().find(|option| rest.contains(**option));
    let option = option.map_or_else(String::new, |option| format!(" WITH {option}"));
    Some(format!("{head}{joint}{new}{option}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_given_on_with_its_option_only() {
        let given = |right: &str| given_on(right, "app", "%", "'app_b'@'%'");
        for (right, expected) in [
            (
                "GRANT INSERT ON `shop`.* TO `app`@`%` WITH GRANT OPTION",
                "GRANT INSERT ON `shop`.* TO 'app_b'@'%' WITH GRANT OPTION",
            ),
            (
                "GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*AB' WITH \
                 MAX_USER_CONNECTIONS 5",
                "GRANT USAGE ON *.* TO 'app_b'@'%'",
            ),
            (
                "GRANT USAGE ON *.* TO `app`@`%` REQUIRE SUBJECT 'x WITH GRANT OPTION'",
                "GRANT USAGE ON *.* TO 'app_b'@'%'",
            ),
            (
                "GRANT `readers` TO `app`@`%` WITH ADMIN OPTION",
                "GRANT `readers` TO 'app_b'@'%' WITH ADMIN OPTION",
            ),
            (
                "SET DEFAULT ROLE `readers` FOR `app`@`%`",
                "SET DEFAULT ROLE `readers` FOR 'app_b'@'%'",
            ),
            (
                "GRANT PROXY ON ''@'%' TO 'app'@'%' WITH GRANT OPTION",
                "GRANT PROXY ON ''@'%' TO 'app_b'@'%' WITH GRANT OPTION",
            ),
        ] {
            assert_eq!(given(right).as_deref(), Some(expected));
        }
        for right in [
            "REVOKE INSERT ON `shop`.* FROM `app`@`%`",
            "GRANT INSERT ON `shop`.* TO `other`@`%`",
            "",
        ] {
            assert_eq!(given(right), None, "{right}");
        }
    }

    #[test]
    fn conditions_are_what_stands_behind_the_login() {
        for (shown, flavor, expected) in [
            (
                "CREATE USER `a`@`%` IDENTIFIED BY PASSWORD '*AB'",
                Flavor::MariaDb,
                "",
            ),
            (
                "CREATE USER `ä REQUIRE `@`%` IDENTIFIED BY PASSWORD '*AB' REQUIRE SSL WITH \
                 MAX_USER_CONNECTIONS 5",
                Flavor::MariaDb,
                " REQUIRE SSL WITH MAX_USER_CONNECTIONS 5",
            ),
            (
                "CREATE USER 'a'@'%' IDENTIFIED WITH 'caching_sha2_password' AS '$A' REQUIRE NONE \
                 PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK",
                Flavor::MySql,
                " REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK",
            ),
        ] {
            assert_eq!(conditions(shown, flavor), Some(expected), "{shown}");
        }
        let roles =
            "CREATE USER `a`@`%` IDENTIFIED WITH 'x' AS 'y' DEFAULT ROLE `r`@`%` REQUIRE NONE";
        assert_eq!(conditions(roles, Flavor::MySql), None);
    }
}
