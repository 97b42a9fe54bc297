//! How records of rotations and policies are written: what came later stands behind what was there
//! first, so that both forms are read.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

use super::Lease;
use super::Outcome;
use super::Planned;
use super::Policy;
use super::Rotation;
use super::Run;
use super::Setup;
use super::overlap::Ended;
use super::overlap::Keep;
use super::overlap::Overlap;

/// A set-up as it was first.
#[derive(Clone, Serialize, Deserialize)]
struct FirstSetup {
    rotator: String,
    is_enabled: bool,
    days: Option<u32>,
    expression: Option<String>,
    duration: Option<String>,
}

/// What came to it.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct More {
    keep: Keep,
    jitter: Option<Span>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FirstRotation {
    path: String,
    secret: String,
    created: Timestamp,
    setup: FirstSetup,
    is_settled: bool,
    next: Option<Planned>,
    last: Option<Timestamp>,
    run: Option<Run>,
    lease: Option<Lease>,
    history: Vec<Outcome>,
    finished: u64,
    failures: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RotationForm {
    first: FirstRotation,
    more: More,
    overlap: Option<Overlap>,
    ended: Vec<Ended>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FirstPolicy {
    pattern: String,
    setup: FirstSetup,
    before: Option<FirstSetup>,
    notify_before: Option<Span>,
    owner: Option<String>,
    written: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PolicyForm {
    first: FirstPolicy,
    more: More,
    before: Option<More>,
}

fn split(setup: Setup) -> (FirstSetup, More) {
    let Setup {
        rotator,
        is_enabled,
        days,
        expression,
        duration,
        keep,
        jitter,
    } = setup;
    let first = FirstSetup {
        rotator,
        is_enabled,
        days,
        expression,
        duration,
    };
    (first, More { keep, jitter })
}

fn join(first: FirstSetup, more: More) -> Setup {
    Setup {
        rotator: first.rotator,
        is_enabled: first.is_enabled,
        days: first.days,
        expression: first.expression,
        duration: first.duration,
        keep: more.keep,
        jitter: more.jitter,
    }
}

impl From<Rotation> for RotationForm {
    fn from(rotation: Rotation) -> Self {
        let (setup, more) = split(rotation.setup);
        Self {
            first: FirstRotation {
                path: rotation.path,
                secret: rotation.secret,
                created: rotation.created,
                setup,
                is_settled: rotation.is_settled,
                next: rotation.next,
                last: rotation.last,
                run: rotation.run,
                lease: rotation.lease,
                history: rotation.history,
                finished: rotation.finished,
                failures: rotation.failures,
            },
            more,
            overlap: rotation.overlap,
            ended: rotation.ended,
        }
    }
}

impl From<RotationForm> for Rotation {
    fn from(form: RotationForm) -> Self {
        let first = form.first;
        Self {
            path: first.path,
            secret: first.secret,
            created: first.created,
            setup: join(first.setup, form.more),
            is_settled: first.is_settled,
            next: first.next,
            last: first.last,
            run: first.run,
            lease: first.lease,
            history: first.history,
            finished: first.finished,
            failures: first.failures,
            overlap: form.overlap,
            ended: form.ended,
        }
    }
}

impl From<FirstRotation> for Rotation {
    fn from(first: FirstRotation) -> Self {
        let form = RotationForm {
            first,
            more: More::default(),
            overlap: None,
            ended: Vec::new(),
        };
        form.into()
    }
}

impl From<Policy> for PolicyForm {
    fn from(policy: Policy) -> Self {
        let (setup, more) = split(policy.setup);
        let (before, before_more) = policy.before.map(split).unzip();
        Self {
            first: FirstPolicy {
                pattern: policy.pattern,
                setup,
                before,
                notify_before: policy.notify_before,
                owner: policy.owner,
                written: policy.written,
            },
            more,
            before: before_more,
        }
    }
}

impl From<PolicyForm> for Policy {
    fn from(form: PolicyForm) -> Self {
        let first = form.first;
        let before_more = form.before.unwrap_or_default();
        Self {
            pattern: first.pattern,
            setup: join(first.setup, form.more),
            before: first.before.map(|before| join(before, before_more)),
            notify_before: first.notify_before,
            owner: first.owner,
            written: first.written,
        }
    }
}

impl From<FirstPolicy> for Policy {
    fn from(first: FirstPolicy) -> Self {
        let form = PolicyForm {
            first,
            more: More::default(),
            before: None,
        };
        form.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;
    use crate::state::Stored;

    fn setup() -> FirstSetup {
        FirstSetup {
            rotator: "arn:x".into(),
            is_enabled: true,
            days: Some(30),
            expression: None,
            duration: Some("2h".into()),
        }
    }

    #[test]
    fn records_of_the_first_form_are_read() {
        let now = Timestamp::from_micros(7);
        let first = FirstRotation {
            path: "a/b".into(),
            secret: "arn:a".into(),
            created: now,
            setup: setup(),
            is_settled: true,
            next: None,
            last: Some(now),
            run: None,
            lease: None,
            history: Vec::new(),
            finished: 3,
            failures: 1,
        };
        let plain = record::encode(&first, None);
        assert!(
            record::decode::<Rotation>(&plain).is_none(),
            "not taken for the later form"
        );
        let read = Rotation::earlier(&plain).unwrap();
        assert_eq!((read.finished, read.setup.days), (3, Some(30)));
        assert_eq!((read.setup.keep, &read.overlap), (Keep::default(), &None));
        let plain = record::encode(&read, None);
        let (again, rest) = record::decode::<Rotation>(&plain).unwrap();
        assert_eq!((again, rest.len()), (read, 0));
        let first = FirstPolicy {
            pattern: "a/*".into(),
            setup: setup(),
            before: Some(setup()),
            notify_before: None,
            owner: Some("ann".into()),
            written: now,
        };
        let plain = record::encode(&first, None);
        assert!(record::decode::<Policy>(&plain).is_none());
        let read = Policy::earlier(&plain).unwrap();
        assert_eq!(read.before.as_ref(), Some(&read.setup));
        let plain = record::encode(&read, None);
        let (again, rest) = record::decode::<Policy>(&plain).unwrap();
        assert_eq!((again, rest.len()), (read, 0));
    }
}
