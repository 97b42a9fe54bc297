use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde_json::json;
use strongroom_core::port::Changed;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_store::embedded;
use strongroom_store::embedded::EmbeddedStorage;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;
use strongroom_store_postgres as postgres;
use strongroom_store_postgres::Database;
use strongroom_store_postgres::DatabaseUrl;

use crate::app::App;
use crate::database;
use crate::error::CommandError;
use crate::error::Kind;
use crate::progress::Meter;

use super::shares;

/// Records copied in one transaction. Grows where one commit was longer.
const PIECE: usize = 500;
/// Rounds after which a source that is still written to is given up.
const ROUNDS_MAX: usize = 20;

#[derive(Args)]
pub(crate) struct MigrateStorageArgs {
    /// The store to move: FILE or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "STORE", value_parser = place)]
    from: Place,
    /// Where to: FILE or postgres://USER@HOST/DATABASE; nothing may be there
    #[arg(long, value_name = "STORE", value_parser = place)]
    to: Place,
}

#[derive(Clone)]
enum Place {
    File(PathBuf),
    /// An address, which may hold a password.
    Database(SecretValue),
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what a parser of arguments returns"
)]
fn place(text: &str) -> Result<Place, &'static str> {
    Ok(match DatabaseUrl::is_meant_by(text) {
        true => Place::Database(SecretValue::from_text(text.to_owned())),
        false => Place::File(text.into()),
    })
}

pub(crate) fn run(app: &App, args: &MigrateStorageArgs) -> Result<(), CommandError> {
    let began = Instant::now();
    let source = Source::open(app, &args.from)?;
    if let Some(there) = Done::find(app, &args.to, &source)? {
        return already(app, &source, &there, began);
    }
    let mut target = Target::begin(app, &args.to, &source)?;
    let resumed_at = target.revision();
    let mut rounds = 0;
    let (header, revision) = loop {
        copy(app, &source, &mut target)?;
        let header = source.header()?;
        let revision = source.revision()?;
        verify(app, &source, &target, revision)?;
        if source.revision()? == revision && source.header()?.generation() == header.generation() {
            break (header, revision);
        }
        rounds += 1;
        if rounds == ROUNDS_MAX {
            return Err(CommandError::new(
                Kind::Conflict,
                "migrate_storage.busy",
                "the store is written to faster than it is copied",
            )
            .hint("stop its servers, and run the same again: it goes on where it stopped"));
        }
    };
    let records = target.count()?;
    target.finish(&header, &source.barrier, revision, source.seals()?)?;
    let seconds = began.elapsed().as_secs_f64();
    if app.ui.is_json {
        return report(app, records, revision, resumed_at, began);
    }
    app.ui.say(&format!(
        "moved {records} records up to revision {revision}, each compared on both sides, in \
         {seconds:.1} s; the old store is as it was: keep it until the new one is served"
    ));
    Ok(())
}

fn report(
    app: &App,
    records: u64,
    revision: u64,
    resumed_at: u64,
    began: Instant,
) -> Result<(), CommandError> {
    app.ui.print_json(&json!({
        "version": 1,
        "records": records,
        "verified": records,
        "revision": revision,
        "resumed_at_revision": resumed_at,
        "seconds": began.elapsed().as_secs_f64(),
    }))
}

/// The move was finished before, and perhaps nobody heard of it: it is compared once more.
fn already(app: &App, source: &Source, there: &Done, began: Instant) -> Result<(), CommandError> {
    let (old, new) = (
        source.revision()?,
        pollster::block_on(there.storage.revision())?,
    );
    if old != new {
        return Err(CommandError::new(
            Kind::Conflict,
            "migrate_storage.moved_on",
            format!(
                "this store was moved there already, and one of both was written to since: the \
                 target is at revision {new}, the old store at {old}"
            ),
        )
        .hint("nothing was changed; where the target is served, serve only that")
        .hint("where the old store is: end its servers, put the target away, and move again"));
    }
    let mut after = 0;
    let mut compared = 0;
    while let Some(piece) = source.piece_after(after)? {
        let ids: Vec<RecordId> = piece.records.iter().map(|record| record.id).collect();
        let found = pollster::block_on(there.storage.get_many(&ids))?;
        for (record, found) in piece.records.iter().zip(found) {
            if found.as_ref() != Some(record) {
                return Err(differs(&format!("record {:?} differs", record.id)));
            }
            compared += 1;
        }
        after = piece.up_to;
    }
    if there.count != compared {
        let count = there.count;
        return Err(differs(&format!(
            "there are {count} records, not {compared}"
        )));
    }
    if app.ui.is_json {
        return report(app, compared, new, new, began);
    }
    app.ui.say(&format!(
        "the store was moved there before: all {compared} records are the same on both sides, and \
         nothing is left to do"
    ));
    Ok(())
}

/// The store of a move that was finished.
struct Done {
    storage: Arc<dyn Storage>,
    count: u64,
}

impl Done {
    /// What is at the target, if it is the source's store.
    fn find(app: &App, place: &Place, source: &Source) -> Result<Option<Self>, CommandError> {
        let own = source.header()?.store_id();
        match place {
            Place::File(path) => {
                refuse_same(&source.place, path)?;
                let Ok(file) = StoreFile::open(path) else {
                    return Ok(None);
                };
                if file.header().store_id() != own {
                    return Ok(None);
                }
                let storage = file.unlock(&source.barrier, Writes::Inline, Rollback::Refuse)?;
                let count = storage.count()?;
                let storage = Arc::new(storage);
                Ok(Some(Self { storage, count }))
            }
            Place::Database(address) => {
                let database = connect(app, address)?;
                match database.header() {
                    Ok(Some(header)) if header.store_id() == own => Ok(Some(Self {
                        count: database.count()?,
                        storage: database.open(),
                    })),
                    // Whatever else is there, the move itself says.
                    _ => Ok(None),
                }
            }
        }
    }
}

/// Copies what the target does not have yet, oldest change first.
fn copy(app: &App, source: &Source, target: &mut Target) -> Result<(), CommandError> {
    let meter = Meter::new(&app.ui, "copied");
    let total = usize::try_from(source.count()?).unwrap_or(usize::MAX);
    let mut done = usize::try_from(target.count()?).unwrap_or(usize::MAX);
    while let Some(piece) = source.piece_after(target.revision())? {
        done = done.saturating_add(piece.records.len());
        meter.step(done.min(total), total);
        target.take(piece)?;
    }
    Ok(())
}

/// Compares every record of the source with the target's, and their number.
fn verify(app: &App, source: &Source, target: &Target, up_to: u64) -> Result<(), CommandError> {
    let meter = Meter::new(&app.ui, "compared");
    let total = usize::try_from(source.count()?).unwrap_or(usize::MAX);
    let (mut after, mut compared) = (0, 0_u64);
    while let Some(piece) = source.piece_after(after)? {
        let ids: Vec<RecordId> = piece.records.iter().map(|record| record.id).collect();
        let found = target.get_many(ids)?;
        for (record, found) in piece.records.iter().zip(found) {
            // What was written meanwhile is copied in the next round.
            if record.revision <= up_to && found.as_ref() != Some(record) {
                return Err(differs(&format!("record {:?} differs", record.id)));
            }
            compared += 1;
        }
        meter.step(usize::try_from(compared).unwrap_or(usize::MAX), total);
        after = piece.up_to;
    }
    let there = target.count()?;
    if source.revision()? == up_to && there != compared {
        return Err(differs(&format!(
            "there are {there} records, not {compared}"
        )));
    }
    Ok(())
}

fn differs(what: &str) -> CommandError {
    CommandError::new(
        Kind::Validation,
        "migrate_storage.differs",
        format!("the copy is not what was copied: {what}"),
    )
    .hint("nothing was lost: the old store is as it was. Empty the target, and begin again")
}

/// Records that were changed, in the order of their last changes; never a part of a commit.
struct Piece {
    records: Vec<Record>,
    deleted: Vec<(RecordId, u64)>,
    up_to: u64,
}

/// Where a store is moved from.
struct Source {
    place: SourcePlace,
    storage: Arc<dyn Storage>,
    barrier: Barrier,
}

enum SourcePlace {
    File(Arc<EmbeddedStorage>),
    Database(Arc<Database>),
}

impl Source {
    /// Opens it with its keys: who may not read a store may not move it.
    fn open(app: &App, place: &Place) -> Result<Self, CommandError> {
        match place {
            Place::File(path) => {
                let file = StoreFile::open(path)?;
                let keys = shares::unseal(app, file.header())?;
                let barrier = Barrier::new(file.header().store_id(), &keys.keyring);
                let storage = Arc::new(file.unlock(&barrier, Writes::Inline, Rollback::Refuse)?);
                Ok(Self {
                    storage: storage.clone(),
                    place: SourcePlace::File(storage),
                    barrier,
                })
            }
            Place::Database(address) => {
                let database = connect(app, address)?;
                let header = database::header(&database)?;
                let keys = shares::unseal(app, &header)?;
                Ok(Self {
                    storage: database.open(),
                    barrier: Barrier::new(header.store_id(), &keys.keyring),
                    place: SourcePlace::Database(database),
                })
            }
        }
    }

    fn header(&self) -> Result<Header, CommandError> {
        match &self.place {
            SourcePlace::File(storage) => Ok(storage.read_header()?),
            SourcePlace::Database(database) => database::header(database),
        }
    }

    fn seals(&self) -> Result<u64, CommandError> {
        match &self.place {
            SourcePlace::File(storage) => Ok(storage.seals()?),
            SourcePlace::Database(database) => Ok(database.seals()?),
        }
    }

    fn count(&self) -> Result<u64, CommandError> {
        match &self.place {
            SourcePlace::File(storage) => Ok(storage.count()?),
            SourcePlace::Database(database) => Ok(database.count()?),
        }
    }

    fn revision(&self) -> Result<u64, CommandError> {
        Ok(pollster::block_on(self.storage.revision())?)
    }

    /// What changed after a revision; nothing where that is all.
    fn piece_after(&self, after: u64) -> Result<Option<Piece>, CommandError> {
        let changes = self.whole_commits_after(after)?;
        let Some(last) = changes.last() else {
            return Ok(None);
        };
        let up_to = last.revision;
        let there = changes.iter().filter(|change| change.exists);
        let ids: Vec<RecordId> = there.map(|change| change.id).collect();
        let records = pollster::block_on(self.storage.get_many(&ids))?;
        let gone = changes.iter().filter(|change| !change.exists);
        Ok(Some(Piece {
            // One that was deleted meanwhile is among the later changes.
            records: records.into_iter().flatten().collect(),
            deleted: gone.map(|change| (change.id, change.revision)).collect(),
            up_to,
        }))
    }

    /// A page of changes that ends with the end of a commit.
    fn whole_commits_after(&self, after: u64) -> Result<Vec<Changed>, CommandError> {
        let mut limit = PIECE;
        loop {
            let mut changes = pollster::block_on(self.storage.watch(after, limit))?;
            if changes.len() < limit {
                return Ok(changes);
            }
            // The last commit may go on beyond the page.
            let last = changes.last().map(|change| change.revision);
            changes.retain(|change| Some(change.revision) != last);
            if !changes.is_empty() {
                return Ok(changes);
            }
            limit = limit.saturating_mul(2);
        }
    }
}

/// Where a store is moved to.
enum Target {
    File(embedded::Arrival),
    Database(postgres::Arrival),
}

impl Target {
    fn begin(app: &App, place: &Place, source: &Source) -> Result<Self, CommandError> {
        let header = source.header()?;
        match place {
            Place::File(path) => {
                refuse_same(&source.place, path)?;
                Ok(Self::File(embedded::Arrival::begin(path, &header)?))
            }
            Place::Database(address) => {
                let database = connect(app, address)?;
                let arrival = postgres::Arrival::begin(database, header.store_id())?;
                Ok(Self::Database(arrival))
            }
        }
    }

    fn revision(&self) -> u64 {
        match self {
            Self::File(arrival) => arrival.revision(),
            Self::Database(arrival) => arrival.revision(),
        }
    }

    fn take(&mut self, piece: Piece) -> Result<(), CommandError> {
        let Piece {
            records,
            deleted,
            up_to,
        } = piece;
        match self {
            Self::File(arrival) => arrival.take(&records, &deleted, up_to)?,
            Self::Database(arrival) => arrival.take(records, deleted, up_to)?,
        }
        Ok(())
    }

    fn get_many(&self, ids: Vec<RecordId>) -> Result<Vec<Option<Record>>, CommandError> {
        match self {
            Self::File(arrival) => Ok(arrival.get_many(&ids)?),
            Self::Database(arrival) => Ok(arrival.get_many(ids)?),
        }
    }

    fn count(&self) -> Result<u64, CommandError> {
        match self {
            Self::File(arrival) => Ok(arrival.count()?),
            Self::Database(arrival) => Ok(arrival.count()?),
        }
    }

    fn finish(
        self,
        header: &Header,
        barrier: &Barrier,
        revision: u64,
        seals: u64,
    ) -> Result<(), CommandError> {
        match self {
            Self::File(arrival) => arrival.finish(header, barrier, revision, seals)?,
            Self::Database(arrival) => arrival.finish(header, revision, seals)?,
        }
        Ok(())
    }
}

fn refuse_same(source: &SourcePlace, path: &Path) -> Result<(), CommandError> {
    match source {
        SourcePlace::File(storage) if storage.path() == path => {
            Err(CommandError::usage("--from and --to are the same file"))
        }
        _ => Ok(()),
    }
}

fn connect(app: &App, address: &SecretValue) -> Result<Arc<Database>, CommandError> {
    // EXPOSE: an address with a password, for the one that reads it.
    let text = address.expose_secret_text().unwrap_or_default();
    database::connect(&database::parse(app, text, true)?)
}
