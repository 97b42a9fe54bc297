//! What every backend over a network has to do when its server is slow or down, as one suite:
//! `circuit_contract!(name, make)`.
//!
//! `make` opens a backend with a time limit of [`LIMIT`] behind a [`Proxy`]. Its server need not
//! have any secret: that there is none is an answer, too.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::NewValue;
use strongroom_core::port::VersionRef;
use strongroom_core::port::circuit::OUTAGES_MAX;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::proxy::Line;
use crate::proxy::Proxy;

/// The time limit of the backends, which is the least that all of them take.
pub const LIMIT: Duration = Duration::from_secs(1);
/// Far beyond the limits together: it only tells an end from none.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most requests that may be on their way to one server.
const IN_FLIGHT_MAX: usize = 64;
/// Secrets of a bulk call, and callers at the same time.
const MANY: usize = 200;
/// Longer than a server is left alone.
const PAUSE: Duration = Duration::from_secs(11);
/// So often a case is tried where the machine may be too busy.
const ROUNDS_MAX: u32 = 4;
/// What of it is found in an error was written.
const CANARY: &[u8] = b"canary-4c";

/// A backend and the line to its server.
pub struct Behind {
    /// The backend.
    pub backend: Arc<dyn Backend>,
    /// The line.
    pub proxy: Proxy,
    /// What has to live as long.
    pub keep: Box<dyn Any + Send>,
}

/// Makes a module with one test for each case of the contract.
#[macro_export]
macro_rules! circuit_contract {
    ($name:ident, $make:path) => {
        mod $name {
            use $crate::circuit;
            use $crate::circuit::LIMIT;
            use $crate::proxy::Line;
            use $crate::wait;

            #[test]
            fn late_answers_open_it() {
                wait(async { circuit::opens($make().await, Line::Late(3 * LIMIT)).await });
            }

            #[test]
            fn a_black_hole_opens_it() {
                wait(async { circuit::opens($make().await, Line::BlackHole).await });
            }

            #[test]
            fn resets_open_it() {
                wait(async { circuit::opens($make().await, Line::Reset).await });
            }

            #[test]
            fn half_answers_open_it() {
                wait(async { circuit::opens($make().await, Line::Half).await });
            }

            #[test]
            fn what_its_callers_give_up_opens_it() {
                wait(async { circuit::is_opened_by_who_gives_up($make().await).await });
            }

            #[test]
            fn an_answer_in_between_starts_the_count_again() {
                wait(async { circuit::starts_again($make().await).await });
            }

            #[test]
            fn a_bulk_call_ends_and_does_not_pile_up() {
                wait(async { circuit::bulk_ends($make().await).await });
            }

            #[test]
            fn many_callers_do_not_pile_up() {
                wait(async { circuit::callers_take_turns($make().await).await });
            }
        }
    };
}

impl Behind {
    /// The server answers. A busy machine may need longer than the limit, and some need several
    /// requests for an answer: then it is tried again when the server is asked again.
    async fn answers(&self) {
        for _ in 0..ROUNDS_MAX {
            if self.answers_in_time().await {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("there is never an answer in time");
    }

    /// Whether the server answers within the limit.
    async fn answers_in_time(&self) -> bool {
        self.proxy.set(Line::Whole);
        let read = self.backend.read("a/b", &VersionRef::Current);
        timeout(PATIENCE, read).await.unwrap().is_ok()
    }

    /// The server has answered, and does so no longer: whoever has to log in has done it.
    async fn breaks(&self, line: Line) {
        self.answers().await;
        self.proxy.set(line);
    }

    /// An error of reading, which has to come.
    async fn fails(&self) -> BackendError {
        let read = self.backend.read("a/b", &VersionRef::Current);
        let error = timeout(PATIENCE, read).await.unwrap().unwrap_err();
        check(&error);
        error
    }

    /// Reads that fail because the server was asked.
    async fn fails_asked(&self, times: u32) {
        for _ in 0..times {
            let before = self.proxy.asked();
            let error = self.fails().await;
            assert!(!is_refusal(&error), "{error}");
            assert!(self.proxy.asked() > before, "{error}");
        }
    }

    /// No call asks the server.
    async fn is_left_alone(&self) {
        let before = self.proxy.asked();
        let backend = &self.backend;
        let mut errors = vec![self.fails().await];
        let many = timeout(PATIENCE, backend.read_many(&addresses())).await;
        errors.extend(many.unwrap().into_iter().map(Result::unwrap_err));
        let value = NewValue::new(Payload::detect(SecretValue::copy_from(CANARY)));
        if backend.capabilities().write {
            errors.push(backend.write("a/b", &value).await.unwrap_err());
        }
        errors.push(backend.page("", None, 5).await.unwrap_err());
        errors.push(backend.list().await.unwrap_err());
        errors.push(backend.details("a/b").await.unwrap_err());
        errors.push(backend.health().await.unwrap_err());
        for error in errors {
            check(&error);
            assert!(is_refusal(&error), "{error}");
            assert!(error.message.contains("it is asked again in"), "{error}");
        }
        assert_eq!(self.proxy.asked(), before);
    }
}

fn addresses() -> Vec<String> {
    (0..MANY).map(|number| format!("s{number}/a")).collect()
}

fn check(error: &BackendError) {
    assert_eq!(error.kind, BackendErrorKind::Unreachable, "{error}");
    assert!(error.hint.is_some(), "{error}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

fn is_refusal(error: &BackendError) -> bool {
    error.message.contains("was not asked, because the last 5")
}

/// Some calls fail, then none asks.
pub async fn opens(behind: Behind, line: Line) {
    behind.breaks(line).await;
    behind.fails_asked(1).await;
    for _ in 1..OUTAGES_MAX {
        behind.fails().await;
    }
    // Whoever tries again by itself is there sooner, but not with fewer requests.
    assert!(behind.proxy.asked() >= OUTAGES_MAX as usize);
    behind.is_left_alone().await;
}

/// Statuses from 500 on, and no others. `answer` makes the server of a backend with a time limit
/// of [`LIMIT`] answer every request with a status.
pub async fn counts_trouble_only(backend: &dyn Backend, answer: impl Fn(u16)) {
    let some: Vec<String> = addresses().into_iter().take(OUTAGES_MAX as usize).collect();
    let throttled = BackendErrorKind::Throttled;
    for (status, kind) in [(429, throttled), (503, BackendErrorKind::Unreachable)] {
        answer(status);
        for read in backend.read_many(&some).await {
            let error = read.unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(!is_refusal(&error), "{error}");
        }
    }
    let error = backend.read("a/b", &VersionRef::Current).await.unwrap_err();
    assert!(is_refusal(&error), "{error}");
}

/// As a caller with a shorter deadline does.
pub async fn is_opened_by_who_gives_up(behind: Behind) {
    behind.breaks(Line::BlackHole).await;
    for _ in 0..OUTAGES_MAX {
        let read = behind.backend.read("a/b", &VersionRef::Current);
        let deadline = LIMIT * 6 / 10;
        assert!(timeout(deadline, read).await.is_err());
    }
    behind.is_left_alone().await;
}

/// Outages that are not in a row open nothing.
pub async fn starts_again(behind: Behind) {
    for _ in 0..ROUNDS_MAX {
        if is_counted_anew(&behind).await {
            return;
        }
        // The machine was too busy for an answer within the limit, which opens the circuit.
        tokio::time::sleep(PAUSE).await;
    }
    panic!("there is never an answer in time");
}

async fn is_counted_anew(behind: &Behind) -> bool {
    for _ in 0..2 {
        behind.breaks(Line::BlackHole).await;
        behind.fails_asked(OUTAGES_MAX - 1).await;
        if !behind.answers_in_time().await {
            return false;
        }
    }
    true
}

/// Most of the secrets are not asked for.
pub async fn bulk_ends(behind: Behind) {
    behind.breaks(Line::BlackHole).await;
    let many = timeout(PATIENCE, behind.backend.read_many(&addresses())).await;
    let errors: Vec<_> = many.unwrap().into_iter().map(Result::unwrap_err).collect();
    errors.iter().for_each(check);
    assert_eq!(errors.len(), MANY);
    assert!(behind.proxy.asked() <= IN_FLIGHT_MAX);
    // A few requests may have held all of the secrets; whoever comes next is refused in any case.
    let next = behind.fails().await;
    assert!(is_refusal(&next), "{next}");
}

/// All at once: few of them ask.
pub async fn callers_take_turns(behind: Behind) {
    behind.breaks(Line::BlackHole).await;
    let mut callers = JoinSet::new();
    for address in addresses() {
        let backend = Arc::clone(&behind.backend);
        callers.spawn(async move { backend.read(&address, &VersionRef::Current).await });
    }
    let ended = timeout(PATIENCE, callers.join_all()).await.unwrap();
    ended.into_iter().for_each(|read| check(&read.unwrap_err()));
    let most = behind.proxy.open_most();
    assert!((1..=IN_FLIGHT_MAX).contains(&most), "{most}");
}
