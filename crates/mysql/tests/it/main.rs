//! Accounts of a real MariaDB.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod passwords;
mod tls;
mod users;

use strongroom_core::secret::SecretValue;
use strongroom_mysql::MysqlUrl;
use strongroom_mysql::Session;
use strongroom_mysql::check_login;
use strongroom_testkit::mariadb::ADMIN;
use strongroom_testkit::mariadb::ADMIN_PASSWORD;
use strongroom_testkit::mariadb::MariaDb;

fn secret(text: &str) -> SecretValue {
    SecretValue::copy_from(text.as_bytes())
}

/// The server's address, for its administrator.
fn address(server: &MariaDb) -> MysqlUrl {
    let address: MysqlUrl = server.url(ADMIN).parse().unwrap();
    address.with_password(&secret(ADMIN_PASSWORD))
}

async fn session(server: &MariaDb) -> Session {
    Session::open(&address(server)).await.unwrap()
}

async fn lets_in(server: &MariaDb, user: &str, password: &str) -> bool {
    let tried = check_login(&address(server), user, &secret(password)).await;
    tried.is_ok()
}
