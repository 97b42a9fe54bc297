//! Commits that happen, and whose answer is lost on the way.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Precondition;
use strongroom_core::port::StorageError;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::store_contract::id;
use strongroom_testkit::store_contract::put;

use crate::support::commit;
use crate::support::connect;
use crate::support::create;
use crate::support::value;

/// What a client sends last, and what the database calls its answer to it.
const COMMIT: &[u8] = b"COMMIT\0";
/// One in so many commits is not answered.
const CUT_EVERY: u64 = 3;

/// Stands between a client and the database, and swallows answers to commits.
#[derive(Default)]
struct Line {
    is_cutting: AtomicBool,
    commits: AtomicU64,
    cut: AtomicU64,
}

impl Line {
    fn open(port: u16) -> (u16, Arc<Self>) {
        let line = Arc::new(Self::default());
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let near = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&line);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                shared.join(client, server);
            }
        });
        (near, line)
    }

    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let is_mute = Arc::new(AtomicBool::new(false));
        let (line, mute) = (Arc::clone(self), Arc::clone(&is_mute));
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || {
            forward(from, to, |bytes| {
                if contains(bytes, COMMIT) && line.is_cutting.load(Ordering::SeqCst) {
                    let number = line.commits.fetch_add(1, Ordering::SeqCst);
                    mute.store(number.is_multiple_of(CUT_EVERY), Ordering::SeqCst);
                }
                Way::On
            });
        });
        let line = Arc::clone(self);
        std::thread::spawn(move || {
            forward(server, client, |bytes| {
                match (is_mute.load(Ordering::SeqCst), contains(bytes, COMMIT)) {
                    (false, _) => Way::On,
                    (true, false) => Way::Swallow,
                    (true, true) => {
                        line.cut.fetch_add(1, Ordering::SeqCst);
                        Way::Cut
                    }
                }
            });
        });
    }
}

enum Way {
    On,
    Swallow,
    Cut,
}

fn forward(mut from: TcpStream, mut to: TcpStream, mut decide: impl FnMut(&[u8]) -> Way) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let way = decide(&bytes[..length]);
        let is_over = match way {
            Way::On => to.write_all(&bytes[..length]).is_err(),
            Way::Swallow => false,
            Way::Cut => true,
        };
        if is_over {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_commit_that_was_not_answered_is_found_and_not_done_twice() {
    const COMMITS: usize = 60;
    let server = Postgres::start();
    let (port, line) = Line::open(server.port());
    let database = connect(&format!("postgres://postgres@127.0.0.1:{port}/postgres")).unwrap();
    create(&database);
    let storage = database.open();
    let mut last = commit(&*storage, vec![put(id(1), b""), put(id(2), b"")]).unwrap();
    line.is_cutting.store(true, Ordering::SeqCst);
    for number in 0..COMMITS {
        let append = BatchItem {
            id: id(1),
            precondition: Precondition::Exists,
            change: Change::Merge(Arc::new(|value: &[u8]| Ok([value, &[1]].concat()))),
        };
        // What was written on condition is no conflict with itself.
        let mut conditional = put(id(2), &number.to_be_bytes());
        conditional.precondition = Precondition::Revision(last);
        last = loop {
            match commit(&*storage, vec![append.clone(), conditional.clone()]) {
                Ok(revision) => break revision,
                Err(StorageError::Unavailable { .. }) => {}
                Err(error) => panic!("{number}: {error:?}"),
            }
        };
    }
    assert_eq!(value(&*storage, id(1)).unwrap().len(), COMMITS);
    assert!(line.cut.load(Ordering::SeqCst) >= 10);
}
