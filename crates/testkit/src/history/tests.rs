use super::*;

fn event(begin: u64, end: u64, deed: Deed) -> Event {
    Event {
        begin,
        end: Some(end),
        deed,
    }
}

fn read(begin: u64, end: u64, version: u64, value: u64) -> Event {
    event(begin, end, Deed::Read { version, value })
}

fn write(begin: u64, end: u64, expected: u64, value: u64) -> Event {
    event(begin, end, Deed::Write { expected, value })
}

fn refused(begin: u64, end: u64, expected: u64) -> Event {
    event(begin, end, Deed::Refused { expected })
}

fn unanswered(begin: u64, expected: u64, value: u64) -> Event {
    Event {
        begin,
        end: None,
        deed: Deed::Write { expected, value },
    }
}

fn is_explained(history: &[Event]) -> bool {
    linearize(history).is_ok()
}

#[test]
fn one_after_another_is_explained() {
    assert!(is_explained(&[]));
    assert!(is_explained(&[
        read(0, 1, 0, 0),
        write(2, 3, 0, 10),
        read(4, 5, 1, 10),
        refused(6, 7, 0),
        write(8, 9, 1, 11),
        read(10, 11, 2, 11),
    ]));
}

#[test]
fn what_overlaps_may_stand_either_way() {
    let writing = write(0, 10, 0, 10);
    assert!(is_explained(&[writing.clone(), read(2, 3, 0, 0)]));
    assert!(is_explained(&[writing.clone(), read(2, 3, 1, 10)]));
    // But not one way, and then the other.
    assert!(!is_explained(&[
        writing,
        read(2, 3, 1, 10),
        read(4, 5, 0, 0)
    ]));
}

#[test]
fn an_old_value_after_a_newer_one_is_found() {
    let found = linearize(&[write(0, 1, 0, 10), write(2, 3, 1, 11), read(4, 5, 1, 10)]);
    assert!(found.unwrap_err().contains("behind version 2 (value 11)"));
}

#[test]
fn a_lost_acknowledged_write_is_found() {
    assert!(!is_explained(&[write(0, 1, 0, 10), read(2, 3, 0, 0)]));
    // Its version was given to another one.
    assert!(!is_explained(&[write(0, 1, 0, 10), write(2, 3, 0, 11)]));
}

#[test]
fn of_two_that_expect_the_same_one_is_refused() {
    let both = [write(0, 9, 0, 10), refused(0, 9, 0)];
    assert!(is_explained(&both));
    assert!(!is_explained(&[write(0, 9, 0, 10), write(0, 9, 0, 11)]));
}

#[test]
fn a_refusal_without_a_reason_is_found() {
    assert!(!is_explained(&[write(0, 1, 0, 10), refused(2, 3, 1)]));
    // Somebody may have been first, without an answer.
    assert!(is_explained(&[
        write(0, 1, 0, 10),
        unanswered(1, 1, 11),
        refused(2, 3, 1)
    ]));
}

#[test]
fn what_was_not_answered_may_happen_late_or_never() {
    let sent = unanswered(0, 0, 10);
    assert!(is_explained(&[sent.clone(), read(5, 6, 0, 0)]));
    assert!(is_explained(&[
        sent.clone(),
        read(5, 6, 0, 0),
        read(7, 8, 1, 10)
    ]));
    assert!(is_explained(&[sent.clone(), write(5, 6, 0, 11)]));
    // It cannot have happened before it was sent, nor twice.
    assert!(!is_explained(&[unanswered(9, 0, 10), read(5, 6, 1, 10)]));
    assert!(!is_explained(&[sent, read(1, 2, 1, 10), read(3, 4, 0, 0)]));
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    assert!(!is_explained(&[write(0, 1, 0, 10), read(2, 3, 1, 99)]));
}

#[test]
fn of_two_unanswered_writes_the_search_takes_the_one_that_fits() {
    assert!(is_explained(&[
        unanswered(0, 0, 10),
        unanswered(0, 0, 11),
        write(5, 6, 1, 12),
        read(7, 8, 2, 12),
        unanswered(0, 2, 13),
        unanswered(0, 2, 14),
        read(9, 10, 3, 13),
    ]));
    let long: Vec<Event> = (0..400)
        .map(|number| unanswered(0, number % 20, number + 1))
        .chain([read(1, 2, 20, 400)])
        .collect();
    assert!(is_explained(&long));
}

#[test]
fn going_back_at_one_server_is_found() {
    let sight = |begin, end, version| Sight {
        begin,
        end,
        version,
    };
    never_goes_back(&[sight(0, 5, 2), sight(1, 2, 1), sight(6, 7, 2)]).unwrap();
    let found = never_goes_back(&[sight(0, 5, 2), sight(6, 7, 1)]);
    assert!(found.unwrap_err().contains("version: 1"));
}

#[test]
fn lists_have_what_was_made_and_nothing_else() {
    let made = BTreeMap::from([(1, (0, Some(10))), (2, (20, None)), (3, (40, Some(50)))]);
    let listing = |begin, names: &[u64]| Listing {
        begin,
        end: begin + 5,
        names: names.iter().copied().collect(),
    };
    let follow = |listing| lists_follow(&made, &[listing], 100);
    follow(listing(60, &[])).unwrap();
    follow(listing(111, &[1])).unwrap();
    follow(listing(111, &[1, 2, 3])).unwrap();
    assert!(follow(listing(111, &[2])).is_err());
    assert!(follow(listing(30, &[1, 3])).is_err());
    assert!(follow(listing(30, &[1, 9])).is_err());
    assert!(follow(listing(160, &[1])).is_err());
}
