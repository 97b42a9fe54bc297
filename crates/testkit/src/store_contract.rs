//! What every storage has to do, as one suite: `store_contract!(name, make)`.
//!
//! `make` is called for each case and returns a storage and something to keep alive with it.

#![expect(clippy::unwrap_used, reason = "a case fails by panicking, as tests do")]

use std::sync::Arc;

use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Changed;
use strongroom_core::port::Durability;
use strongroom_core::port::MergeFailed;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;

/// Makes a module with one test for each case of the contract.
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $make:expr) => {
        $crate::store_contract!(@cases $name, $make;
            a_record_comes_back_as_it_was_put
            many_records_come_in_the_order_asked
            lists_come_in_id_order_page_by_page
            due_records_come_earliest_first
            a_record_that_was_moved_is_listed_at_its_new_place
            a_batch_is_applied_whole_or_not_at_all
            every_precondition_is_kept
            preconditions_look_at_the_state_before_the_batch
            merges_see_each_other
            a_merge_that_fails_leaves_nothing
            a_merge_needs_a_record
            merges_of_one_record_by_many_threads_all_count
            a_lease_is_taken_by_one_of_many
            a_deleted_record_is_gone
            what_changed_can_be_watched
            watching_goes_page_by_page
            revisions_only_grow
            great_and_empty_values_come_back
            relaxed_commits_can_be_read_at_once
            a_failed_commit_does_not_touch_the_next
        );
    };
    (@cases $name:ident, $make:expr; $($case:ident)+) => {
        mod $name {
            use super::*;
            $(
                #[test]
                fn $case() {
                    let (storage, _kept) = $make;
                    $crate::store_contract::$case(&storage);
                }
            )+
        }
    };
}

type Shared = Arc<dyn Storage>;

const FOLDER: RecordId = RecordId([0xf0; 16]);
const OTHER_FOLDER: RecordId = RecordId([0xf1; 16]);

/// An id that sorts by `number`.
#[must_use]
pub fn id(number: u64) -> RecordId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    RecordId(id)
}

/// A put without a precondition.
#[must_use]
pub fn put(id: RecordId, value: &[u8]) -> BatchItem {
    put_in(FOLDER, id, value, None)
}

fn put_in(parent: RecordId, id: RecordId, value: &[u8], due_at: Option<i64>) -> BatchItem {
    BatchItem {
        id,
        precondition: Precondition::Any,
        change: Change::Put {
            parent,
            name: [b"name of ", value].concat(),
            value: value.to_vec(),
            due_at,
        },
    }
}

fn check(id: RecordId, precondition: Precondition) -> BatchItem {
    BatchItem {
        id,
        precondition,
        change: Change::Check,
    }
}

fn delete(id: RecordId) -> BatchItem {
    BatchItem {
        id,
        precondition: Precondition::Any,
        change: Change::Delete,
    }
}

fn append(id: RecordId, byte: u8) -> BatchItem {
    let merge = move |value: &[u8]| -> Result<Vec<u8>, MergeFailed> {
        let mut value = value.to_vec();
        value.push(byte);
        Ok(value)
    };
    BatchItem {
        id,
        precondition: Precondition::Exists,
        change: Change::Merge(Arc::new(merge)),
    }
}

fn failing_merge(id: RecordId, why: MergeFailed) -> BatchItem {
    BatchItem {
        id,
        precondition: Precondition::Exists,
        change: Change::Merge(Arc::new(move |_| Err(why))),
    }
}

/// A merge that adds one to a number of eight bytes.
#[must_use]
pub fn count_up(id: RecordId) -> BatchItem {
    let merge = |value: &[u8]| -> Result<Vec<u8>, MergeFailed> {
        let number = u64::from_be_bytes(value.try_into().map_err(|_| MergeFailed::Unreadable)?);
        Ok((number + 1).to_be_bytes().to_vec())
    };
    BatchItem {
        id,
        precondition: Precondition::Exists,
        change: Change::Merge(Arc::new(merge)),
    }
}

fn commit(storage: &Shared, batch: Vec<BatchItem>) -> Result<u64, StorageError> {
    pollster::block_on(storage.commit(batch, Durability::Durable))
}

fn get(storage: &Shared, id: RecordId) -> Option<Record> {
    pollster::block_on(storage.get(id)).unwrap()
}

fn value(storage: &Shared, id: RecordId) -> Option<Vec<u8>> {
    get(storage, id).map(|record| record.value)
}

fn list(storage: &Shared, after: Option<RecordId>, limit: usize) -> Vec<RecordId> {
    let page = pollster::block_on(storage.list(FOLDER, after, limit)).unwrap();
    page.iter().map(|record| record.id).collect()
}

fn watch(storage: &Shared, after: u64, limit: usize) -> Vec<Changed> {
    pollster::block_on(storage.watch(after, limit)).unwrap()
}

fn revision(storage: &Shared) -> u64 {
    pollster::block_on(storage.revision()).unwrap()
}

#[track_caller]
fn assert_conflict(result: &Result<u64, StorageError>, expected: RecordId) {
    assert!(
        matches!(result, Err(StorageError::Conflict { id }) if *id == expected),
        "{result:?}"
    );
}

/// What is put comes back, all fields of it.
pub fn a_record_comes_back_as_it_was_put(storage: &Shared) {
    assert_eq!(get(storage, id(1)), None);
    let revision = commit(storage, vec![put_in(FOLDER, id(1), b"one", Some(-5))]).unwrap();
    let expected = Record {
        id: id(1),
        parent: FOLDER,
        name: b"name of one".to_vec(),
        value: b"one".to_vec(),
        due_at: Some(-5),
        revision,
    };
    assert_eq!(get(storage, id(1)), Some(expected));
    let revision = commit(storage, vec![put(id(1), b"two")]).unwrap();
    let record = get(storage, id(1)).unwrap();
    assert_eq!(
        (record.value.as_slice(), record.due_at, record.revision),
        (&b"two"[..], None, revision)
    );
}

/// `get_many` keeps the order, repetitions and gaps of the question.
pub fn many_records_come_in_the_order_asked(storage: &Shared) {
    commit(storage, vec![put(id(1), b"one"), put(id(2), b"two")]).unwrap();
    let asked = [id(2), id(9), id(1), id(2)];
    let found = pollster::block_on(storage.get_many(&asked)).unwrap();
    let values: Vec<Option<&[u8]>> = found
        .iter()
        .map(|record| record.as_ref().map(|record| record.value.as_slice()))
        .collect();
    let (one, two) = (&b"one"[..], &b"two"[..]);
    assert_eq!(values, [Some(two), None, Some(one), Some(two)]);
    assert!(
        pollster::block_on(storage.get_many(&[]))
            .unwrap()
            .is_empty()
    );
}

/// Pages join to the whole list, in id order, of one parent only.
pub fn lists_come_in_id_order_page_by_page(storage: &Shared) {
    let numbers = [5, 1, 300, 4, 70_000, 2];
    let mut batch: Vec<BatchItem> = numbers.iter().map(|n| put(id(*n), b"x")).collect();
    batch.push(put_in(OTHER_FOLDER, id(3), b"x", None));
    commit(storage, batch).unwrap();
    let sorted: Vec<RecordId> = [1, 2, 4, 5, 300, 70_000].map(id).to_vec();
    assert_eq!(list(storage, None, 100), sorted);
    let mut joined = Vec::new();
    loop {
        let page = list(storage, joined.last().copied(), 4);
        joined.extend_from_slice(&page);
        if page.len() < 4 {
            break;
        }
    }
    assert_eq!(joined, sorted);
    // The start of a page need not be a record.
    assert_eq!(list(storage, Some(id(3)), 2), [id(4), id(5)]);
    assert_eq!(list(storage, Some(RecordId([0xff; 16])), 2), []);
    assert_eq!(list(storage, None, 0), []);
}

/// `due` is a queue by time, then id.
pub fn due_records_come_earliest_first(storage: &Shared) {
    let batch = vec![
        put_in(FOLDER, id(1), b"x", Some(30)),
        put_in(FOLDER, id(2), b"x", Some(10)),
        put_in(FOLDER, id(3), b"x", None),
        put_in(OTHER_FOLDER, id(4), b"x", Some(10)),
        put_in(FOLDER, id(5), b"x", Some(31)),
    ];
    commit(storage, batch).unwrap();
    let due = |before, limit| -> Vec<RecordId> {
        let found = pollster::block_on(storage.due(before, limit)).unwrap();
        found.iter().map(|record| record.id).collect()
    };
    assert_eq!(due(31, 10), [id(2), id(4), id(1)]);
    assert_eq!(due(31, 2), [id(2), id(4)]);
    assert_eq!(due(10, 10), []);
    commit(storage, vec![put(id(2), b"done")]).unwrap();
    assert_eq!(due(31, 10), [id(4), id(1)]);
}

/// A put can change the parent.
pub fn a_record_that_was_moved_is_listed_at_its_new_place(storage: &Shared) {
    commit(storage, vec![put(id(1), b"x"), put(id(2), b"x")]).unwrap();
    commit(storage, vec![put_in(OTHER_FOLDER, id(1), b"x", None)]).unwrap();
    assert_eq!(list(storage, None, 10), [id(2)]);
    let moved = pollster::block_on(storage.list(OTHER_FOLDER, None, 10)).unwrap();
    assert_eq!(moved.len(), 1);
}

/// One precondition that fails keeps all of a batch out.
pub fn a_batch_is_applied_whole_or_not_at_all(storage: &Shared) {
    commit(storage, vec![put(id(1), b"before"), put(id(2), b"before")]).unwrap();
    let before = revision(storage);
    let batch = vec![
        put(id(1), b"after"),
        delete(id(2)),
        put(id(3), b"after"),
        append(id(1), b'!'),
        check(id(4), Precondition::Exists),
    ];
    assert_conflict(&commit(storage, batch), id(4));
    assert_eq!(value(storage, id(1)).unwrap(), b"before");
    assert_eq!(value(storage, id(2)).unwrap(), b"before");
    assert_eq!(get(storage, id(3)), None);
    assert_eq!(revision(storage), before);
    assert_eq!(watch(storage, before, 10), []);
    let after = commit(storage, vec![put(id(1), b"after"), put(id(3), b"after")]).unwrap();
    assert_eq!(get(storage, id(1)).unwrap().revision, after);
    assert_eq!(get(storage, id(3)).unwrap().revision, after);
}

/// Each precondition, where it holds and where it does not.
pub fn every_precondition_is_kept(storage: &Shared) {
    let old = commit(storage, vec![put(id(1), b"x")]).unwrap();
    let now = commit(storage, vec![put(id(1), b"y")]).unwrap();
    let cases = [
        (id(1), Precondition::Any, true),
        (id(2), Precondition::Any, true),
        (id(1), Precondition::Absent, false),
        (id(2), Precondition::Absent, true),
        (id(1), Precondition::Exists, true),
        (id(2), Precondition::Exists, false),
        (id(1), Precondition::Revision(now), true),
        (id(1), Precondition::Revision(old), false),
        (id(1), Precondition::Revision(0), false),
        (id(2), Precondition::Revision(now), false),
        (id(2), Precondition::Revision(0), false),
    ];
    for (record, precondition, holds) in cases {
        let result = commit(storage, vec![check(record, precondition)]);
        if holds {
            assert!(result.is_ok(), "{record:?} {precondition:?} {result:?}");
        } else {
            assert_conflict(&result, record);
        }
    }
    assert_eq!(get(storage, id(1)).unwrap().revision, now);
}

/// A batch's own puts do not count for its preconditions.
pub fn preconditions_look_at_the_state_before_the_batch(storage: &Shared) {
    let batch = vec![put(id(1), b"x"), check(id(1), Precondition::Exists)];
    assert_conflict(&commit(storage, batch), id(1));
    let batch = vec![put(id(1), b"x"), check(id(1), Precondition::Absent)];
    commit(storage, batch).unwrap();
}

/// Merges of one batch and of the next build on each other.
pub fn merges_see_each_other(storage: &Shared) {
    commit(storage, vec![put_in(FOLDER, id(1), b"a", Some(9))]).unwrap();
    commit(storage, vec![append(id(1), b'b'), append(id(1), b'c')]).unwrap();
    let last = commit(storage, vec![append(id(1), b'd')]).unwrap();
    let record = get(storage, id(1)).unwrap();
    assert_eq!(record.value, b"abcd");
    // Everything but the value stays.
    assert_eq!(record.name, b"name of a");
    assert_eq!((record.due_at, record.revision), (Some(9), last));
    assert_eq!(list(storage, None, 10), [id(1)]);
}

/// Neither the merge nor its neighbours in the batch are kept.
pub fn a_merge_that_fails_leaves_nothing(storage: &Shared) {
    for why in [MergeFailed::Unreadable, MergeFailed::Outdated] {
        leaves_nothing(storage, why);
    }
}

fn leaves_nothing(storage: &Shared, why: MergeFailed) {
    commit(storage, vec![put(id(1), b"a"), put(id(2), b"b")]).unwrap();
    commit(storage, vec![delete(id(2))]).unwrap();
    let (before, changes) = (revision(storage), watch(storage, 0, 10));
    let batch = vec![
        put(id(2), b"again"),
        append(id(1), b'x'),
        failing_merge(id(1), why),
        put(id(3), b"new"),
    ];
    let result = commit(storage, batch);
    match why {
        MergeFailed::Outdated => assert_conflict(&result, id(1)),
        MergeFailed::Unreadable => assert!(
            matches!(result, Err(StorageError::Damaged { .. })),
            "{result:?}"
        ),
    }
    assert_eq!(value(storage, id(1)).unwrap(), b"a");
    assert_eq!(get(storage, id(2)), None);
    assert_eq!(get(storage, id(3)), None);
    assert_eq!(revision(storage), before);
    assert_eq!(watch(storage, 0, 10), changes);
}

/// Nothing can be merged into nothing.
pub fn a_merge_needs_a_record(storage: &Shared) {
    assert_conflict(&commit(storage, vec![append(id(1), b'x')]), id(1));
    let mut item = append(id(1), b'x');
    item.precondition = Precondition::Any;
    assert_conflict(&commit(storage, vec![item]), id(1));
    assert_eq!(get(storage, id(1)), None);
}

/// Many threads at once, in one group where the storage groups: none is lost, and a failing
/// neighbour does not disturb.
pub fn merges_of_one_record_by_many_threads_all_count(storage: &Shared) {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 12;
    commit(storage, vec![put(id(1), &0_u64.to_be_bytes())]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let own = put(id(100 + thread * ROUNDS + round), b"own");
                    commit(storage, vec![count_up(id(1)), own]).unwrap();
                    let failing = vec![count_up(id(1)), check(id(9), Precondition::Exists)];
                    assert_conflict(&commit(storage, failing), id(9));
                    let why = MergeFailed::Outdated;
                    let failing = commit(storage, vec![count_up(id(1)), failing_merge(id(1), why)]);
                    assert!(failing.is_err());
                }
            });
        }
    });
    let count = value(storage, id(1)).unwrap();
    assert_eq!(count, (THREADS * ROUNDS).to_be_bytes());
    assert_eq!(list(storage, Some(id(99)), 1000).len(), 96);
}

/// Whoever claims a record on condition that it is as it was seen is the only one.
pub fn a_lease_is_taken_by_one_of_many(storage: &Shared) {
    const HOLDERS: u8 = 8;
    // At first nobody has it; then each round somebody's lease is over, and all see it.
    let mut seen = Precondition::Absent;
    for round in 0..5_u8 {
        let claim = |holder: u8| {
            let mut item = put(id(1), &[round, holder]);
            item.precondition = seen;
            pollster::block_on(storage.commit(vec![item], Durability::Durable))
        };
        let answers: Vec<Result<u64, StorageError>> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..HOLDERS)
                .map(|holder| scope.spawn(move || claim(holder)))
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let won: Vec<usize> = (0..answers.len())
            .filter(|at| answers[*at].is_ok())
            .collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        let is_conflict = |answer: &Result<u64, StorageError>| {
            answer.is_ok() || matches!(answer, Err(StorageError::Conflict { .. }))
        };
        assert!(answers.iter().all(is_conflict), "{answers:?}");
        let found = pollster::block_on(storage.get(id(1))).unwrap().unwrap();
        assert_eq!(usize::from(found.value[1]), won[0]);
        seen = Precondition::Revision(found.revision);
    }
}

/// Deleting takes a record out of everything; deleting nothing is no failure.
pub fn a_deleted_record_is_gone(storage: &Shared) {
    commit(storage, vec![put_in(FOLDER, id(1), b"x", Some(1))]).unwrap();
    commit(storage, vec![delete(id(1)), delete(id(2))]).unwrap();
    assert_eq!(get(storage, id(1)), None);
    assert_eq!(list(storage, None, 10), []);
    assert!(pollster::block_on(storage.due(100, 10)).unwrap().is_empty());
    let mut again = put(id(1), b"again");
    again.precondition = Precondition::Absent;
    commit(storage, vec![again]).unwrap();
    assert_eq!(value(storage, id(1)).unwrap(), b"again");
}

/// Every record's last change can be seen, once, and deletions too.
pub fn what_changed_can_be_watched(storage: &Shared) {
    let start = revision(storage);
    let one = commit(storage, vec![put(id(2), b"x"), put(id(1), b"x")]).unwrap();
    let two = commit(storage, vec![append(id(1), b'y'), put(id(3), b"x")]).unwrap();
    let three = commit(storage, vec![delete(id(2)), delete(id(9))]).unwrap();
    let changed = |record, revision, exists| Changed {
        id: id(record),
        revision,
        exists,
    };
    let seen = watch(storage, start, 10);
    let expected = [
        changed(1, two, true),
        changed(3, two, true),
        changed(2, three, false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(watch(storage, two, 10), [changed(2, three, false)]);
    assert!(one < two && two < three);
    // A record that comes back is no deletion any more.
    let four = commit(storage, vec![put(id(2), b"again")]).unwrap();
    assert_eq!(watch(storage, two, 10), [changed(2, four, true)]);
    assert_eq!(watch(storage, four, 10), []);
    let five = commit(storage, vec![delete(id(2))]).unwrap();
    assert_eq!(watch(storage, three, 10), [changed(2, five, false)]);
}

/// A limit cuts in order; the rest comes from there.
pub fn watching_goes_page_by_page(storage: &Shared) {
    let start = revision(storage);
    for number in 0..6 {
        commit(storage, vec![put(id(number), b"x")]).unwrap();
    }
    commit(storage, vec![delete(id(4)), delete(id(0))]).unwrap();
    let (mut after, mut seen) = (start, Vec::new());
    loop {
        let page = watch(storage, after, 2);
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = last.revision;
        seen.extend(page.iter().map(|change| change.id));
    }
    assert_eq!(seen, [1, 2, 3, 5, 0, 4].map(id));
}

/// Each commit has a number of its own, greater than all before, whatever it holds.
pub fn revisions_only_grow(storage: &Shared) {
    let mut last = revision(storage);
    for batch in [
        vec![put(id(1), b"x")],
        vec![check(id(1), Precondition::Exists)],
        vec![append(id(1), b'x')],
        vec![delete(id(1))],
        vec![],
    ] {
        let next = commit(storage, batch).unwrap();
        assert!(next > last);
        assert_eq!(revision(storage), next);
        last = next;
    }
    assert!(commit(storage, vec![check(id(1), Precondition::Exists)]).is_err());
    assert_eq!(revision(storage), last);
}

/// Nothing is cut off, nothing is added.
pub fn great_and_empty_values_come_back(storage: &Shared) {
    let great: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    commit(storage, vec![put(id(1), &great), put(id(2), b"")]).unwrap();
    assert!(value(storage, id(1)).unwrap() == great);
    assert_eq!(value(storage, id(2)).unwrap(), b"");
    commit(storage, vec![append(id(1), 1), append(id(2), 1)]).unwrap();
    assert_eq!(value(storage, id(1)).unwrap().len(), great.len() + 1);
    assert_eq!(value(storage, id(2)).unwrap(), [1]);
}

/// Less durability is no less visibility.
pub fn relaxed_commits_can_be_read_at_once(storage: &Shared) {
    for number in 0..5 {
        let batch = vec![put(id(number), b"x")];
        let written = pollster::block_on(storage.commit(batch, Durability::Relaxed)).unwrap();
        assert_eq!(get(storage, id(number)).unwrap().revision, written);
        assert_eq!(revision(storage), written);
    }
    commit(storage, vec![put(id(9), b"x")]).unwrap();
    assert_eq!(list(storage, None, 10).len(), 6);
}

/// After a refusal the storage goes on as before.
pub fn a_failed_commit_does_not_touch_the_next(storage: &Shared) {
    for number in 0..5 {
        let refused = vec![put(id(8), b"x"), check(id(9), Precondition::Exists)];
        assert!(commit(storage, refused).is_err());
        commit(storage, vec![put(id(number), b"x")]).unwrap();
    }
    assert_eq!(list(storage, None, 10).len(), 5);
}
