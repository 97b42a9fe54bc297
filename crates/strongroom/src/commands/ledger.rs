//! `ledger`: who was given which secrets, where values are, and what has to be replaced.

#[cfg(feature = "vault")]
mod on_server;
mod report;
mod revoke;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use serde_json::Value;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_engine::Engine;
use strongroom_engine::ledger::Channel;
use strongroom_engine::ledger::Exposure;
use strongroom_engine::ledger::Ledger;
use strongroom_engine::ledger::Mark;
use strongroom_engine::ledger::Standing;
use strongroom_engine::ledger::Wanted;
use strongroom_engine::ledger::id_text;
use strongroom_engine::ledger::parse_id;
use strongroom_engine::state::Found;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::ledger;
use crate::project;
use crate::project::Project;
use crate::runtime::wait;
use crate::session;
use crate::session::Session;

/// The backend that is this store.
const STORE: &str = "store";
/// Most deliveries in one list.
const LIMIT_MAX: usize = 100_000;

/// Show who was given which secrets, where values are, and what has to be replaced; never values
///
/// Every delivery is a row: a command that was run, a value that was shown, an export, a
/// synchronisation, a backup, a read from the server. With --server: the ledger of that server.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom ledger where DATABASE_URL
  strongroom ledger who ann
  strongroom ledger revoke --who ann --reason \"has left\" --dry-run
  strongroom ledger due")]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Subcommand)]
enum LedgerCommand {
    /// Show deliveries, the newest first
    List {
        /// Only to this person
        #[arg(long, value_name = "PERSON")]
        who: Option<String>,
        /// Only by this channel
        #[arg(long, value_enum, value_name = "CHANNEL")]
        channel: Option<ChannelWord>,
        /// At most so many
        #[arg(long, short = 'n', default_value = "50", value_name = "COUNT")]
        limit: usize,
    },
    /// Show one delivery, and how it stands with what it gave
    Show {
        /// The delivery's id, or the beginning of it
        id: String,
    },
    /// Show where a secret's values went
    Where {
        /// Declared name, or path
        secret: String,
    },
    /// Show what a person was given
    Who {
        /// A user of the system, or who a server's token is for
        person: String,
    },
    /// Show what has to be replaced now
    Due {
        /// Exit with 10 when there is something
        #[arg(long)]
        exit_code: bool,
    },
    /// Replace what was given away: rotate it where that can be done here, else mark it as due
    Revoke(revoke::RevokeArgs),
    /// Say that a value was replaced where the ledger cannot see it
    Done {
        /// Declared name, path or address
        secret: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ChannelWord {
    Run,
    Reveal,
    Export,
    Bundle,
    Sync,
    Migrate,
    Backup,
    Supervise,
    Server,
    Lease,
    Sdk,
}

impl ChannelWord {
    fn channel(self) -> Option<Channel> {
        let word = self.to_possible_value()?;
        Channel::of_word(word.get_name())
    }
}

pub(crate) fn run(app: &App, args: &LedgerArgs) -> Result<(), CommandError> {
    #[cfg(feature = "vault")]
    if app.global.server.is_some() {
        return on_server::run(app, &args.command);
    }
    let book = Book::open(app)?;
    match &args.command {
        LedgerCommand::List {
            who,
            channel,
            limit,
        } => {
            let wanted = Wanted {
                who: who.clone(),
                channel: channel.and_then(ChannelWord::channel),
            };
            let newest = book.ledger.newest(&wanted, (*limit).min(LIMIT_MAX));
            report::deliveries(app, &wait(newest)?)
        }
        LedgerCommand::Show { id } => show(app, &book, id),
        LedgerCommand::Where { secret } => {
            let (secret, found) = book.of_secret(secret)?;
            let rows = book.with_standing(found)?;
            report::exposures(app, ("secret", &secret), &rows)
        }
        LedgerCommand::Who { person } => {
            let found = wait(book.ledger.of_person(person))?;
            let rows = book.with_standing(found)?;
            report::exposures(app, ("who", person), &rows)
        }
        LedgerCommand::Due { exit_code } => due(app, &book, *exit_code),
        LedgerCommand::Revoke(args) => revoke::run(app, &book, args),
        LedgerCommand::Done { secret } => done(app, &book, secret),
    }
}

/// The ledger, and what its answers are compared with.
struct Book {
    session: Session,
    project: Option<Project>,
    ledger: Ledger,
}

/// An exposure, and how it stands with its value.
type Row = (Found<Exposure>, Standing);

impl Book {
    fn open(app: &App) -> Result<Self, CommandError> {
        let session = session::open(app)?;
        let ledger = ledger::of(&session);
        let project = project::load_if_there(app)?;
        Ok(Self {
            session,
            project,
            ledger,
        })
    }

    /// What the ledger may call what a person calls so.
    fn names(&self, text: &str) -> Vec<String> {
        let place = project::place(self.project.as_ref(), text);
        let place = place.ok().map(|place| place.path.to_string());
        let mut names: Vec<String> = place.into_iter().collect();
        let plain = text.trim_start_matches('/').to_owned();
        for other in [plain, text.to_owned()] {
            if !names.contains(&other) {
                names.push(other);
            }
        }
        names
    }

    /// Where a secret's values went; by its place, else by the name as it was typed.
    fn of_secret(&self, text: &str) -> Result<(String, Vec<Found<Exposure>>), CommandError> {
        let names = self.names(text);
        for name in &names {
            let found = wait(self.ledger.of_secret(name))?;
            if !found.is_empty() {
                return Ok((name.clone(), found));
            }
        }
        let name = names.into_iter().next();
        Ok((name.unwrap_or_else(|| text.to_owned()), Vec::new()))
    }

    fn engine(&self, source: &str) -> Option<&Engine> {
        (source == STORE).then_some(&self.session.engine)
    }

    fn standing(
        &self,
        secret: &str,
        source: &str,
        fingerprint: [u8; 16],
    ) -> Result<Standing, CommandError> {
        let engine = self.engine(source);
        let found = self.ledger.standing(engine, secret, source, fingerprint);
        Ok(wait(found)?)
    }

    fn with_standing(&self, found: Vec<Found<Exposure>>) -> Result<Vec<Row>, CommandError> {
        let rows = found.into_iter().map(|found| {
            let given = &found.value.given;
            let standing = self.standing(&given.secret, &given.source, given.fingerprint)?;
            Ok((found, standing))
        });
        rows.collect()
    }

    /// The marks whose values may be in use.
    fn due(&self) -> Result<Vec<(Mark, Standing)>, CommandError> {
        let mut due = Vec::new();
        for mark in wait(self.ledger.marks())? {
            let standing = self.standing(&mark.secret, &mark.source, mark.fingerprint)?;
            if standing.may_be_in_use() {
                due.push((mark, standing));
            }
        }
        Ok(due)
    }

    /// How a person names a secret on the command line.
    fn named(&self, secret: &str) -> String {
        let declared = self.project.as_ref().and_then(|project| {
            let mut declared = project.manifest.declarations().iter();
            let is_it = |name: &str| {
                let place = project.place(name);
                place.is_ok_and(|place| place.path.as_str() == secret)
            };
            declared.find(|declared| is_it(&declared.name))
        });
        match declared {
            Some(declared) => declared.name.clone(),
            None => format!("/{secret}"),
        }
    }

    /// The command that gives a secret another value.
    fn fix(&self, secret: &str, source: &str) -> String {
        let name = self.named(secret);
        match source == STORE && secret.parse::<SecretPath>().is_ok() {
            true if self.rotates(secret) => format!("strongroom rotate {name}"),
            true => format!("strongroom set {name}"),
            false => format!(
                "replace it in {source}, then: strongroom ledger done {}",
                name.trim_start_matches('/')
            ),
        }
    }

    /// Whether a new value can be drawn here.
    fn rotates(&self, secret: &str) -> bool {
        super::rotate::can_rotate(&self.session, self.project.as_ref(), &self.named(secret))
    }
}

fn show(app: &App, book: &Book, id: &str) -> Result<(), CommandError> {
    let (id, delivery) = find(book, id)?;
    let found = wait(book.ledger.of_delivery(&delivery))?;
    let rows = book.with_standing(found)?;
    report::delivery(app, id, &delivery, &rows)
}

/// A delivery by the beginning of its id.
fn find(
    book: &Book,
    text: &str,
) -> Result<([u8; 16], strongroom_engine::ledger::Delivery), CommandError> {
    wait(book.ledger.enter())?;
    let unknown = || {
        let message = format!("there is no delivery {text} in the ledger");
        CommandError::new(Kind::NotFound, "ledger.unknown", message)
            .hint("strongroom ledger list shows the newest")
    };
    if let Some(id) = parse_id(text) {
        let found = wait(book.ledger.delivery(id))?.ok_or_else(unknown)?;
        return Ok((id, found));
    }
    let is_short = text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_short {
        return Err(unknown());
    }
    let all = wait(book.ledger.newest(&Wanted::default(), LIMIT_MAX))?;
    let mut fitting = all
        .into_iter()
        .filter(|(id, _)| id_text(*id).starts_with(text));
    let found = fitting.next().ok_or_else(unknown)?;
    match fitting.next() {
        None => Ok(found),
        Some(_) => Err(CommandError::usage(format!(
            "more than one delivery begins with {text}"
        ))),
    }
}

fn due(app: &App, book: &Book, exit_code: bool) -> Result<(), CommandError> {
    let due = book.due()?;
    if app.ui.is_json {
        let rows: Vec<Value> = due
            .iter()
            .map(|(mark, standing)| {
                json!({
                    "secret": mark.secret,
                    "source": mark.source,
                    "fingerprint": report::hex(mark.fingerprint),
                    "since": mark.at.to_string(),
                    "by": mark.by,
                    "reason": mark.reason,
                    "standing": standing.word(),
                    "fix": book.fix(&mark.secret, &mark.source),
                })
            })
            .collect();
        app.ui.print_json(&json!({ "version": 1, "due": rows }))?;
    } else if due.is_empty() {
        app.ui.say("nothing that was revoked waits to be replaced");
    } else {
        let rows = due.iter().map(|(mark, _)| {
            vec![
                mark.secret.clone(),
                mark.source.clone(),
                session::day(mark.at),
                mark.reason.clone(),
                book.fix(&mark.secret, &mark.source),
            ]
        });
        let heads = ["secret", "kept in", "revoked", "why", "do"];
        app.ui.print_table(&heads, rows.collect())?;
    }
    match exit_code && !due.is_empty() {
        true => Err(CommandError::reported(Kind::Findings, "ledger.due")),
        false => Ok(()),
    }
}

fn done(app: &App, book: &Book, secret: &str) -> Result<(), CommandError> {
    let names = book.names(secret);
    let marks = wait(book.ledger.marks())?;
    let mut settled = 0;
    for mark in marks.iter().filter(|mark| names.contains(&mark.secret)) {
        let standing = book.standing(&mark.secret, &mark.source, mark.fingerprint)?;
        if standing == Standing::Current {
            let message = format!("{secret} still has the value that was given away");
            return Err(
                CommandError::new(Kind::Conflict, "ledger.unchanged", message)
                    .hint(book.fix(&mark.secret, &mark.source)),
            );
        }
        wait(book.ledger.settle(mark))?;
        settled += 1;
    }
    if settled == 0 {
        let message = format!("{secret} was not revoked");
        return Err(CommandError::new(Kind::NotFound, "ledger.not_due", message)
            .hint("strongroom ledger due shows what has to be replaced"));
    }
    book.session.note_write();
    book.session.finish(app);
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "secret": names[0], "settled": settled }));
    }
    app.ui.say(&format!("{secret} is no longer due"));
    Ok(())
}
