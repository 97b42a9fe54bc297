//! Random operations against a model that is obviously right.

use std::collections::BTreeMap;

use proptest::prelude::*;
use strongroom_engine::Error;
use strongroom_engine::secrets::Versions;

use crate::support::World;
use crate::support::some;

const PATHS: [&str; 7] = ["a", "b", "a/b", "a/b/c", "a/c", "d/e/f", "d/e/g"];
const KEPT: usize = 10;

#[derive(Clone, Debug)]
enum Op {
    Write {
        path: usize,
        value: u8,
        force: bool,
        cas: Option<u64>,
    },
    Rollback {
        path: usize,
        version: u64,
    },
    Delete {
        path: usize,
        version: Option<u64>,
    },
    Undelete {
        path: usize,
    },
    Destroy {
        path: usize,
        version: Option<u64>,
    },
    Remove {
        path: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
    Copy {
        from: usize,
        to: usize,
    },
    Read {
        path: usize,
        version: Option<u64>,
    },
    List {
        folder: usize,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let path = || 0..PATHS.len();
    let version = || proptest::option::of(0..5_u64);
    let op = prop_oneof![
        6 => (path(), 0..4_u8, any::<bool>(), proptest::option::weighted(0.2, 0..3_u64))
            .prop_map(|(path, value, force, cas)| Op::Write { path, value, force, cas }),
        1 => (path(), 0..4_u64).prop_map(|(path, version)| Op::Rollback { path, version }),
        2 => (path(), version()).prop_map(|(path, version)| Op::Delete { path, version }),
        1 => path().prop_map(|path| Op::Undelete { path }),
        1 => (path(), version()).prop_map(|(path, version)| Op::Destroy { path, version }),
        2 => path().prop_map(|path| Op::Remove { path }),
        2 => (path(), path()).prop_map(|(from, to)| Op::Rename { from, to }),
        2 => (path(), path()).prop_map(|(from, to)| Op::Copy { from, to }),
        3 => (path(), version()).prop_map(|(path, version)| Op::Read { path, version }),
        1 => path().prop_map(|folder| Op::List { folder }),
    ];
    proptest::collection::vec(op, 1..60)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    Deleted,
    Destroyed,
}

#[derive(Clone, Debug)]
struct Version {
    number: u64,
    value: String,
    state: State,
}

/// Paths and their versions, oldest first.
#[derive(Default)]
struct Model(BTreeMap<&'static str, Vec<Version>>);

type Outcome = Result<String, &'static str>;

impl Model {
    fn apply(&mut self, op: &Op) -> Outcome {
        match *op {
            Op::Write {
                path,
                value,
                force,
                cas,
            } => self.write(PATHS[path], &format!("value {value}"), force, cas),
            Op::Rollback { path, version } => {
                let value = self.read(PATHS[path], Some(version))?;
                self.write(PATHS[path], &value, true, None)
            }
            Op::Delete { path, version } => {
                self.set_state(PATHS[path], version, State::Deleted, |old| {
                    old == State::Live
                })
            }
            Op::Undelete { path } => {
                let versions = self.0.get_mut(PATHS[path]).ok_or("secret.not_found")?;
                for version in versions {
                    if version.state == State::Deleted {
                        version.state = State::Live;
                    }
                }
                Ok(String::new())
            }
            Op::Destroy { path, version } => {
                self.set_state(PATHS[path], version, State::Destroyed, |_| true)
            }
            Op::Remove { path } => {
                self.0.remove(PATHS[path]).ok_or("secret.not_found")?;
                Ok(String::new())
            }
            Op::Rename { from, to } | Op::Copy { from, to } => {
                if from == to {
                    return Err("request.invalid");
                }
                let versions = self.0.get(PATHS[from]).ok_or("secret.not_found")?.clone();
                if self.0.contains_key(PATHS[to]) {
                    return Err("secret.exists");
                }
                self.0.insert(PATHS[to], versions);
                if matches!(op, Op::Rename { .. }) {
                    self.0.remove(PATHS[from]);
                }
                Ok(String::new())
            }
            Op::Read { path, version } => self.read(PATHS[path], version),
            Op::List { folder } => Ok(self.list(PATHS[folder]).join(" ")),
        }
    }

    fn write(&mut self, path: &'static str, value: &str, force: bool, cas: Option<u64>) -> Outcome {
        let versions = self.0.get(path);
        let newest = versions.and_then(|versions| versions.last());
        let number = newest.map_or(0, |version| version.number);
        if cas.is_some_and(|cas| cas != number) {
            return Err("secret.version_mismatch");
        }
        let is_current =
            newest.is_some_and(|newest| newest.state == State::Live && newest.value == value);
        if is_current && !force {
            return Ok(number.to_string());
        }
        let versions = self.0.entry(path).or_default();
        versions.push(Version {
            number: number + 1,
            value: value.into(),
            state: State::Live,
        });
        if versions.len() > KEPT {
            versions.remove(0);
        }
        Ok((number + 1).to_string())
    }

    fn read(&self, path: &str, version: Option<u64>) -> Outcome {
        let versions = self.0.get(path).ok_or("secret.not_found")?;
        let found = match version {
            None => versions.last(),
            Some(number) => versions.iter().find(|version| version.number == number),
        };
        let found = found.ok_or("secret.not_found")?;
        match found.state {
            State::Live => Ok(found.value.clone()),
            _ => Err("secret.gone"),
        }
    }

    fn set_state(
        &mut self,
        path: &str,
        chosen: Option<u64>,
        state: State,
        is_right: fn(State) -> bool,
    ) -> Outcome {
        let versions = self.0.get_mut(path).ok_or("secret.not_found")?;
        let newest = versions.last().map(|version| version.number);
        for version in versions {
            let is_chosen = Some(version.number) == chosen.or(newest);
            if is_chosen && is_right(version.state) {
                version.state = state;
            }
        }
        Ok(String::new())
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        let mut names: Vec<(String, bool)> = self
            .0
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(|rest| match rest.split_once('/') {
                Some((name, _)) => (format!("{prefix}{name}"), true),
                None => (format!("{prefix}{rest}"), false),
            })
            .collect();
        names.sort();
        names.dedup();
        let shown = |(name, is_folder): (String, bool)| match is_folder {
            true => format!("{name}/"),
            false => name,
        };
        names.into_iter().map(shown).collect()
    }
}

fn run(world: &World, op: &Op) -> Outcome {
    let chosen = |version: Option<u64>| match version {
        None => Versions::Newest,
        Some(number) => some([number]),
    };
    let done = |result: Result<(), Error>| result.map(|()| String::new());
    let result = match *op {
        Op::Write {
            path,
            value,
            force,
            cas,
        } => world
            .try_set(PATHS[path], &format!("value {value}"), |options| {
                options.force = force;
                options.cas = cas;
            })
            .map(|written| written.version.to_string()),
        Op::Rollback { path, version } => world
            .rollback(PATHS[path], version)
            .map(|written| written.version.to_string()),
        Op::Delete { path, version } => done(world.delete(PATHS[path], &chosen(version)).map(drop)),
        Op::Undelete { path } => done(world.undelete(PATHS[path], &Versions::All).map(drop)),
        Op::Destroy { path, version } => {
            done(world.destroy(PATHS[path], &chosen(version)).map(drop))
        }
        Op::Remove { path } => done(world.remove(PATHS[path])),
        Op::Rename { from, to } => done(world.rename(PATHS[from], PATHS[to])),
        Op::Copy { from, to } => done(world.copy(PATHS[from], PATHS[to])),
        Op::Read { path, version } => world.get_version(PATHS[path], version),
        Op::List { folder } => Ok(world.list(PATHS[folder]).join(" ")),
    };
    result.map_err(|error| error.code())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 120,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_operations_do_what_the_model_does(ops in ops()) {
        let world = World::new();
        let mut model = Model::default();
        for op in &ops {
            prop_assert_eq!(run(&world, op), model.apply(op), "{:?}", op);
        }
        let expected: Vec<&str> = model.0.keys().copied().collect();
        prop_assert_eq!(world.list_recursive(""), expected);
        for (path, versions) in &model.0 {
            for version in versions {
                let read = world.get_version(path, Some(version.number));
                let read = read.map_err(|error| error.code());
                prop_assert_eq!(read, model.read(path, Some(version.number)));
            }
        }
        world.assert_sound();
    }
}
