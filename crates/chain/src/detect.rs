//! Which backends are asked: what was set, else what the environment points to.

use strongroom_core::port::Variables;

use crate::entry::Entry;
use crate::entry::known_schemes;
use crate::error::ChainError;
use crate::remote;

/// Overrides every other setting of a chain: entries separated by commas.
const VARIABLE: &str = "STRONGROOM_CHAIN";
/// The chain entry of the server that stands in the store's place.
pub const SERVER: &str = "server";
/// Variables that name an AWS region.
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// Why it is the store in a strict profile.
const FOR_WANT_OF_ANYTHING: &str = "the default: neither AWS_REGION nor VAULT_ADDR is set; set \
                                    one, or write a chain into the profile";

/// The entries of a chain, and why they are these.
#[derive(Clone, Debug)]
pub struct Chain {
    /// As they are written.
    pub entries: Vec<String>,
    /// Where the chain is from.
    pub why: String,
    /// What the environment points to and is not asked, and why not.
    pub not_taken: Vec<(String, String)>,
    /// Somebody wrote it down; otherwise it was found.
    pub is_explicit: bool,
    /// It is the store for want of anything else, in a profile where that is hardly meant.
    is_doubtful: bool,
}

impl Chain {
    /// The chain of a profile: the environment's, the manifest's, or one that is detected. Must be
    /// called inside a tokio runtime where [`Self::asks_network`].
    pub async fn of(variables: &Variables, written: Option<Vec<String>>, is_strict: bool) -> Self {
        let explicit = |entries: Vec<String>, why: &str| {
            let not_taken = not_named(variables, &entries);
            Self {
                entries,
                why: why.to_owned(),
                not_taken,
                is_explicit: true,
                is_doubtful: false,
            }
        };
        if let Some(entries) = of_variable(variables) {
            return explicit(entries, VARIABLE);
        }
        match written {
            Some(chain) => explicit(chain, "the manifest"),
            None => Self::detected(variables, is_strict).await,
        }
    }

    /// True when looking for the chain asks the network whether credentials resolve.
    #[must_use]
    pub fn asks_network(variables: &Variables, is_written: bool) -> bool {
        let is_named = is_written || variables.text(VARIABLE).is_some();
        !is_named && variables.first(&REGIONS).is_some() && known_schemes().contains(&"aws")
    }

    /// AWS where a region is set and credentials resolve, Vault where its address is set, else
    /// the store.
    async fn detected(variables: &Variables, is_strict: bool) -> Self {
        let mut not_taken = Vec::new();
        let mut pass = |name: &str, why: String| not_taken.push((name.to_owned(), why));
        let mut taken: Option<(String, String)> = None;
        if let Some((variable, region)) = variables.first(&REGIONS) {
            match remote::aws_credentials(region, variables).await {
                Some(Ok(source)) => {
                    let why = format!("{variable} is set and credentials resolve: {source}");
                    taken = Some((format!("aws:{region}"), why));
                }
                Some(Err(why)) => pass("aws", format!("{variable} is set, but {why}")),
                None => pass(
                    "aws",
                    format!("{variable} is set, but this program was built without aws"),
                ),
            }
        }
        if let Some(variable) = vault_address(variables) {
            let is_built = known_schemes().contains(&"vault");
            match (&taken, is_built) {
                (None, true) => {
                    taken = Some(("vault:".to_owned(), format!("{variable} is set")));
                }
                (Some((first, _)), true) => {
                    pass(
                        "vault",
                        format!("{variable} is set, but {first} comes first"),
                    );
                }
                (_, false) => pass(
                    "vault",
                    format!("{variable} is set, but this program was built without vault"),
                ),
            }
        }
        let is_doubtful = is_strict && taken.is_none() && not_taken.is_empty();
        let (first, why) = taken.unwrap_or_else(|| {
            let why = match is_doubtful {
                true => FOR_WANT_OF_ANYTHING,
                false => "the default",
            };
            ("store".to_owned(), why.to_owned())
        });
        Self {
            entries: vec![first, "env".to_owned()],
            why,
            not_taken,
            is_explicit: false,
            is_doubtful,
        }
    }

    /// The same with a server in the store's place.
    #[must_use]
    pub fn on_server(mut self) -> Self {
        for entry in &mut self.entries {
            let (scheme, options) = match entry.split_once('?') {
                Some((scheme, options)) => (scheme.to_owned(), format!("?{options}")),
                None => (entry.clone(), String::new()),
            };
            if scheme == "store" {
                *entry = format!("{SERVER}{options}");
                self.is_doubtful = false;
            }
        }
        self
    }

    /// The entries, parsed.
    ///
    /// # Errors
    /// When one of them makes no sense.
    pub fn parsed(&self) -> Result<Vec<Entry>, ChainError> {
        let entries = self.entries.iter();
        entries.map(|entry| Entry::parse(entry)).collect()
    }

    /// True when the environment points to something beside the default, or should.
    #[must_use]
    pub fn is_remarkable(&self) -> bool {
        self.is_doubtful
            || !self.not_taken.is_empty()
            || self.entries.first().is_some_and(|entry| entry != "store")
    }

    /// `aws:us-east-1 → env (AWS_REGION is set and AWS credentials resolve)`
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{} ({})", self.entries.join(" → "), self.why);
        for (name, why) in &self.not_taken {
            line.push_str(&format!("; not {name}: {why}"));
        }
        line
    }
}

/// The entries that a variable sets; they hold without a manifest, too.
#[must_use]
pub fn of_variable(variables: &Variables) -> Option<Vec<String>> {
    let entries = variables.text(VARIABLE)?.split(',').map(str::trim);
    let entries = entries.filter(|entry| !entry.is_empty());
    Some(entries.map(str::to_owned).collect())
}

/// The variable that Vault's address was found in.
fn vault_address(variables: &Variables) -> Option<&'static str> {
    variables
        .first(&["VAULT_ADDR", "BAO_ADDR"])
        .map(|(variable, _)| variable)
}

/// What the environment points to, and a chain that was written down does not name.
fn not_named(variables: &Variables, entries: &[String]) -> Vec<(String, String)> {
    let names = |scheme: &str| {
        let mut schemes = entries
            .iter()
            .filter_map(|entry| entry.split([':', '?']).next());
        schemes.any(|known| known == scheme)
    };
    let aws = variables.first(&REGIONS).map(|(variable, _)| variable);
    let pointers = [("aws", aws), ("vault", vault_address(variables))];
    let pointed = pointers
        .into_iter()
        .filter_map(|(scheme, variable)| Some((scheme, variable?)));
    pointed
        .filter(|(scheme, _)| !names(scheme))
        .map(|(scheme, variable)| {
            let why = format!("{variable} is set, but the chain does not name it");
            (scheme.to_owned(), why)
        })
        .collect()
}
