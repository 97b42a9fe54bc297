//! Accounts: a user, as it comes from some hosts, and how it logs in.

use serde_json::Value;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::mysql::native_hash;

use crate::session::Flavor;
use crate::session::Session;
use crate::statement::Passwords;

/// The method whose passwords are changed here on MariaDB.
const NATIVE: &str = "mysql_native_password";
/// Those of MySQL.
const OF_MYSQL: [&str; 3] = [NATIVE, "sha256_password", "caching_sha2_password"];
/// Passwords that an account is given on MariaDB. Clients follow the server when it has them try a
/// second one; at a third many give up.
const PASSWORDS_MAX: usize = 2;
/// From here on a MySQL keeps a second password.
const SECOND_PASSWORD: (u16, u16, u16) = (8, 0, 14);
/// Users that are looked at, at most.
const USERS_MAX: usize = 1_000_000;

/// A user, as it comes from some hosts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) host: String,
    pub(crate) is_locked: bool,
    methods: Vec<Method>,
}

/// A way to log in.
#[derive(Clone, PartialEq, Eq)]
struct Method {
    plugin: String,
    /// What the server keeps for it. Not known of MySQL.
    kept: String,
}

impl Method {
    fn native(hash: String) -> Self {
        let plugin = NATIVE.to_owned();
        Self { plugin, kept: hash }
    }

    fn is_native(&self) -> bool {
        self.plugin == NATIVE
    }

    fn sql(&self) -> String {
        match self.kept.as_str() {
            "" => self.plugin.clone(),
            kept => format!("{} USING {}", self.plugin, literal(kept)),
        }
    }
}

impl Account {
    /// As MariaDB keeps it. `None` stands for a role.
    fn of_mariadb(host: &str, kept: &str) -> Option<Self> {
        let kept: Value = serde_json::from_str(kept).ok()?;
        let flag = |name: &str| kept.get(name).and_then(Value::as_bool).unwrap_or_default();
        if flag("is_role") {
            return None;
        }
        let method = |of: &Value| {
            let text = |name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default();
            let plugin = Some(text("plugin")).filter(|plugin| !plugin.is_empty());
            Method {
                plugin: plugin.unwrap_or(NATIVE).to_owned(),
                kept: text("authentication_string").to_owned(),
            }
        };
        // An empty one of several stands for what is said beside them.
        let several = kept.get("auth_or").and_then(Value::as_array);
        let methods = several.map_or_else(
            || vec![method(&kept)],
            |several| {
                let is_empty = |one: &Value| one.get("plugin").is_none();
                let of = |one| method(if is_empty(one) { &kept } else { one });
                several.iter().map(of).collect()
            },
        );
        Some(Self {
            host: host.to_owned(),
            is_locked: flag("account_locked"),
            methods,
        })
    }

    fn hashes(&self) -> impl Iterator<Item = &String> {
        let native = self.methods.iter().filter(|method| method.is_native());
        native.map(|method| &method.kept)
    }

    /// With these passwords, of which clients can try two, and its other methods as they are.
    fn with(&self, hashes: Vec<String>) -> Vec<Method> {
        let others = self.methods.iter().filter(|method| !method.is_native());
        let native = hashes.into_iter().take(PASSWORDS_MAX).map(Method::native);
        native.chain(others.cloned()).collect()
    }

    /// With a second password. Of those it has the one is kept that works; where that is none of
    /// them, the first: it is not known who uses which.
    fn added(&self, new: &str, works: Option<&str>) -> Vec<Method> {
        let is_known = works.is_some_and(|works| self.hashes().any(|hash| hash == works));
        let kept = self.hashes().filter(|hash| *hash != new);
        let kept = kept.filter(|hash| !is_known || works == Some(hash.as_str()));
        let mut hashes = vec![new.to_owned()];
        hashes.extend(kept.cloned());
        self.with(hashes)
    }

    /// With the password that works, and without the other one.
    fn restored(&self, works: &str, failed: Option<&str>) -> Vec<Method> {
        let kept = self.hashes().filter(|hash| *hash != works);
        let kept = kept.filter(|hash| Some(hash.as_str()) != failed);
        let mut hashes = vec![works.to_owned()];
        hashes.extend(kept.cloned());
        self.with(hashes)
    }
}

/// A text as it stands in SQL, quoted, where a backslash means what it means by default.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

pub(crate) fn name_of(user: &str, host: &str) -> String {
    format!("{}@{}", literal(user), literal(host))
}

/// What stands in a literal for a password that MySQL is given.
pub(crate) fn clear(password: &SecretValue) -> String {
    // EXPOSE: MySQL takes passwords in statements only, and rewrites what its logs show of them.
    literal(password.expose_secret_text().unwrap_or_default())
}

impl Session {
    /// The accounts of a user. Who asks needs to read the tables of users.
    pub(crate) async fn accounts(&mut self, user: &str) -> Result<Vec<Account>, UserError> {
        let user = literal(user);
        if self.is_mariadb() {
            let sql = format!("SELECT Host, Priv FROM mysql.global_priv WHERE User = {user}");
            let rows = self.rows(&sql).await?;
            let account = |row: &Vec<String>| Account::of_mariadb(row.first()?, row.get(1)?);
            return Ok(rows.iter().filter_map(account).collect());
        }
        let sql =
            format!("SELECT Host, account_locked, plugin FROM mysql.user WHERE User = {user}");
        let rows = self.rows(&sql).await?;
        let account = |row: Vec<String>| {
            let [host, is_locked, plugin] = <[String; 3]>::try_from(row).ok()?;
            let kept = String::new();
            Some(Account {
                host,
                is_locked: is_locked == "Y",
                methods: vec![Method { plugin, kept }],
            })
        };
        Ok(rows.into_iter().filter_map(account).collect())
    }

    /// The users whose name begins so, and that may log in.
    pub(crate) async fn users_named(&mut self, prefix: &str) -> Result<Vec<String>, UserError> {
        let (table, may) = match self.is_mariadb() {
            true => (
                "mysql.global_priv",
                "COALESCE(JSON_VALUE(Priv, '$.account_locked'), '0') NOT IN ('1', 'true')",
            ),
            false => ("mysql.user", "account_locked = 'N'"),
        };
        let sql = format!(
            "SELECT DISTINCT User FROM {table} WHERE LEFT(User, {}) = {} AND {may} \
             ORDER BY User LIMIT {USERS_MAX}",
            prefix.chars().count(),
            literal(prefix)
        );
        let rows = self.rows(&sql).await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Removes a user with all its accounts and rights. Sessions that are open stay open.
    pub(crate) async fn drop_user(&mut self, user: &str) -> Result<(), UserError> {
        let accounts = self.accounts(user).await?;
        let names: Vec<String> = accounts
            .iter()
            .map(|account| name_of(user, &account.host))
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let sql = format!("DROP USER IF EXISTS {}", names.join(", "));
        self.say(&sql, &[]).await
    }

    /// Lets a user in no more.
    pub(crate) async fn lock_user(&mut self, user: &str) -> Result<(), UserError> {
        for account in self.accounts(user).await? {
            let name = name_of(user, &account.host);
            self.say(&format!("ALTER USER {name} ACCOUNT LOCK"), &[])
                .await?;
        }
        Ok(())
    }

    /// Gives a user a password in place of all it has. It may log in by other methods as before.
    ///
    /// # Errors
    /// `Refused` when there is no such user, or it has no password.
    pub async fn set_password(
        &mut self,
        user: &str,
        password: &SecretValue,
        passwords: Passwords,
    ) -> Result<(), UserError> {
        checked(password)?;
        let accounts = self.with_passwords(user, Open::Closed).await?;
        let by_hash = self.is_mariadb() && passwords == Passwords::Hash;
        let hash = native_hash(password);
        let change = |account: &Account| match self.flavor() {
            Flavor::MariaDb if by_hash => alter_methods(&account.with(vec![hash.clone()])),
            Flavor::MariaDb => {
                let methods = alter_methods(&account.with(vec![hash.clone()]));
                let given = format!("PASSWORD({})", clear(password));
                methods.replacen(&literal(&hash), &given, 1)
            }
            Flavor::MySql => alter_plugin(account, password),
        };
        let sql = alter(user, &accounts, change);
        self.say_secret(&sql, &[password]).await
    }

    /// Has a user take a second password. Others than the one that works end: on both there is room
    /// for two. Before 8.0.14 it has room for one: then the old one ends now.
    ///
    /// # Errors
    /// `Refused` when there is no such user, or it is let in without a password.
    pub async fn add_password(
        &mut self,
        user: &str,
        new: &SecretValue,
        works: Option<&SecretValue>,
    ) -> Result<(), UserError> {
        checked(new)?;
        let accounts = self.with_passwords(user, Open::Refused).await?;
        let (hash, works) = (native_hash(new), works.map(native_hash));
        let retain = match self.version() >= SECOND_PASSWORD {
            true => " RETAIN CURRENT PASSWORD",
            false => "",
        };
        let change = |account: &Account| match self.flavor() {
            Flavor::MariaDb => alter_methods(&account.added(&hash, works.as_deref())),
            Flavor::MySql => format!("{}{retain}", alter_plugin(account, new)),
        };
        let sql = alter(user, &accounts, change);
        self.say_secret(&sql, &[new]).await
    }

    /// Has a user take the password again that worked, and not the other one.
    ///
    /// # Errors
    /// As above.
    pub async fn restore_password(
        &mut self,
        user: &str,
        works: &SecretValue,
        failed: Option<&SecretValue>,
    ) -> Result<(), UserError> {
        checked(works)?;
        let accounts = self.with_passwords(user, Open::Closed).await?;
        let (hash, not) = (native_hash(works), failed.map(native_hash));
        let change = |account: &Account| match self.flavor() {
            Flavor::MariaDb => alter_methods(&account.restored(&hash, not.as_deref())),
            Flavor::MySql => alter_plugin(account, works),
        };
        let sql = alter(user, &accounts, change);
        self.say_secret(&sql, &[works]).await?;
        self.discard(user).await
    }

    /// Ends a password that is no longer to be used; the current one stays.
    ///
    /// # Errors
    /// As above.
    pub async fn end_password(
        &mut self,
        user: &str,
        current: &SecretValue,
        old: &SecretValue,
    ) -> Result<(), UserError> {
        match self.is_mariadb() {
            true => self.restore_password(user, current, Some(old)).await,
            false => self.discard(user).await,
        }
    }

    /// Ends the second password of a MySQL.
    async fn discard(&mut self, user: &str) -> Result<(), UserError> {
        if self.is_mariadb() || self.version() < SECOND_PASSWORD {
            return Ok(());
        }
        let accounts = self.accounts(user).await?;
        let sql = alter(user, &accounts, |_| " DISCARD OLD PASSWORD".to_owned());
        self.say_secret(&sql, &[]).await
    }

    /// Gives the user of this session another password, in place of its first.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_own_password(&mut self, password: &SecretValue) -> Result<(), UserError> {
        checked(password)?;
        let sql = match self.is_mariadb() {
            true => format!("SET PASSWORD = {}", literal(&native_hash(password))),
            false => format!("ALTER USER USER() IDENTIFIED BY {}", clear(password)),
        };
        self.say_secret(&SecretValue::from_text(sql), &[password])
            .await
    }

    pub(crate) async fn say_secret(
        &mut self,
        sql: &SecretValue,
        hidden: &[&SecretValue],
    ) -> Result<(), UserError> {
        // EXPOSE: SQL with a hash in it, or a password where the server takes nothing else.
        let text = sql.expose_secret_text().unwrap_or_default();
        self.say(text, hidden).await
    }

    /// The accounts of a user, each of which has a password.
    async fn with_passwords(&mut self, user: &str, open: Open) -> Result<Vec<Account>, UserError> {
        let accounts = self.accounts(user).await?;
        if accounts.is_empty() {
            return Err(UserError::refused(format!("there is no user {user}")));
        }
        let is_mariadb = self.is_mariadb();
        for account in &accounts {
            let name = format!("{user}@{}", account.host);
            let is_fit = |method: &Method| match is_mariadb {
                true => method.is_native(),
                false => OF_MYSQL.contains(&method.plugin.as_str()),
            };
            if !account.methods.iter().any(is_fit) {
                let plugin = account.methods.first().map(|method| method.plugin.as_str());
                return Err(UserError::refused(format!(
                    "{name} logs in by {}, whose passwords are not changed here",
                    plugin.unwrap_or_default()
                )));
            }
            let is_open = is_mariadb && account.hashes().any(String::is_empty);
            if is_open && matches!(open, Open::Refused) {
                return Err(UserError::refused(format!(
                    "{name} is let in without a password: give it one first"
                )));
            }
        }
        Ok(accounts)
    }
}

/// What is done about an account that is let in without a password.
#[derive(Clone, Copy)]
enum Open {
    /// A second password would leave the door open.
    Refused,
    /// It gets one in place of none.
    Closed,
}

fn checked(password: &SecretValue) -> Result<(), UserError> {
    // EXPOSE: looked at for its encoding and for a zero byte, and not kept.
    let text = password.expose_secret_text();
    match text.is_some_and(|text| !text.is_empty() && !text.contains('\0')) {
        true => Ok(()),
        false => Err(UserError::refused(
            "a password is a text that is not empty, without zero bytes",
        )),
    }
}

/// One statement for all accounts of a user.
fn alter(user: &str, accounts: &[Account], change: impl Fn(&Account) -> String) -> SecretValue {
    let each = |account: &Account| format!("{}{}", name_of(user, &account.host), change(account));
    let all: Vec<String> = accounts.iter().map(each).collect();
    SecretValue::from_text(format!("ALTER USER {}", all.join(", ")))
}

fn alter_methods(methods: &[Method]) -> String {
    let all: Vec<String> = methods.iter().map(Method::sql).collect();
    format!(" IDENTIFIED VIA {}", all.join(" OR "))
}

fn alter_plugin(account: &Account, password: &SecretValue) -> String {
    let plugin = account.methods.first().map(|method| method.plugin.as_str());
    format!(
        " IDENTIFIED WITH {} BY {}",
        plugin.unwrap_or(OF_MYSQL[2]),
        clear(password)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(kept: &str) -> Account {
        Account::of_mariadb("%", kept).unwrap()
    }

    fn sql(methods: &[Method]) -> String {
        alter_methods(methods)
    }

    #[test]
    fn what_mariadb_keeps_is_read() {
        let one =
            account("{\"plugin\":\"mysql_native_password\",\"authentication_string\":\"*A\"}");
        assert_eq!(one.hashes().collect::<Vec<_>>(), ["*A"]);
        assert!(!one.is_locked);
        let several = account(
            "{\"plugin\":\"mysql_native_password\",\"authentication_string\":\"*B\",\
             \"account_locked\":true,\"auth_or\":[{\"plugin\":\"unix_socket\"},{},\
             {\"plugin\":\"mysql_native_password\",\"authentication_string\":\"*A\"}]}",
        );
        assert_eq!(several.hashes().collect::<Vec<_>>(), ["*B", "*A"]);
        assert!(several.is_locked);
        assert!(Account::of_mariadb("", "{\"is_role\":true}").is_none());
        assert!(Account::of_mariadb("", "{").is_none());
        let open = account("{\"access\":0}");
        assert_eq!(open.hashes().collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn a_second_password_ends_all_but_the_one_that_works() {
        let found = account(
            "{\"plugin\":\"mysql_native_password\",\"authentication_string\":\"*A\",\"auth_or\":[\
             {},{\"plugin\":\"mysql_native_password\",\"authentication_string\":\"*B\"},\
             {\"plugin\":\"ed25519\",\"authentication_string\":\"it's\"}]}",
        );
        let native = |hash: &str| format!("mysql_native_password USING '{hash}'");
        let other = "ed25519 USING 'it''s'";
        for (methods, expected) in [
            (found.added("*N", Some("*B")), vec!["*N", "*B"]),
            (found.added("*N", Some("*X")), vec!["*N", "*A"]),
            (found.added("*N", None), vec!["*N", "*A"]),
            (found.added("*A", Some("*B")), vec!["*A", "*B"]),
            (found.added("*A", Some("*A")), vec!["*A"]),
            (found.restored("*A", Some("*B")), vec!["*A"]),
            (found.restored("*B", None), vec!["*B", "*A"]),
            (found.restored("*N", Some("*X")), vec!["*N", "*A"]),
            (found.restored("*A", Some("*A")), vec!["*A", "*B"]),
        ] {
            let all: Vec<String> = expected.into_iter().map(native).collect();
            let expected = format!(" IDENTIFIED VIA {} OR {other}", all.join(" OR "));
            assert_eq!(sql(&methods), expected);
        }
    }

    #[test]
    fn a_name_ends_no_literal() {
        assert_eq!(literal("a'b\\"), "'a''b\\\\'");
        let accounts = [account("{}"), account("{}")];
        let all = alter("x'y", &accounts, |_| " Z".to_owned());
        assert_eq!(
            // EXPOSE: a test looks at what it made.
            all.expose_secret_text(),
            Some("ALTER USER 'x''y'@'%' Z, 'x''y'@'%' Z")
        );
    }
}
