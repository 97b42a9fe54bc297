//! Which secret goes where: read from a file, or guessed.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::Mode;
use strongroom_core::placeholder::placeholder_reason;
use strongroom_engine::migrate::Wish;
use strongroom_engine::transfer;

use crate::app::App;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::error::Kind;
use crate::manifest_text::Candidate;
use crate::output;
use crate::output::Existing;
use crate::project::Project;
use crate::runtime::wait;
use crate::side::Naming;
use crate::side::Side;

/// Largest map file, in bytes.
const MAP_BYTES_MAX: u64 = 4 << 20;

/// What goes where, and what stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapping {
    wishes: Vec<Wish>,
    /// Names of the source that are not moved, and why.
    pub(crate) left: Vec<(String, String)>,
    /// Nobody wrote it down: it may be edited.
    pub(crate) is_guessed: bool,
}

impl Mapping {
    pub(crate) fn wishes(&self) -> Vec<Wish> {
        self.wishes.clone()
    }

    /// A mapping of given wishes.
    pub(crate) fn of(wishes: Vec<Wish>) -> Self {
        Self {
            wishes,
            ..Self::default()
        }
    }

    /// Reads a map file: TOML, `"target" = "source"`.
    pub(crate) fn read(file: &Path, source: &Side, target: &Side) -> Result<Self, CommandError> {
        let shown = file.display();
        let bytes = strongroom_backends::file::read_capped(file, MAP_BYTES_MAX);
        let bytes = bytes.map_err(|error| {
            let message = format!("{shown} cannot be read: {error}");
            CommandError::new(Kind::NotFound, "migrate.map", message)
        })?;
        let wrong = |message: String| {
            CommandError::new(Kind::Validation, "migrate.map", message)
                .hint("a map file has lines of: \"jwt/secret_key\" = \"JWT_SECRET_KEY\"")
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            wrong(format!(
                "{shown} is not UTF-8 (byte {})",
                error.valid_up_to()
            ))
        })?;
        // The parser's own text quotes the line, which may hold a value somebody mistook it for.
        let pairs: BTreeMap<String, String> = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            wrong(format!("{shown}:{line} is not understood"))
        })?;
        let wishes = pairs.iter().map(|(to, from)| {
            Ok(Wish {
                from: source.mapped(from)?,
                to: target.mapped(to)?,
            })
        });
        let wishes = wishes.collect::<Result<_, CommandError>>()?;
        Ok(Self::of(wishes))
    }

    /// Everything that the source lists; of variables only what is, or looks like, a secret.
    pub(crate) fn guess(
        app: &App,
        project: Option<&Project>,
        source: &Side,
        target: &Side,
        takes_all: bool,
    ) -> Result<Self, CommandError> {
        let backend = source.backend.as_ref();
        let mut addresses = wait(transfer::addresses(backend, &source.prefix))?;
        let mut left = Vec::new();
        if source.naming == Naming::Variables && !takes_all {
            (addresses, left) = secrets_of(app, project, source, addresses)?;
        }
        let wishes = addresses.into_iter().map(|from| {
            let names = source.names_of(project, &from);
            let to = target.address_of(&names)?;
            Ok(Wish { from, to })
        });
        Ok(Self {
            wishes: wishes.collect::<Result<_, CommandError>>()?,
            left,
            is_guessed: true,
        })
    }

    /// Writes the mapping to a new file.
    pub(crate) fn write(
        &self,
        app: &App,
        file: &Path,
        source: &Side,
        target: &Side,
    ) -> Result<(), CommandError> {
        let mut text = format!(
            "# Where secrets go: \"name in {}\" = \"name in {}\"\n",
            target.scheme(),
            source.scheme()
        );
        let quoted = |text: &str| toml_edit::Value::from(text).to_string();
        for wish in &self.wishes {
            text.push_str(&format!("{} = {}\n", quoted(&wish.to), quoted(&wish.from)));
        }
        for (name, why) in &self.left {
            text.push_str(&format!("# left: {name} ({why})\n"));
        }
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        output::write(
            file,
            text.as_bytes(),
            mode,
            Existing::Keep(output::CHOOSE_ANOTHER),
        )?;
        let count = plural(self.wishes.len(), "secret");
        app.ui.say(&format!(
            "wrote the mapping of {count} to {}",
            file.display()
        ));
        if app.ui.is_json {
            return app.ui.print_json(&serde_json::json!({
                "version": 1,
                "map": file,
                "secrets": self.wishes.len(),
                "left": self.left.iter().map(|(name, why)| {
                    serde_json::json!({"name": name, "remark": why})
                }).collect::<Vec<_>>(),
            }));
        }
        Ok(())
    }
}

type Names = Vec<String>;
type Left = Vec<(String, String)>;

/// The variables that are secrets, and those that are not.
fn secrets_of(
    app: &App,
    project: Option<&Project>,
    source: &Side,
    addresses: Vec<String>,
) -> Result<(Names, Left), CommandError> {
    let _ = app;
    let items = wait(source.backend.read_many(&addresses));
    let mut secrets = Vec::new();
    let mut left = Vec::new();
    let takes_guesses = source.scheme() != "env";
    for (name, item) in addresses.into_iter().zip(items) {
        let declared = project.and_then(|project| project.manifest.declaration(&name));
        let Some(item) = item? else {
            // `NAME=`: told as not set where it is declared.
            match declared.is_some_and(|declared| declared.is_sensitive) {
                true => secrets.push(name),
                false => left.push((name, "empty".to_owned())),
            }
            continue;
        };
        let is_secret = match declared {
            Some(declared) => declared.is_sensitive,
            None => takes_guesses && Candidate::guess(&name, &item.payload.value).is_sensitive,
        };
        // EXPOSE: compared with known placeholders; only the reason is kept.
        let text = item.payload.value.expose_secret_text().unwrap_or_default();
        let project_name = project.map(|project| project.manifest.project.as_str());
        match placeholder_reason(&name, text, project_name) {
            _ if !is_secret => left.push((name, "a plain setting".to_owned())),
            Some(why) => left.push((name, format!("a placeholder: {why}"))),
            None => secrets.push(name),
        }
    }
    Ok((secrets, left))
}
