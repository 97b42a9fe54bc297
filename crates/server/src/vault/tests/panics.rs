//! CVE-2026-55776, CVE-2024-6468, CVE-2023-0665: one request that ends the server.

use std::sync::Arc;
use std::sync::Mutex;

use strongroom_core::port::BatchItem;
use strongroom_core::port::Storage;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_testkit::fault::Fault;
use strongroom_testkit::fault::FaultyStorage;

use super::World;
use super::access;
use crate::keeper::Keeper;
use crate::keeper::KeeperError;
use crate::keeper::MemoryKeeper;

/// The storage with the bugs, once it was opened.
pub(crate) type Opened = Arc<Mutex<Option<Arc<FaultyStorage>>>>;

/// Memory that has a bug when the test says so.
#[derive(Default)]
pub(crate) struct Buggy {
    memory: MemoryKeeper,
    storage: Opened,
}

impl Keeper for Buggy {
    fn word(&self) -> &'static str {
        self.memory.word()
    }

    fn header(&self) -> Result<Option<Header>, KeeperError> {
        self.memory.header()
    }

    fn create(
        &self,
        header: &Header,
        barrier: &Barrier,
        first: Vec<BatchItem>,
    ) -> Result<(), KeeperError> {
        self.memory.create(header, barrier, first)
    }

    fn open(&self, barrier: &Barrier) -> Result<Arc<dyn Storage>, KeeperError> {
        let storage = FaultyStorage::new(self.memory.open(barrier)?, Fault::Panic);
        let storage = Arc::new(storage);
        *self.storage.lock().unwrap() = Some(Arc::clone(&storage));
        Ok(storage)
    }

    fn replace_header(&self, read_at: u64, header: &Header) -> Result<(), KeeperError> {
        self.memory.replace_header(read_at, header)
    }
}

impl Buggy {
    /// A world over it, and the storage that has the bugs.
    pub(crate) async fn world() -> (World, Arc<FaultyStorage>) {
        let (keeper, storage) = Self::apart();
        let world = World::kept_by(keeper).await;
        (world, Self::of(&storage))
    }

    /// A keeper, and where its storage will be when it was opened.
    pub(crate) fn apart() -> (Box<Self>, Opened) {
        quiet_about_bugs();
        let keeper = Self::default();
        let storage = Arc::clone(&keeper.storage);
        (Box::new(keeper), storage)
    }

    /// The storage, once it was opened.
    pub(crate) fn of(storage: &Opened) -> Arc<FaultyStorage> {
        storage.lock().unwrap().clone().unwrap()
    }
}

/// A bug made by a test is no news.
fn quiet_about_bugs() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&strongroom_testkit::fault::BUG) {
            usual(panic);
        }
    }));
}

/// Something of everything: what `there` names is there.
const MADE: [(&str, &str); 12] = [
    (
        "POST auth/token/create",
        r#"{"id":"spare","policies":["root"],"no_parent":true}"#,
    ),
    ("POST sys/mounts/old", r#"{"type":"kv"}"#),
    ("POST sys/auth/userpass", r#"{"type":"userpass"}"#),
    ("POST sys/auth/approle", r#"{"type":"approle"}"#),
    ("PUT secret/data/there", r#"{"data":{"a":1}}"#),
    ("PUT old/there", r#"{"a":1}"#),
    ("POST auth/approle/role/there", r#"{"role_id":"there"}"#),
    ("POST auth/token/roles/there", "{}"),
    (
        "PUT sys/policies/acl/there",
        r#"{"policy":"path \"x\" { policy = \"read\" }"}"#,
    ),
    ("POST sys/mounts/database", r#"{"type":"database"}"#),
    (
        "POST database/config/there",
        r#"{"plugin_name":"postgresql-database-plugin","verify_connection":false,"username":"u",
        "password":"p","connection_url":"postgresql://{{username}}:{{password}}@127.0.0.1:1/x",
        "allowed_roles":"*"}"#,
    ),
    (
        "POST database/roles/there",
        r#"{"db_name":"there","creation_statements":"CREATE ROLE x"}"#,
    ),
];

async fn world() -> (World, Arc<FaultyStorage>) {
    let (world, storage) = Buggy::world().await;
    for (line, body) in MADE {
        let made = world.root(line, body).await;
        assert!(made.status < 300, "{line} {made:?}");
    }
    (world, storage)
}

/// A body that most routes can do something with.
const BODY: &str = r#"{"data":{"a":2},"a":"b","type":"kv","role_id":"there","password":"p",
    "secret_id":"x","secret_id_accessor":"x","accessor":"x","token":"spare-no","rate":1000,
    "policy":"path \"x\" { policy = \"read\" }","path":"","paths":["x"],"lease_id":"x",
    "from":"old","to":"new","versions":[1],"input":"aGk="}"#;

#[tokio::test]
async fn a_bug_in_one_request_is_no_end_of_others() {
    let mut handlers = 0;
    for (mount, route, verb) in access::rows() {
        let path = access::path_of(mount, route, "there");
        let line = format!("{} {path}", access::method(verb));
        let (first, storage) = world().await;
        storage.fail_at(0);
        first.root(&line, BODY).await;
        let calls = storage.calls();
        // The first call is made before the handler is asked.
        if calls < 2 {
            continue;
        }
        handlers += 1;
        for place in std::collections::BTreeSet::from([2, calls]) {
            let (world, storage) = world().await;
            storage.fail_at(place);
            let broken = world.root(&line, BODY).await;
            let reached = storage.calls() >= place;
            storage.fail_at(0);
            let internal = (500, "internal error".to_owned());
            assert!(
                !reached || broken.error() == internal,
                "{line} at {place}: {broken:?}"
            );
            if world.node.is_sealed() {
                continue;
            }
            // Nothing that others need is locked, and what they do is done.
            for (line, status) in [
                ("GET auth/token/lookup-self", 200),
                ("POST auth/token/create", 200),
                ("PUT sys/policies/acl/after", 204),
                ("LIST sys/policies/acl", 200),
                ("GET sys/mounts", 200),
            ] {
                let body = r#"{"policy":"path \"x\" { policy = \"read\" }"}"#;
                let next = world.ask(Some("spare"), line, body).await;
                assert_eq!(
                    next.status, status,
                    "after {path} at {place}: {line} {next:?}"
                );
            }
            let audited = std::fs::read_to_string(&world.audit_file).unwrap();
            assert!(audited.contains("sys/policies/acl/after"), "{line}");
        }
    }
    assert!(handlers >= 50, "{handlers}");
}
