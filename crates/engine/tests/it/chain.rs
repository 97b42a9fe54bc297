//! How a chain is asked: what wins, what is fetched, what a failure does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Poll;

use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::Source;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::Stored;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_engine::resolve;
use strongroom_engine::resolve::Fallback;
use strongroom_engine::resolve::Generate;
use strongroom_engine::resolve::Link;
use strongroom_engine::resolve::Request;
use strongroom_engine::resolve::Resolution;

use crate::support::NOW;

/// So often a backend is looked at while it waits for the others.
const POLLS_MAX: usize = 1000;

/// Holds some names, or fails; notes what it is asked for.
struct Fake {
    name: &'static str,
    holds: Option<Vec<&'static str>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// Answers only when so many have been asked.
    waits: Option<(Arc<AtomicUsize>, usize)>,
}

impl Backend for Fake {
    fn scheme(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> String {
        self.name.into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let names = lookups.iter().map(|lookup| lookup.name.clone());
            self.asked.lock().unwrap().extend(names);
            if let Some((asked, all)) = &self.waits {
                asked.fetch_add(1, Ordering::SeqCst);
                let mut polls = 0;
                std::future::poll_fn(|context| {
                    polls += 1;
                    assert!(
                        polls < POLLS_MAX,
                        "the others are not asked at the same time"
                    );
                    context.waker().wake_by_ref();
                    match asked.load(Ordering::SeqCst) == *all {
                        true => Poll::Ready(()),
                        false => Poll::Pending,
                    }
                })
                .await;
            }
            let answer = |lookup: &Lookup| match &self.holds {
                None => {
                    let kind = BackendErrorKind::Unreachable;
                    Err(BackendError::new(kind, self.name, "it is down"))
                }
                Some(held) => Ok(held.contains(&lookup.name.as_str()).then(|| Fetched {
                    value: SecretValue::copy_from(self.name.as_bytes()),
                    version: None,
                    expires_at: None,
                })),
            };
            lookups.iter().map(answer).collect()
        })
    }

    fn set<'a>(
        &'a self,
        _lookup: &'a Lookup,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(std::future::ready(Err(self.unsupported("be written"))))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

type Asked = BTreeMap<&'static str, Arc<Mutex<Vec<String>>>>;

/// Links: name, what it holds (or nothing, and it fails), and whether it is remote.
fn chain(links: &[(&'static str, Option<&[&'static str]>, bool)]) -> (Vec<Link>, Asked) {
    let mut asked = Asked::new();
    let counter = Arc::new(AtomicUsize::new(0));
    let remote = links.iter().filter(|link| link.2).count();
    let links = links.iter().map(|(name, holds, is_remote)| {
        let noted = Arc::new(Mutex::new(Vec::new()));
        asked.insert(name, Arc::clone(&noted));
        Link {
            backend: Box::new(Fake {
                name,
                holds: holds.map(<[_]>::to_vec),
                asked: noted,
                waits: is_remote.then(|| (Arc::clone(&counter), remote)),
            }),
            is_optional: false,
            is_remote: *is_remote,
        }
    });
    (links.collect(), asked)
}

fn resolve_with<'m>(manifest: &'m Manifest, links: &[Link], fallback: Fallback) -> Resolution<'m> {
    let request = Request {
        manifest,
        profile: manifest.profile("development").unwrap(),
        only: None,
        allow_placeholders: &[],
        generate: Generate::Never,
        fallback,
        elsewhere: None,
        rng: &SystemRng,
        now: NOW,
    };
    pollster::block_on(resolve::resolve(&request, links))
}

fn manifest(names: &str) -> Manifest {
    let declared = names.split(' ').map(|name| format!("[secrets.{name}]\n"));
    let text = format!(
        "[project]\nname = \"app\"\n{}",
        declared.collect::<String>()
    );
    let source = Source {
        name: "strongroom.toml",
        text: &text,
    };
    Manifest::parse(&[source]).unwrap().0
}

fn origins(resolution: &Resolution<'_>) -> Vec<Option<String>> {
    let secrets = resolution.secrets.iter();
    secrets.map(|secret| secret.origin.word()).collect()
}

#[test]
fn precedence_is_the_chains_and_nothing_is_fetched_in_vain() {
    let manifest = manifest("X Y Z");
    let (links, asked) = chain(&[
        ("first", Some(&["X"]), true),
        ("local", Some(&["X", "Y"]), false),
        ("second", Some(&["X", "Y", "Z"]), true),
    ]);
    let resolution = resolve_with(&manifest, &links, Fallback::NotFound);
    let word = |text: &str| Some(text.to_owned());
    assert_eq!(
        origins(&resolution),
        [word("first"), word("local"), word("second")]
    );
    let asked = |name: &str| asked[name].lock().unwrap().clone();
    assert_eq!(asked("first"), ["X", "Y", "Z"]);
    assert_eq!(asked("second"), ["Z"], "what the store has is not fetched");
}

#[test]
fn a_failure_stops_unless_it_may_be_passed_over_and_never_is_not_found() {
    let manifest = manifest("X Y");
    let links = || {
        chain(&[
            ("down", None, true),
            ("local", Some(&["X"]), false),
            ("other", Some(&[]), true),
        ])
        .0
    };
    let stopped = resolve_with(&manifest, &links(), Fallback::NotFound);
    assert_eq!(stopped.failures.len(), 1);
    assert_eq!(origins(&stopped), [None, None]);
    let passed = resolve_with(&manifest, &links(), Fallback::OnError);
    assert_eq!(origins(&passed), [Some("local".to_owned()), None]);
    assert_eq!(passed.tolerated.len(), 1);
    assert_eq!(
        passed.failures.len(),
        1,
        "Y is not missing: its backend failed"
    );
    assert!(passed.problems.iter().all(|problem| problem.secret != "Y"));
}

#[test]
fn a_local_failure_keeps_later_links_from_being_asked() {
    let manifest = manifest("X");
    let (links, asked) = chain(&[("broken", None, false), ("server", Some(&["X"]), true)]);
    let resolution = resolve_with(&manifest, &links, Fallback::NotFound);
    assert_eq!(resolution.failures.len(), 1);
    assert!(asked["server"].lock().unwrap().is_empty());
}
