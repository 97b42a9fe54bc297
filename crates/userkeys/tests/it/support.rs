use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::keyring::Keyring;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::userkeys;
use strongroom_userkeys::Database;
use strongroom_userkeys::KeyName;
use strongroom_userkeys::Pass;
use strongroom_userkeys::Settings;
use strongroom_userkeys::Step;
use strongroom_userkeys::UserId;
use strongroom_userkeys::UserKeys;
use strongroom_userkeys::UserKeysError;
use strongroom_userkeys::Work;

pub(crate) use strongroom_testkit::userkeys::TABLE;

/// What the application encrypts with.
pub(crate) const OLD_KEY: &str = "0123456789abcdef-of-a-test-only!";

pub(crate) struct Rig {
    pub(crate) server: Postgres,
    pub(crate) database: Database,
    pub(crate) barrier: Barrier,
    pub(crate) keyring: Keyring,
}

impl Rig {
    /// A server with the table, not attached.
    pub(crate) async fn bare(settings: &[&str]) -> Self {
        let server = Postgres::start_with(settings);
        let _ = server.sql("postgres", TABLE);
        let url = server.url("postgres").parse().unwrap();
        let keyring = Keyring::generate(&SystemRng, Timestamp::from_micros(0));
        Self {
            database: Database::connect(&url, None).await.unwrap(),
            barrier: Barrier::new([7; 16], &keyring),
            keyring,
            server,
        }
    }

    pub(crate) async fn attached() -> (Self, UserKeys) {
        let rig = Self::bare(&[]).await;
        let keys = rig.attach().await.unwrap();
        (rig, keys)
    }

    pub(crate) async fn attach(&self) -> Result<UserKeys, UserKeysError> {
        userkeys::attach(&self.database, &settings(), &self.barrier).await?;
        self.open().await
    }

    pub(crate) async fn open(&self) -> Result<UserKeys, UserKeysError> {
        let keys = UserKeys::open(&self.database, None, &self.barrier).await?;
        Ok(keys.with_pgcrypto_keys(vec![text("another key"), text(OLD_KEY)]))
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        self.server.sql("postgres", sql)
    }

    pub(crate) fn row(&self, user: &str, name: &str) -> String {
        self.sql(&format!(
            "SELECT coalesce(secret_value, 'NULL'), coalesce(substring(secret_value_encrypted
                FROM 1 FOR 5)::text, 'NULL')
             FROM user_secrets WHERE user_id = '{user}' AND secret_key = '{name}'"
        ))
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        pgcrypto_keys: vec!["app/user_secret_encryption_key".into()],
        ..userkeys::settings()
    }
}

pub(crate) fn text(text: &str) -> SecretValue {
    SecretValue::copy_from(text.as_bytes())
}

pub(crate) fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

pub(crate) fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

/// A value in clear, for comparing.
pub(crate) async fn read(keys: &UserKeys, of: &str, called: &str) -> Option<String> {
    let found = keys.get(&user(of), &name(called)).await.unwrap()?;
    assert!(found.not_sealed.is_none(), "{:?}", found.not_sealed);
    // EXPOSE: a test looks at its own value.
    found.value.expose_secret_text().map(str::to_owned)
}

/// All pieces of a pass, added up.
pub(crate) async fn run(keys: &UserKeys, work: Work, piece: usize) -> Step {
    let mut pass = Pass::new(keys, work).with_piece(piece);
    let mut sum = Step::default();
    loop {
        let step = pass.step().await.unwrap();
        sum.rows += step.rows;
        sum.from_plain += step.from_plain;
        sum.from_pgcrypto += step.from_pgcrypto;
        sum.from_sealed += step.from_sealed;
        sum.changed += step.changed;
        sum.trouble.extend(step.trouble);
        if step.is_last {
            return sum;
        }
    }
}
