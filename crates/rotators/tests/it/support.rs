//! A store in memory, and rotations that are driven step by step.

use std::sync::Arc;

use strongroom_core::path::SecretPath;
use strongroom_core::port::Durability;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::Storage;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::STAGE_PENDING;
use strongroom_core::version::VersionInfo;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::keyring::Keyring;
use strongroom_engine::Engine;
use strongroom_engine::context::OpContext;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::Claim;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Request;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::Rotations;
use strongroom_engine::rotation::Setup;
use strongroom_engine::secrets::WriteOptions;
use strongroom_engine::state::State;
use strongroom_engine::tokens::random_text;
use strongroom_rotators::Needs;
use strongroom_store::memory::MemoryStorage;

const BEGIN: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// A step that came too late is done again so often.
const ATTEMPTS_MAX: usize = 10;

pub(crate) fn text(text: &str) -> Payload {
    Payload {
        value: SecretValue::copy_from(text.as_bytes()),
        shape: match text.starts_with('{') {
            true => Shape::Fields,
            false => Shape::Text,
        },
    }
}

pub(crate) fn shown(payload: &Payload) -> String {
    payload.value.expose_secret_text().unwrap().to_owned()
}

/// One secret, `db`, in a store of its own.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) rotations: Rotations,
    at: SecretPath,
    now: std::sync::Mutex<Timestamp>,
}

impl World {
    pub(crate) async fn with(value: &str) -> Self {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let keyring = Keyring::generate(&SystemRng, BEGIN);
        let barrier = Barrier::new([1; 16], &keyring);
        let first = Engine::first_records(&barrier);
        storage.commit(first, Durability::Durable).await.unwrap();
        let engine = Engine::new(Arc::clone(&storage), barrier.clone());
        let state = State::new(storage, barrier);
        let world = Self {
            rotations: Rotations::new(state, engine.clone(), "test"),
            engine,
            at: "db".parse().unwrap(),
            now: BEGIN.into(),
        };
        let options = WriteOptions::new(Provenance::Set);
        let (context, value) = (world.context(), text(value));
        let written = world.engine.write(&context, &world.at, &value, &options);
        written.await.unwrap();
        world
    }

    /// A day later each time, so that whatever waits is due.
    fn context(&self) -> OpContext {
        let mut now = self.now.lock().unwrap();
        *now = now.plus(Span::from_seconds(86_400));
        OpContext {
            actor: "test".into(),
            door: "test".into(),
            request_id: String::new(),
            now: *now,
        }
    }

    pub(crate) async fn ask(&self, purpose: Purpose) {
        let token = random_text(&SystemRng, 32);
        let request = Request {
            path: &self.at,
            secret: "db",
            token: &token,
            purpose,
            setup: Setup::default(),
        };
        let asked = self.rotations.request(&self.context(), &request).await;
        asked.unwrap();
    }

    /// What is due, claimed.
    pub(crate) async fn claim(&self) -> Claim {
        let claimed = self.rotations.claim(&self.context(), &self.at).await;
        claimed.unwrap().unwrap()
    }

    /// Does the next step.
    pub(crate) async fn step(&self, claim: Claim, rotator: &dyn Rotator) -> After {
        let context = self.context();
        let work = self.rotations.begin(claim, context.now).await.unwrap();
        let work = work.unwrap();
        let done = self.rotations.perform(&context, &work, rotator).await;
        self.rotations.complete(&context, work, done).await.unwrap()
    }

    /// Does the steps up to one, and not that.
    pub(crate) async fn up_to(&self, step: Step, rotator: &dyn Rotator) -> Claim {
        let mut claim = self.claim().await;
        while claim.run().step != step {
            let After::More(next) = self.step(claim, rotator).await else {
                panic!("{:?}", self.record().await);
            };
            claim = next;
        }
        claim
    }

    /// Drives what is due as far as it goes.
    pub(crate) async fn drive(&self, rotator: &dyn Rotator) -> After {
        let mut claim = self.claim().await;
        loop {
            match self.step(claim, rotator).await {
                After::More(next) => claim = next,
                after => return after,
            }
        }
    }

    /// A rotation from its beginning to its end. On a machine that stands still a step may take too
    /// long; then it is done again, as a server would.
    pub(crate) async fn rotate(&self, rotator: &dyn Rotator) {
        self.ask(Purpose::Rotate).await;
        for _ in 0..ATTEMPTS_MAX {
            match self.drive(rotator).await {
                After::Finished => return,
                After::Again(_) if self.failure().await.code == "rotator.unreachable" => {}
                after => panic!("{after:?} {:?}", self.record().await),
            }
        }
        panic!("{:?}", self.record().await);
    }

    /// A rotation that has to fail, and why it does.
    pub(crate) async fn fail(&self, rotator: &dyn Rotator) -> RotatorError {
        self.ask(Purpose::Rotate).await;
        self.fail_again(rotator).await
    }

    /// The same of one that has failed before.
    pub(crate) async fn fail_again(&self, rotator: &dyn Rotator) -> RotatorError {
        let after = self.drive(rotator).await;
        assert!(matches!(after, After::Again(_)), "{after:?}");
        self.failure().await
    }

    pub(crate) async fn record(&self) -> Rotation {
        self.rotations.find(&self.at).await.unwrap().unwrap().value
    }

    /// Why the last step failed.
    pub(crate) async fn failure(&self) -> RotatorError {
        let run = self.record().await.run.unwrap();
        run.failure.unwrap().error
    }

    /// Brings the value that is waited for.
    pub(crate) async fn supply(&self, value: &Payload) -> bool {
        let context = self.context();
        let supplied = self.rotations.supply(&context, &self.at, value).await;
        supplied.unwrap()
    }

    /// The current value.
    pub(crate) async fn current(&self) -> Payload {
        let read = self.engine.read(&self.context(), &self.at, None).await;
        read.unwrap().payload
    }

    /// The value that waits, if one does.
    pub(crate) async fn pending(&self) -> Option<Payload> {
        self.staged(STAGE_PENDING).await
    }

    async fn staged(&self, stage: &str) -> Option<Payload> {
        let snapshot = self.engine.snapshot(&self.at).await.unwrap().unwrap();
        let has_it = |info: &&VersionInfo| {
            let stages = snapshot.stages(info);
            stages.iter().any(|one| one == stage)
        };
        let number = snapshot.versions().iter().find(has_it)?.number;
        let value = self.engine.value_in(&snapshot, number, self.context().now);
        // It may be dropped just now.
        value.await.ok().flatten()
    }

    /// The stages of each version, from the oldest on.
    pub(crate) async fn stages(&self) -> Vec<Vec<String>> {
        let snapshot = self.engine.snapshot(&self.at).await.unwrap().unwrap();
        let versions = snapshot.versions().iter();
        let stages = versions.map(|info| snapshot.stages(info));
        stages.collect()
    }

    pub(crate) async fn versions(&self) -> Vec<VersionInfo> {
        self.engine.describe(&self.at).await.unwrap().versions
    }
}

pub(crate) fn build(spec: &RotatorSpec, admin: Option<&str>) -> Box<dyn Rotator> {
    strongroom_rotators::check(spec).unwrap();
    let needs = Needs {
        rng: Arc::new(SystemRng),
        admin: admin.map(text),
        backends: strongroom_core::port::Variables::default(),
    };
    strongroom_rotators::build(spec, needs).unwrap()
}
