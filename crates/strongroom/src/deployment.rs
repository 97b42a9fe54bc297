//! What the commands of shipping share: where an application's secrets are declared, and the
//! deployment file.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use strongroom_backends::file::read_capped;
use strongroom_backends::import::Format;
use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::Source;
use strongroom_deploy::bundle::Bundle;
use strongroom_deploy::deployment::Deployment;
use strongroom_deploy::deployment::FILE_NAME;
use strongroom_deploy::deployment::Profile;
use strongroom_deploy::deployment::ScoreOverride;
use strongroom_deploy::deployment::SourceFile;
use strongroom_deploy::json::JSON_BYTES_MAX;
use strongroom_deploy::json::ReadError;
use strongroom_deploy::need;
use strongroom_deploy::need::Need;
use strongroom_deploy::plan;
use strongroom_deploy::plan::Override;
use strongroom_deploy::plan::Plan;
use strongroom_deploy::registry;
use strongroom_deploy::service;
use strongroom_deploy::service::Dependencies;
use strongroom_deploy::service::Report;
use strongroom_deploy::strategy::Strategy;
use strongroom_deploy::swap;
use strongroom_deploy::tier::Tier;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;

/// Where secrets are declared.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SourceArgs {
    /// Application's name; default: that of the manifest, bundle or registry
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Bundle manifest that declares the secrets, in place of strongroom.toml
    #[arg(long, value_name = "FILE", conflicts_with = "registry")]
    bundle: Option<PathBuf>,
    /// Registry that declares the secrets: secrets.yaml, or rows in JSON
    #[arg(long, value_name = "FILE")]
    registry: Option<PathBuf>,
    /// The application's service.json: only secrets of the resources that it leans on
    #[arg(long, value_name = "FILE")]
    service: Option<PathBuf>,
    /// An analyzer's deployment report, which names resources where service.json names none
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Only secrets of this resource; may be repeated
    #[arg(long = "resource", value_name = "NAME")]
    resources: Vec<String>,
    /// Reckon with another service in one's place, e.g. postgres=sqlite; may be repeated
    #[arg(long = "swap", value_name = "FROM=TO")]
    swaps: Vec<String>,
    /// Deployment file with profiles and overrides; default: strongroom.deploy.toml, if there
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
}

/// An application as it is shipped.
pub(crate) struct Shipment {
    pub(crate) scenario: String,
    /// What was named: a profile of the deployment file, or the scenario.
    pub(crate) profile: String,
    pub(crate) tier: Tier,
    pub(crate) needs: Vec<Need>,
    pub(crate) swaps: BTreeMap<String, String>,
    pub(crate) services: Vec<String>,
    pub(crate) overrides: Vec<Override>,
    pub(crate) scores: Vec<ScoreOverride>,
    pub(crate) resources: Vec<String>,
    /// What service.json and an analyzer's report say, where they were named.
    pub(crate) dependencies: Option<Dependencies>,
    /// The bundle manifest, where that is what declares the secrets.
    pub(crate) bundle: Option<Bundle>,
    pub(crate) made_at: strongroom_core::time::Timestamp,
}

impl Shipment {
    pub(crate) fn plan(&self, include_optional: bool) -> Plan {
        plan::plan(&plan::Request {
            scenario: &self.scenario,
            tier: self.tier,
            needs: &self.needs,
            swaps: &self.swaps,
            overrides: &self.overrides,
            resources: &self.resources,
            include_optional,
            now: self.made_at,
        })
    }

    /// Whether the application uses a service.
    pub(crate) fn leans_on(&self, service: &str) -> bool {
        let mut needs = self.needs.iter();
        needs.any(|need| need.resource.as_deref() == Some(service))
            || self.services.iter().any(|own| own == service)
    }

    /// The secrets that are shipped in some way.
    pub(crate) fn shipped_keys(&self) -> Vec<String> {
        let plan = self.plan(true);
        let items = plan.items.into_iter();
        items
            .filter(|(_, decision)| decision.strategy != Some(Strategy::Strip))
            .map(|(need, _)| need.key)
            .collect()
    }
}

impl SourceArgs {
    /// Only a deployment file, the usual one or another.
    pub(crate) fn of_deployment(deployment: Option<PathBuf>) -> Self {
        Self {
            deployment,
            ..Self::default()
        }
    }

    /// Whether they say where secrets are declared.
    pub(crate) fn names_declarations(&self) -> bool {
        self.bundle.is_some() || self.registry.is_some() || self.service.is_some()
    }
}

/// The profiles of the deployment file; there must be one.
pub(crate) fn read_profiles(args: &SourceArgs) -> Result<BTreeMap<String, Profile>, CommandError> {
    let (file, _) = read_deployment(args)?;
    if file.profiles.is_empty() {
        let message =
            format!("there is no deployment profile: {FILE_NAME} has none, or is not here");
        return Err(
            CommandError::new(Kind::NotFound, "deployment.no_profile", message)
                .hint("docs/guides/ship.md shows what may stand in it"),
        );
    }
    Ok(file.profiles)
}

/// What a declaration file holds.
struct Declared {
    name: Option<String>,
    needs: Vec<Need>,
    swaps: BTreeMap<String, String>,
    bundle: Option<Bundle>,
}

/// Reads everything that a command of shipping needs. `profile` names one of the deployment
/// file, or a tier; `tier` counts before what the profile says.
pub(crate) fn load(
    app: &App,
    args: &SourceArgs,
    profile: Option<&str>,
    tier: Option<Tier>,
) -> Result<Shipment, CommandError> {
    let (file, folder) = read_deployment(args)?;
    let profile = profile.or_else(|| of_scenario(args, &file));
    let (own, named_tier) = match profile {
        None => (None, None),
        Some(name) => match file.profiles.get(name) {
            Some(own) => (Some(own.clone()), None),
            None => (None, Some(tier_named(name, &file)?)),
        },
    };
    let own = own.unwrap_or_default();
    let declared = declared(app, args, &own, &folder)?;
    let mut swaps = declared.swaps;
    swaps.extend(own.swaps.clone());
    for word in &args.swaps {
        let (from, to) = word.split_once('=').ok_or_else(|| {
            CommandError::usage("--swap is given as FROM=TO, e.g. postgres=sqlite")
        })?;
        swap::find(from, to).map_err(|error| swap_error(&error))?;
        swaps.insert(from.to_owned(), to.to_owned());
    }
    let scenario = args
        .scenario
        .clone()
        .or(own.scenario)
        .or(declared.name)
        .unwrap_or_else(|| "application".to_owned());
    let dependencies = dependencies(args)?;
    known_resources(&args.resources, &declared.needs)?;
    let mut resources = args.resources.clone();
    let mut services = own.services;
    if let Some(dependencies) = &dependencies {
        let chosen = dependencies.chosen();
        services.extend(chosen.iter().cloned());
        if resources.is_empty() {
            resources = chosen;
        }
    }
    let tier = tier
        .or(named_tier)
        .or_else(|| own.tiers.first().copied())
        .unwrap_or(Tier::Desktop);
    Ok(Shipment {
        profile: profile.map_or_else(|| scenario.clone(), str::to_owned),
        scenario,
        tier,
        needs: declared.needs,
        swaps,
        services,
        overrides: file.overrides,
        scores: file.scores,
        resources,
        dependencies,
        bundle: declared.bundle,
        made_at: app.now(),
    })
}

/// The one profile of an application that is named by its name alone.
fn of_scenario<'f>(args: &SourceArgs, file: &'f Deployment) -> Option<&'f str> {
    let scenario = args
        .scenario
        .as_ref()
        .filter(|_| !args.names_declarations())?;
    let mut profiles = file.profiles.iter();
    let is_its = |own: &Profile| own.scenario.as_ref() == Some(scenario) && own.source.is_some();
    let (name, _) = profiles.find(|(_, own)| is_its(own))?;
    profiles
        .all(|(_, own)| !is_its(own))
        .then_some(name.as_str())
}

/// Refuses what is typed wrong: a plan without the secrets of a service would be a good one.
fn known_resources(named: &[String], needs: &[Need]) -> Result<(), CommandError> {
    let known: BTreeSet<&str> = needs
        .iter()
        .filter_map(|need| need.resource.as_deref())
        .collect();
    let unknown = named.iter().find(|name| !known.contains(name.as_str()));
    let Some(name) = unknown else {
        return Ok(());
    };
    let message = format!("no declared secret belongs to resource {name}");
    let error = CommandError::new(Kind::NotFound, "plan.no_resource", message);
    let known: Vec<&str> = known.into_iter().collect();
    Err(match known.is_empty() {
        true => error,
        false => error.hint(format!("there are: {}", known.join(", "))),
    })
}

/// What the files say that the application leans on.
fn dependencies(args: &SourceArgs) -> Result<Option<Dependencies>, CommandError> {
    let wrong =
        |path: &Path, error: &ReadError| unreadable(path, "service.unreadable", &error.to_string());
    let declared = match &args.service {
        None => None,
        Some(path) => {
            let read = service::read(&read_bytes(path)?);
            Some(read.map_err(|error| wrong(path, &error))?)
        }
    };
    let Some(path) = &args.report else {
        return Ok(declared);
    };
    let report = Report::read(&read_bytes(path)?).map_err(|error| wrong(path, &error))?;
    Ok(Some(report.added_to(declared.unwrap_or_default())))
}

fn tier_named(name: &str, file: &Deployment) -> Result<Tier, CommandError> {
    name.parse::<Tier>().map_err(|_| {
        let shown: String = name.chars().take(40).collect();
        let message = format!("there is no deployment profile '{shown}', and no such tier");
        let known: Vec<&str> = file.profiles.keys().map(String::as_str).collect();
        let error = CommandError::new(Kind::NotFound, "deployment.no_profile", message);
        match known.is_empty() {
            true => error.hint(format!("profiles are written in {FILE_NAME}")),
            false => error.hint(format!("there are: {}", known.join(", "))),
        }
    })
}

/// The deployment file and the folder it lies in.
fn read_deployment(args: &SourceArgs) -> Result<(Deployment, PathBuf), CommandError> {
    let path = match &args.deployment {
        Some(path) => path.clone(),
        None => PathBuf::from(FILE_NAME),
    };
    if args.deployment.is_none() && !path.is_file() {
        return Ok((Deployment::default(), PathBuf::new()));
    }
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok((read_file(&path)?, folder))
}

/// A deployment file that must be there.
pub(crate) fn read_file(path: &Path) -> Result<Deployment, CommandError> {
    Deployment::read(&read_text(path)?).map_err(|error| {
        let message = format!("{}: {error}", path.display());
        CommandError::new(Kind::Validation, "deployment.invalid", message)
            .hint("docs/guides/ship.md shows what may stand in it")
    })
}

fn declared(
    app: &App,
    args: &SourceArgs,
    own: &Profile,
    folder: &Path,
) -> Result<Declared, CommandError> {
    if let Some(path) = &args.bundle {
        return of_bundle(path);
    }
    if let Some(path) = &args.registry {
        return of_registry(path);
    }
    match &own.source {
        Some(SourceFile::Bundle(path)) => of_bundle(&folder.join(path)),
        Some(SourceFile::Registry(path)) => of_registry(&folder.join(path)),
        Some(SourceFile::Manifest(path)) => of_manifest(project::load_at(app, &folder.join(path))?),
        None => of_manifest(project::load(app).map_err(|error| match error.code {
            "manifest.missing" => {
                error.hint("--bundle and --registry name other files that declare secrets")
            }
            _ => error,
        })?),
    }
}

fn of_manifest(project: project::Project) -> Result<Declared, CommandError> {
    let needs = need::of_manifest(&project.manifest, &project.profile.name);
    Ok(Declared {
        needs: needs.map_err(|problems| tiers_error(&project.path, &problems))?,
        name: Some(project.manifest.project),
        swaps: BTreeMap::new(),
        bundle: None,
    })
}

fn tiers_error(path: &Path, problems: &[String]) -> CommandError {
    let message = format!("{}: {}", path.display(), problems.join("\n  "));
    CommandError::new(Kind::Validation, "manifest.invalid", message)
}

/// Reads a bundle manifest.
pub(crate) fn read_bundle(path: &Path) -> Result<Bundle, CommandError> {
    let bytes = read_bytes(path)?;
    Bundle::read(&bytes).map_err(|error| unreadable(path, "bundle.unreadable", &error.to_string()))
}

fn of_bundle(path: &Path) -> Result<Declared, CommandError> {
    let bundle = read_bundle(path)?;
    // What holds no secrets because it is something else is not ready to be shipped.
    let marks = ["schema_version", "app", "services", "secrets"];
    if !marks.iter().any(|mark| bundle.raw().get(mark).is_some()) {
        let detail = format!("no bundle manifest: it has none of {}", marks.join(", "));
        return Err(unreadable(path, "bundle.unreadable", &detail));
    }
    let needs = bundle.needs();
    let needs = needs.map_err(|error| unreadable(path, "bundle.unreadable", &error.to_string()))?;
    Ok(Declared {
        name: bundle.app(),
        needs,
        swaps: bundle.swaps(),
        bundle: Some(bundle),
    })
}

fn of_registry(path: &Path) -> Result<Declared, CommandError> {
    let bytes = read_bytes(path)?;
    let wrong = |message: String| unreadable(path, "registry.unreadable", &message);
    let is_json = bytes
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| matches!(byte, b'{' | b'['));
    if is_json {
        let needs = registry::read(&bytes).map_err(|error| wrong(error.to_string()))?;
        return Ok(Declared {
            name: None,
            needs,
            swaps: BTreeMap::new(),
            bundle: None,
        });
    }
    let import = Format::SecretsYaml.read(&bytes);
    let import = import.map_err(|error| wrong(error.to_string()))?;
    let mut text = String::from("[project]\nname = \"registry\"\n");
    for one in &import.declared {
        text.push_str(&one.toml(&[]));
    }
    let source = Source {
        name: "registry",
        text: &text,
    };
    let (manifest, _) = Manifest::parse(&[source]).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        wrong(problems.join("; "))
    })?;
    let needs = need::of_manifest(&manifest, &manifest.default_profile);
    let needs = needs.map_err(|problems| wrong(problems.join("; ")))?;
    Ok(Declared {
        name: needs.iter().find_map(|need| need.resource.clone()),
        needs,
        swaps: BTreeMap::new(),
        bundle: None,
    })
}

fn unreadable(path: &Path, code: &'static str, message: &str) -> CommandError {
    let message = format!("{}: {message}", path.display());
    CommandError::new(Kind::Validation, code, message)
}

/// Reads a file of declarations.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, CommandError> {
    let bytes = read_capped(path, JSON_BYTES_MAX as u64).map_err(|error| {
        let message = format!("{} cannot be read: {error}", path.display());
        CommandError::new(Kind::NotFound, "file.unreadable", message)
    })?;
    Ok(bytes.to_vec())
}

pub(crate) fn read_text(path: &Path) -> Result<String, CommandError> {
    String::from_utf8(read_bytes(path)?).map_err(|_| {
        let message = format!("{} is not UTF-8", path.display());
        CommandError::new(Kind::Validation, "deployment.invalid", message)
    })
}

pub(crate) fn swap_error(error: &swap::SwapError) -> CommandError {
    let failed = CommandError::new(Kind::NotFound, error.code(), error.to_string());
    match error {
        swap::SwapError::NotFound { from, known, .. } if !known.is_empty() => failed.hint(format!(
            "in the place of {from} there may be: {}",
            known.join(", ")
        )),
        _ => failed.hint("strongroom swaps list names all"),
    }
}
