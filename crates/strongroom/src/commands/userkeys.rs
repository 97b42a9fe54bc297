mod access;
mod attach;
mod passes;
mod status;
mod values;

use clap::Args;
use clap::Subcommand;
use strongroom_core::secret::SecretValue;

use crate::app::App;
use crate::error::CommandError;

pub(crate) use access::link;
pub(crate) use status::doubts;

/// Users' own keys, sealed in a table of the application's own PostgreSQL
///
/// Strongroom takes over the encryption of one column: what is set is sealed with the store's
/// keys, what lies there in clear or was encrypted by pgcrypto is sealed when it is read, or by
/// `encrypt`. No key and no value is ever part of an SQL statement.
#[derive(Args)]
#[command(
    after_help = "The database is a URL without its password in the arguments: \
PGPASSWORD, ~/.pgpass, or a
secret that holds the whole URL (--database-from).

Examples:
  strongroom userkeys attach --database postgres://app@db/app --table user_secrets \\
      --id user_id,secret_key --plain secret_value --encrypted secret_value_encrypted
  strongroom userkeys encrypt --rate 5000
  strongroom userkeys get u1 anthropic/api_key
  strongroom run --user u1 -- ./agent"
)]
pub(crate) struct UserKeysArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: UserKeysCommand,
}

/// Which database and table.
#[derive(Args, Clone)]
pub(crate) struct PlaceArgs {
    /// The application's database: postgres://USER@HOST/DATABASE
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "STRONGROOM_USERKEYS_DATABASE"
    )]
    #[arg(hide_env_values = true, value_parser = url)]
    pub(crate) database: Option<SecretValue>,
    /// The secret that holds the URL of the database
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) database_from: Option<String>,
    /// The table, where several are attached
    #[arg(long, global = true, value_name = "TABLE")]
    pub(crate) table: Option<String>,
}

/// An address may hold a password: it is not kept as text.
#[expect(
    clippy::unnecessary_wraps,
    reason = "what a parser of arguments returns"
)]
pub(crate) fn url(text: &str) -> Result<SecretValue, std::convert::Infallible> {
    Ok(SecretValue::copy_from(text.as_bytes()))
}

#[derive(Subcommand)]
enum UserKeysCommand {
    /// Take over a table: shows what it will change, and changes it after a question
    Attach(attach::AttachArgs),
    /// Count the rows by how their values lie there
    Status,
    /// Seal what lies in clear or was encrypted by pgcrypto, in the background
    ///
    /// Readers and writers are not held up. What is done is in the rows: a run that was ended goes
    /// on where it was when it is started again.
    Encrypt(passes::PassArgs),
    /// Open every value; changes nothing (exit code 10 if one does not open)
    Verify(passes::PassArgs),
    /// Make a new data key and seal all values under it, in the background
    RotateKey(passes::RotateArgs),
    /// Give the table back; refuses to destroy the only copy of a value
    Rollback(attach::RollbackArgs),
    /// Set a user's key: by prompt, from standard input, or from a file
    Set(values::SetArgs),
    /// Print a user's key
    Get(values::GetArgs),
    /// List a user's keys, without their values
    List(values::UserArgs),
    /// Remove a user's key
    Rm(values::RmArgs),
    /// Print everything that is kept of a user, as JSON, with the values
    Export(values::UserArgs),
    /// Remove everything that is kept of a user
    Erase(values::UserArgs),
}

pub(crate) fn run(app: &App, args: &UserKeysArgs) -> Result<(), CommandError> {
    crate::runtime::start()?;
    let place = &args.place;
    match &args.command {
        UserKeysCommand::Attach(args) => attach::attach(app, place, args),
        UserKeysCommand::Status => status::run(app, place),
        UserKeysCommand::Encrypt(args) => passes::encrypt(app, place, args),
        UserKeysCommand::Verify(args) => passes::verify(app, place, args),
        UserKeysCommand::RotateKey(args) => passes::rotate_key(app, place, args),
        UserKeysCommand::Rollback(args) => attach::rollback(app, place, args),
        UserKeysCommand::Set(args) => values::set(app, place, args),
        UserKeysCommand::Get(args) => values::get(app, place, args),
        UserKeysCommand::List(args) => values::list(app, place, args),
        UserKeysCommand::Rm(args) => values::remove(app, place, args),
        UserKeysCommand::Export(args) => values::export(app, place, args),
        UserKeysCommand::Erase(args) => values::erase(app, place, args),
    }
}
