//! Single rows changed by somebody who can write the file but has no key.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::params;
use strongroom_core::path::SecretPath;
use strongroom_engine::Engine;
use strongroom_engine::Error;
use strongroom_store::embedded::Rollback;

use crate::vault::ReadOnly;
use crate::vault::Vault;
use crate::vault::context;
use crate::vault::read;
use crate::vault::write;

struct Row {
    id: Vec<u8>,
    parent: Vec<u8>,
    name: Vec<u8>,
    value: Vec<u8>,
    revision: u64,
}

impl Vault {
    fn sql(&self) -> Connection {
        Connection::open(self.place.store()).unwrap()
    }

    fn rows(&self) -> Vec<Row> {
        let connection = self.sql();
        let mut statement = connection
            .prepare("SELECT id, parent, name, value, revision FROM record ORDER BY id")
            .unwrap();
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Row {
                id: row.get(0)?,
                parent: row.get(1)?,
                name: row.get(2)?,
                value: row.get(3)?,
                revision: row.get(4)?,
            })
        };
        let rows = statement.query_map([], row).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn put_row(&self, row: &Row) {
        let changed = self.sql().execute(
            "INSERT INTO record (id, parent, name, value, revision) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET parent = ?2, name = ?3, value = ?4, revision = ?5",
            params![row.id, row.parent, row.name, row.value, row.revision],
        );
        assert_eq!(changed.unwrap(), 1);
    }

    fn delete_row(&self, row: &Row) {
        let changed = self
            .sql()
            .execute("DELETE FROM record WHERE id = ?1", [&row.id]);
        assert_eq!(changed.unwrap(), 1);
    }

    fn reader(&self) -> Engine {
        let storage = self.place.try_open(Rollback::Refuse).unwrap();
        self.engine(Arc::new(ReadOnly(Arc::new(storage))))
    }

    fn problems(&self) -> usize {
        let report = pollster::block_on(self.reader().verify()).unwrap();
        report.problems.len()
    }

    /// Audit rows are found by their parent: the one with the most children.
    fn secret_rows(&self) -> Vec<Row> {
        let rows = self.rows();
        let audit = rows
            .iter()
            .max_by_key(|row| {
                rows.iter()
                    .filter(|other| other.parent == row.parent)
                    .count()
            })
            .map(|row| row.parent.clone())
            .unwrap();
        rows.into_iter().filter(|row| row.parent != audit).collect()
    }
}

#[test]
fn a_whole_store_has_no_problems() {
    let vault = Vault::filled(9, 3);
    let report = pollster::block_on(vault.reader().verify()).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!((report.secrets, report.versions), (9, 27));
    assert_eq!(report.audit_records, 27);
}

/// Each row in turn: a head, an earlier version, a folder.
#[test]
fn a_vanished_row_is_damage_and_never_just_missing() {
    let vault = Vault::filled(9, 3);
    let rows = vault.secret_rows();
    assert_eq!(rows.len(), 9 + 18 + 4);
    for row in &rows {
        vault.delete_row(row);
        let what = format!("without {:02x?}", row.id);
        assert!(
            vault.assert_truth_or_error(&vault.reader(), &what) > 0,
            "{what}"
        );
        assert!(vault.problems() > 0, "{what}");
        vault.put_row(row);
    }
    assert_eq!(vault.problems(), 0);
}

#[test]
fn exchanged_rows_do_not_open() {
    let vault = Vault::filled(9, 2);
    let rows = vault.secret_rows();
    for pair in rows.windows(2) {
        let (one, two) = (&pair[0], &pair[1]);
        let with = |place: &Row, content: &Row| Row {
            id: place.id.clone(),
            parent: content.parent.clone(),
            name: content.name.clone(),
            value: content.value.clone(),
            revision: content.revision,
        };
        vault.put_row(&with(one, two));
        vault.put_row(&with(two, one));
        let what = format!("{:02x?} and {:02x?} exchanged", one.id, two.id);
        assert!(
            vault.assert_truth_or_error(&vault.reader(), &what) > 0,
            "{what}"
        );
        assert!(vault.problems() > 0, "{what}");
        vault.put_row(one);
        vault.put_row(two);
    }
    assert_eq!(vault.problems(), 0);
}

#[test]
fn rows_of_another_store_do_not_open() {
    let (vault, other) = (Vault::filled(6, 2), Vault::filled(6, 2));
    for (row, foreign) in vault.secret_rows().iter().zip(other.secret_rows()) {
        vault.put_row(&Row {
            id: row.id.clone(),
            parent: row.parent.clone(),
            ..foreign
        });
        let what = "a row of another store";
        assert!(vault.assert_truth_or_error(&vault.reader(), what) > 0);
        assert!(vault.problems() > 0);
        vault.put_row(row);
    }
}

/// An older copy of a row opens, so that it takes the folder to notice it.
#[test]
fn an_older_copy_of_a_row_is_noticed_by_listing_and_by_verify() {
    let vault = Vault::filled(5, 2);
    let before = vault.secret_rows();
    let path = vault.secrets.keys().next().unwrap().clone();
    let storage = vault.place.try_open(Rollback::Refuse).unwrap();
    write(&vault.engine(Arc::new(storage)), &path, b"newer");
    let after = vault.secret_rows();
    let changed: Vec<&Row> = before
        .iter()
        .filter(|old| {
            after
                .iter()
                .any(|new| new.id == old.id && new.value != old.value)
        })
        .collect();
    // The head and its folder.
    assert_eq!(changed.len(), 2);
    assert_eq!(vault.problems(), 0);
    for old in changed {
        vault.put_row(old);
        let listed = pollster::block_on(vault.reader().list(&context(), path.folder()));
        assert!(matches!(listed, Err(Error::Damaged { .. })), "{listed:?}");
        assert!(vault.problems() > 0);
        let new = after.iter().find(|new| new.id == old.id).unwrap();
        vault.put_row(new);
    }
    assert_eq!(vault.problems(), 0);
}

/// A name that was used before had a version 1 too, sealed for the very same place.
#[test]
fn a_version_of_a_removed_secret_is_not_read_as_one_of_its_successor() {
    let vault = Vault::filled(1, 2);
    let path: SecretPath = vault.secrets.keys().next().unwrap().clone();
    let before = vault.secret_rows();
    let storage = vault.place.try_open(Rollback::Refuse).unwrap();
    let engine = vault.engine(Arc::new(storage));
    pollster::block_on(engine.remove(&context(), &path)).unwrap();
    write(&engine, &path, b"successor, version 1");
    write(&engine, &path, b"successor, version 2");
    drop(engine);
    let after = vault.secret_rows();
    for old in &before {
        let new = after.iter().find(|new| new.id == old.id).unwrap();
        vault.put_row(old);
        let found = read(&vault.reader(), &path, Some(1));
        let is_old = found
            .as_ref()
            .is_ok_and(|value| *value == vault.secrets[&path][0]);
        assert!(!is_old, "a version of the secret before");
        assert!(vault.problems() > 0);
        vault.put_row(new);
    }
    assert_eq!(vault.problems(), 0);
}

/// A row that nothing leads to is told by `verify`.
#[test]
fn a_row_that_belongs_nowhere_is_noticed() {
    let vault = Vault::filled(3, 1);
    let mut row = vault.secret_rows().remove(0);
    row.id = vec![9; 16];
    row.parent = vec![9; 16];
    vault.put_row(&row);
    assert_eq!(vault.problems(), 1);
}
