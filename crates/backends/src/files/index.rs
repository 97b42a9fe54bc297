//! What lies in a secret folder.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use strongroom_core::port::Lookup;

use super::FOLDER_DEPTH_MAX;
use super::SECRET_FILES_MAX;
use crate::file::ReadFileError;
use crate::names;

/// The files of a folder, by their paths inside of it.
pub(super) struct Index {
    pub(super) root: PathBuf,
    /// Sorted. Folders that are links leading out are here too, so that asking for what is in
    /// them is refused and not "not found".
    pub(super) names: Vec<String>,
}

pub(super) enum IndexError {
    Read { name: String, error: ReadFileError },
    TooMany,
}

impl Index {
    pub(super) fn read(folder: &Path) -> Result<Self, IndexError> {
        let root = match fs::canonicalize(folder) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    root: folder.to_owned(),
                    names: Vec::new(),
                });
            }
            Err(error) => return Err(IndexError::read(folder.display().to_string(), &error)),
        };
        let mut index = Self {
            root,
            names: Vec::new(),
        };
        let mut seen = HashSet::from([index.root.clone()]);
        let mut pending = vec![(folder.to_owned(), String::new(), 1)];
        let mut count = 0;
        while let Some((path, prefix, depth)) = pending.pop() {
            let shown = || path.display().to_string();
            let entries = fs::read_dir(&path).map_err(|error| IndexError::read(shown(), &error))?;
            for entry in entries {
                let entry = entry.map_err(|error| IndexError::read(shown(), &error))?;
                count += 1;
                if count > SECRET_FILES_MAX {
                    return Err(IndexError::TooMany);
                }
                let file_name = entry.file_name();
                let Some(own) = file_name.to_str().filter(|own| !own.starts_with('.')) else {
                    continue;
                };
                let name = format!("{prefix}{own}");
                // A link to nothing and a link out are found out when they are asked for.
                let target = fs::canonicalize(entry.path()).ok();
                let is_inside = target
                    .as_ref()
                    .is_some_and(|path| path.starts_with(&index.root));
                let is_folder = target.as_ref().is_some_and(|path| path.is_dir());
                match target {
                    Some(target) if is_inside && is_folder => {
                        if depth < FOLDER_DEPTH_MAX && seen.insert(target) {
                            pending.push((entry.path(), format!("{name}/"), depth + 1));
                        }
                    }
                    _ => index.names.push(name),
                }
            }
        }
        index.names.sort_unstable();
        Ok(index)
    }

    /// The file that fits best, or the two that fit equally well.
    pub(super) fn find(&self, lookup: &Lookup) -> Result<Option<&str>, (String, String)> {
        for wanted in [&lookup.name, &lookup.path] {
            if let Some(name) = self.names.iter().find(|name| *name == wanted) {
                return Ok(Some(name));
            }
        }
        for wanted in [names::fold(&lookup.name), names::fold(&lookup.path)] {
            let mut fitting = self.names.iter().filter(|name| names::fold(name) == wanted);
            match (fitting.next(), fitting.next()) {
                (Some(name), None) => return Ok(Some(name)),
                (Some(one), Some(other)) => return Err((one.clone(), other.clone())),
                (None, _) => {}
            }
        }
        Ok(self.way_out(&lookup.path))
    }

    /// The file at exactly this path.
    pub(super) fn at(&self, address: &str) -> Option<&str> {
        match self
            .names
            .binary_search_by(|name| name.as_str().cmp(address))
        {
            Ok(place) => self.names.get(place).map(String::as_str),
            Err(_) => self.way_out(address),
        }
    }

    /// A folder on the way to `path` that is a link leading out.
    fn way_out(&self, path: &str) -> Option<&str> {
        self.names.iter().map(String::as_str).find(|name| {
            path.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('/'))
                && fs::canonicalize(self.root.join(name)).is_ok_and(|path| path.is_dir())
        })
    }
}

impl IndexError {
    fn read(name: String, error: &io::Error) -> Self {
        Self::Read {
            name,
            error: ReadFileError::new(error),
        }
    }
}
