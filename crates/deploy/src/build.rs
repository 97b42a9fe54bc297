//! How the programs of a bundle are built: the commands that a manifest's `build` blocks come to.
//!
//! Nothing is run here. Sources lie below one folder, as `source_dir` says, and programs come to
//! lie below another, the bundle's, as `output_pattern` says.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use crate::json;
use crate::template;

/// What `type` may be.
pub const KINDS: [&str; 5] = ["go", "rust", "npm", "python", "custom"];

/// Longest place of a program, in bytes.
const OUTPUT_BYTES_MAX: usize = 1024;
/// Most bytes of all commands and variables together, once they are filled in.
const FILLED_BYTES_MAX: usize = 1 << 20;
/// The variable that names a target to cargo.
pub const CARGO_TARGET: &str = "CARGO_BUILD_TARGET";

/// Where a program comes to lie when the manifest does not say it.
const OUTPUT_DEFAULT: &str = "bin/{{platform}}/";

/// A system and a machine that programs are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// As bundle manifests call it.
    pub name: &'static str,
    /// Go's name of the system.
    pub goos: &'static str,
    /// Go's name of the machine.
    pub goarch: &'static str,
    /// What names of programs end in.
    pub ext: &'static str,
    /// Rust's name of both.
    pub triple: &'static str,
}

impl Platform {
    /// Those that bundles are made for.
    pub const ALL: [Self; 6] = [
        Self::of("linux-x64", "linux", "amd64", "x86_64-unknown-linux-gnu"),
        Self::of("linux-arm64", "linux", "arm64", "aarch64-unknown-linux-gnu"),
        Self::of("darwin-x64", "darwin", "amd64", "x86_64-apple-darwin"),
        Self::of("darwin-arm64", "darwin", "arm64", "aarch64-apple-darwin"),
        Self::of("win-x64", "windows", "amd64", "x86_64-pc-windows-gnu"),
        Self::of(
            "win-arm64",
            "windows",
            "arm64",
            "aarch64-pc-windows-gnullvm",
        ),
    ];

    const fn of(
        name: &'static str,
        goos: &'static str,
        goarch: &'static str,
        triple: &'static str,
    ) -> Self {
        let ext = match goos.as_bytes() {
            b"windows" => ".exe",
            _ => "",
        };
        Self {
            name,
            goos,
            goarch,
            ext,
            triple,
        }
    }

    /// By its name or one of its aliases.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let (system, machine) = name.split_once('-')?;
        let system = match system {
            "mac" | "macos" => "darwin",
            "win" => "windows",
            other => other,
        };
        let machine = match machine {
            "x64" | "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let mut all = Self::ALL.into_iter();
        all.find(|one| one.goos == system && one.goarch == machine)
    }
}

/// One program for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The service's name.
    pub service: String,
    /// For which platform.
    pub platform: Platform,
    /// What is run, the program first.
    pub command: Vec<String>,
    /// Variables that are set for it.
    pub env: BTreeMap<String, String>,
    /// Where it is run, below the sources.
    pub directory: String,
    /// Where the program lies afterwards, below the bundle.
    pub output: String,
    /// Where the command puts it, in its folder, when it is told no other place.
    pub made_at: Option<String>,
}

impl Step {
    /// The variables and the command as a shell would be given them.
    #[must_use]
    pub fn whole_line(&self) -> String {
        let set = self.env.iter();
        let set = set.map(|(name, value)| format!("{name}={} ", word(value)));
        format!("{}{}", set.collect::<String>(), self.line())
    }

    /// The command as a shell would be given it.
    #[must_use]
    pub fn line(&self) -> String {
        let words = self.command.iter().map(|text| word(text));
        words.collect::<Vec<String>>().join(" ")
    }

    /// Whether another step does the same: what knows nothing of platforms is built once for all.
    #[must_use]
    pub fn is_same_work(&self, other: &Self) -> bool {
        (&self.service, &self.command, &self.env) == (&other.service, &other.command, &other.env)
            && self.output == other.output
    }

    /// For answers.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "service": self.service,
            "platform": self.platform.name,
            "command": self.command,
            "env": self.env,
            "directory": self.directory,
            "output": self.output,
            "made_at": self.made_at,
        })
    }
}

/// One word of a shell.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => template::quoted(text),
    }
}

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// For which platforms.
    pub platforms: &'r [Platform],
    /// Of which services; none is all that have a `build`.
    pub services: &'r [String],
    /// The machine that builds, where it is known.
    pub host: Option<Platform>,
    /// The bundle's folder, as commands are told it.
    pub root: &'r str,
}

/// The commands, in the order of services and platforms.
///
/// # Errors
/// Everything that is in the way, with its place.
pub fn steps(manifest: &Value, request: Request<'_>) -> Result<Vec<Step>, Vec<String>> {
    let (mut steps, mut problems) = (Vec::new(), Vec::new());
    let mut left = FILLED_BYTES_MAX;
    let mut unknown: Vec<&String> = request.services.iter().collect();
    for (at, service) in json::items(manifest, "services").iter().enumerate() {
        let id = json::text(service, "id").unwrap_or_else(|| format!("services[{at}]"));
        let is_wanted = request.services.is_empty() || request.services.contains(&id);
        unknown.retain(|name| **name != id);
        if !is_wanted {
            continue;
        }
        let Some(build) = json::present(service, "build") else {
            if !request.services.is_empty() {
                problems.push(format!("$.services[{at}]: {id} has no 'build'"));
            }
            continue;
        };
        for platform in request.platforms {
            match step(&id, &build, *platform, &request, &mut left) {
                Ok(step) => steps.push(step),
                Err(problem) => problems.push(format!("$.services[{at}].build{problem}")),
            }
        }
    }
    problems.extend(
        unknown
            .into_iter()
            .map(|name| format!("$.services: no service is called {name}")),
    );
    if steps.is_empty() && problems.is_empty() {
        problems.push("$.services: none has a 'build', so there is nothing to build".to_owned());
    }
    problems.extend(same_place(&steps));
    problems.dedup();
    match problems.is_empty() {
        true => Ok(steps),
        false => Err(problems),
    }
}

/// Programs that would be written over each other.
fn same_place(steps: &[Step]) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in steps {
        let there = places.entry(&step.output).or_default();
        if !there.iter().any(|other| other.is_same_work(step)) {
            there.push(step);
        }
    }
    let crowded = places.into_iter().filter(|(_, there)| there.len() > 1);
    let told = crowded.map(|(output, there)| {
        let names = there.iter();
        let names = names.map(|step| format!("{} for {}", step.service, step.platform.name));
        format!(
            "{} would be written to {output}, one over the other; put {{{{platform}}}} into \
             'output_pattern'",
            names.collect::<Vec<String>>().join(", ")
        )
    });
    told.collect()
}

fn step(
    service: &str,
    build: &Value,
    platform: Platform,
    request: &Request<'_>,
    left: &mut usize,
) -> Result<Step, String> {
    let kind = json::text(build, "type").unwrap_or_default();
    let kind = KINDS.into_iter().find(|known| *known == kind);
    let kind = kind.ok_or_else(|| format!(".type: expected one of {}", KINDS.join(", ")))?;
    let directory = json::text(build, "source_dir").unwrap_or_else(|| ".".to_owned());
    let directory = below(&directory).ok_or(".source_dir: expected a folder below the sources")?;
    let fill = |text: &str| {
        text.replace("{{platform}}", platform.name)
            .replace("{{goos}}", platform.goos)
            .replace("{{goarch}}", platform.goarch)
            .replace("{{ext}}", platform.ext)
    };
    let pattern = json::text(build, "output_pattern");
    let pattern = pattern.unwrap_or_else(|| format!("{OUTPUT_DEFAULT}{service}{{{{ext}}}}"));
    let output = Some(pattern).filter(|pattern| pattern.len() <= OUTPUT_BYTES_MAX);
    let output = output.and_then(|pattern| below(&fill(&pattern)));
    let output = output.filter(|output| output != "." && output.len() <= OUTPUT_BYTES_MAX);
    let output = output.ok_or(".output_pattern: expected a file below the bundle's folder")?;
    let full = format!("{}/{output}", request.root.trim_end_matches('/'));
    let mut filled = |text: &str| {
        // No other placeholder is shorter than what it stands for.
        let bytes = text.len() + text.matches("{{output}}").count() * full.len();
        let rest = left.checked_sub(bytes);
        *left = rest.ok_or(": over 1 MiB in all commands together")?;
        Ok::<String, String>(fill(text).replace("{{output}}", &full))
    };
    let mut args = Vec::new();
    for arg in json::items(build, "args") {
        args.push(filled(arg.as_str().ok_or(".args: expected texts")?)?);
    }
    let mut env = BTreeMap::new();
    if let Some(written) = json::present(build, "env") {
        let fields = written.as_object().ok_or(".env: expected an object")?;
        for (name, value) in fields {
            let value = value.as_str();
            let value = value.ok_or_else(|| format!(".env.{name}: expected a text"))?;
            env.insert(name.clone(), filled(value)?);
        }
    }
    let entry = json::text(build, "entry_point");
    let parts = Parts {
        entry: entry.map(|entry| filled(&entry)).transpose()?,
        service,
        platform,
        host: request.host,
        output: &full,
        args,
    };
    let (mut command, mut made_at) = (Vec::new(), None);
    match kind {
        "go" => {
            for (name, value) in [("GOOS", platform.goos), ("GOARCH", platform.goarch)] {
                env.entry(name.to_owned())
                    .or_insert_with(|| value.to_owned());
            }
            command = parts.go();
        }
        "rust" => {
            let (built, place) = parts.rust(env.get(CARGO_TARGET))?;
            (command, made_at) = (built, Some(place));
        }
        "npm" => command = parts.npm(),
        "python" => command = parts.python()?,
        _ if parts.args.is_empty() => {
            return Err(".args: expected the command to run".to_owned());
        }
        _ => command.extend(parts.args),
    }
    Ok(Step {
        service: service.to_owned(),
        platform,
        command,
        env,
        directory,
        output,
        made_at,
    })
}

/// What a command is made from, with its placeholders filled.
struct Parts<'p> {
    service: &'p str,
    platform: Platform,
    host: Option<Platform>,
    /// The whole path of the program.
    output: &'p str,
    args: Vec<String>,
    entry: Option<String>,
}

impl Parts<'_> {
    /// Whether it is surely another machine's.
    fn is_foreign(&self) -> bool {
        self.host.is_some_and(|host| host != self.platform)
    }

    fn go(self) -> Vec<String> {
        let entry = self.entry.unwrap_or_else(|| ".".to_owned());
        joined(&["go", "build", "-o", self.output], self.args, &[&entry])
    }

    /// The command, and where it puts the program.
    fn rust(self, in_env: Option<&String>) -> Result<(Vec<String>, String), String> {
        let expected = ".entry_point: expected the name of the program to build";
        let name = self.entry.ok_or(expected)?;
        let mut args = self.args.iter();
        let in_args = args.position(|arg| arg == "--target" || arg.starts_with("--target="));
        let in_args = in_args.and_then(|at| {
            let same = self.args.get(at)?.strip_prefix("--target=");
            same.or_else(|| self.args.get(at + 1).map(String::as_str))
                .map(str::to_owned)
        });
        let chosen = in_args.or_else(|| in_env.cloned());
        let mut last = Vec::new();
        let triple = match &chosen {
            Some(triple) => Some(triple.as_str()),
            None if self.host != Some(self.platform) => {
                last = vec!["--target", self.platform.triple];
                Some(self.platform.triple)
            }
            None => None,
        };
        let place = triple.map_or(String::new(), |triple| format!("{triple}/"));
        let made_at = format!("target/{place}release/{name}{}", self.platform.ext);
        let first = [
            "cargo",
            "build",
            "--release",
            "--target-dir",
            "target",
            "--bin",
            &name,
        ];
        Ok((joined(&first, self.args, &last), made_at))
    }

    fn npm(self) -> Vec<String> {
        let script = self.entry.unwrap_or_else(|| "build".to_owned());
        match self.args.is_empty() {
            true => joined(&["npm", "run", &script], self.args, &[]),
            false => joined(&["npm", "run", &script, "--"], self.args, &[]),
        }
    }

    fn python(self) -> Result<Vec<String>, String> {
        if self.is_foreign() {
            return Err(format!(
                ".type: PyInstaller builds for the machine that it runs on; build {} for {} on one",
                self.service, self.platform.name
            ));
        }
        let expected = ".entry_point: expected the script to start with";
        let entry = self.entry.ok_or(expected)?;
        let (folder, file) = self.output.rsplit_once('/').unwrap_or((".", self.output));
        let name = file.strip_suffix(self.platform.ext).unwrap_or(file);
        let first = [
            "python3",
            "-m",
            "PyInstaller",
            "--onefile",
            "--distpath",
            folder,
            "--name",
            name,
        ];
        Ok(joined(&first, self.args, &[&entry]))
    }
}

fn joined(first: &[&str], args: Vec<String>, last: &[&str]) -> Vec<String> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let mut all: Vec<String> = texts(first);
    all.extend(args);
    all.extend::<Vec<String>>(texts(last));
    all
}

/// A relative path that does not lead out of its folder, with `/` between the parts.
fn below(path: &str) -> Option<String> {
    let path = path.replace('\\', "/");
    let is_inside = !path.starts_with('/')
        && !path.contains(['\0', '\n'])
        && path.split('/').all(|part| part != "..");
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts: Vec<&str> = parts.collect();
    match (is_inside, parts.is_empty()) {
        (false, _) => None,
        (true, true) => Some(".".to_owned()),
        (true, false) => Some(parts.join("/")),
    }
}

/// Says in a manifest where a program lies; what it said before, when that was another place.
pub fn note(manifest: &mut Value, step: &Step) -> Option<String> {
    let services = manifest.get_mut("services")?.as_array_mut()?;
    let mut services = services.iter_mut();
    let service = services.find(|one| json::text(one, "id").as_ref() == Some(&step.service))?;
    if !service["binaries"].is_object() {
        service["binaries"] = json!({});
    }
    let binaries = service["binaries"].as_object_mut()?;
    let mut names = binaries.keys();
    let known = names.find(|name| Platform::find(name) == Some(step.platform));
    let key = known.map_or(step.platform.name, String::as_str).to_owned();
    let binary = binaries.entry(key).or_insert_with(|| json!({}));
    let before = json::text(binary, "path").filter(|path| *path != step.output);
    if !binary.is_object() {
        *binary = json!({});
    }
    binary["path"] = json!(step.output);
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: Platform = Platform::ALL[0];
    const MAC: Platform = Platform::ALL[3];
    const WINDOWS: Platform = Platform::ALL[4];

    fn of(build: &Value, platforms: &[Platform]) -> Result<Vec<Step>, Vec<String>> {
        let manifest = json!({ "services": [
            { "id": "api", "binaries": {}, "build": build },
            { "id": "ui", "binaries": {} },
        ] });
        let request = Request {
            platforms,
            services: &[],
            host: Some(LINUX),
            root: "/out",
        };
        steps(&manifest, request)
    }

    fn one(build: &Value, platform: Platform) -> Step {
        of(build, &[platform]).unwrap().remove(0)
    }

    #[test]
    fn go_is_told_system_machine_and_place() {
        let build = json!({ "type": "go", "source_dir": "./api/", "entry_point": "./cmd/api",
            "output_pattern": "bin/{{platform}}/api{{ext}}", "args": ["-ldflags", "-s -w"],
            "env": { "CGO_ENABLED": "0" } });
        let step = one(&build, WINDOWS);
        let command = [
            "go",
            "build",
            "-o",
            "/out/bin/win-x64/api.exe",
            "-ldflags",
            "-s -w",
            "./cmd/api",
        ];
        assert_eq!(step.command, command);
        assert_eq!(step.directory, "api");
        assert_eq!(step.output, "bin/win-x64/api.exe");
        let env: Vec<(&str, &str)> = step
            .env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let expected = [
            ("CGO_ENABLED", "0"),
            ("GOARCH", "amd64"),
            ("GOOS", "windows"),
        ];
        assert_eq!(env, expected);
    }

    #[test]
    fn rust_is_told_a_target_for_other_machines() {
        let build = json!({ "type": "rust", "source_dir": "worker", "entry_point": "worker",
            "output_pattern": "target/release/worker{{ext}}" });
        let chosen = json!({ "type": "rust", "entry_point": "w", "args": ["--target=a-b-c"] });
        let chosen = one(&chosen, MAC);
        assert_eq!(chosen.made_at.as_deref(), Some("target/a-b-c/release/w"));
        assert!(!chosen.command.iter().any(|arg| arg == "--target"));
        let named = json!({ "type": "rust", "entry_point": "w",
            "env": { "CARGO_BUILD_TARGET": "a-b-c" } });
        let named = one(&named, LINUX);
        assert_eq!(named.made_at.as_deref(), Some("target/a-b-c/release/w"));
        let own = one(&build, LINUX);
        assert!(!own.command.iter().any(|arg| arg == "--target"));
        assert_eq!(own.made_at.as_deref(), Some("target/release/worker"));
        let other = one(&build, MAC);
        assert!(
            other
                .command
                .ends_with(&["--target".to_owned(), "aarch64-apple-darwin".into()])
        );
        let made = "target/aarch64-apple-darwin/release/worker";
        assert_eq!(other.made_at.as_deref(), Some(made));
    }

    #[test]
    fn custom_commands_have_their_placeholders_filled() {
        let build = json!({ "type": "custom", "source_dir": "tools",
            "output_pattern": "bin/{{platform}}/tool{{ext}}",
            "args": ["make", "GOOS={{goos}}", "GOARCH={{goarch}}", "OUTPUT={{output}}"],
            "env": { "TO": "{{output}}" } });
        let step = one(&build, WINDOWS);
        let out = "/out/bin/win-x64/tool.exe";
        assert_eq!(step.command[1..3], ["GOOS=windows", "GOARCH=amd64"]);
        assert_eq!(step.command[3], format!("OUTPUT={out}"));
        assert_eq!(step.env["TO"], out);
    }

    #[test]
    fn everything_in_the_way_is_told_with_its_place() {
        for (build, problem) in [
            (json!({ "type": "make" }), "build.type: expected one of go"),
            (
                json!({ "type": "go", "source_dir": "../x" }),
                "build.source_dir: expected a folder",
            ),
            (
                json!({ "type": "go", "output_pattern": "/etc/passwd" }),
                "build.output_pattern: expected a file",
            ),
            (
                json!({ "type": "rust" }),
                "build.entry_point: expected the name",
            ),
            (
                json!({ "type": "custom" }),
                "build.args: expected the command",
            ),
            (
                json!({ "type": "go", "env": { "A": 1 } }),
                "build.env.A: expected a text",
            ),
        ] {
            let problems = of(&build, &[LINUX]).unwrap_err();
            assert!(problems[0].contains(problem), "{problems:?}");
        }
        let python = json!({ "type": "python", "entry_point": "a.py" });
        let problems = of(&python, &[MAC]).unwrap_err();
        assert!(problems[0].contains("build api for darwin-arm64 on one"));
        let same = json!({ "type": "go", "output_pattern": "bin/api" });
        let problems = of(&same, &[LINUX, MAC, WINDOWS]).unwrap_err();
        let told = "api for linux-x64, api for darwin-arm64, api for win-x64 would be written to \
                    bin/api, one over the other; put {{platform}} into 'output_pattern'";
        assert_eq!(problems, [told]);
        let pages = json!({ "type": "npm", "output_pattern": "ui/dist" });
        let pages = of(&pages, &[LINUX, MAC]).unwrap();
        assert!(pages[0].is_same_work(&pages[1]));
        let manifest = json!({ "services": [{ "id": "ui" }] });
        let mut request = Request {
            platforms: &[LINUX],
            services: &[],
            host: None,
            root: ".",
        };
        let problems = steps(&manifest, request).unwrap_err();
        assert!(problems[0].contains("nothing to build"), "{problems:?}");
        let names = ["ui".to_owned(), "iu".to_owned()];
        request.services = &names;
        let problems = steps(&manifest, request).unwrap_err();
        assert_eq!(problems[0], "$.services[0]: ui has no 'build'");
        assert_eq!(problems[1], "$.services: no service is called iu");
    }

    #[test]
    fn a_short_manifest_makes_no_long_commands() {
        let many = "{{output}}".repeat(2_000);
        let long = json!({ "type": "custom", "args": [many],
            "output_pattern": format!("{}/a", "b".repeat(1_000)) });
        let problems = of(&long, &[LINUX]).unwrap_err();
        assert!(
            problems[0].contains("over 1 MiB in all commands"),
            "{problems:?}"
        );
        let deep = json!({ "type": "go", "output_pattern": "b".repeat(1_025) });
        let problems = of(&deep, &[LINUX]).unwrap_err();
        assert!(
            problems[0].contains("output_pattern: expected a file"),
            "{problems:?}"
        );
    }

    #[test]
    fn where_a_program_lies_is_noted_under_the_name_that_is_there() {
        let build = json!({ "type": "go", "output_pattern": "bin/{{platform}}/api{{ext}}" });
        let step = one(&build, WINDOWS);
        let mut manifest = json!({ "services": [{ "id": "api",
            "binaries": { "windows-x64": { "path": "api.exe", "args": ["-v"] } } }] });
        assert_eq!(note(&mut manifest, &step).as_deref(), Some("api.exe"));
        let binaries = &manifest["services"][0]["binaries"];
        let expected = json!({ "windows-x64": { "path": "bin/win-x64/api.exe", "args": ["-v"] } });
        assert_eq!(*binaries, expected);
        assert_eq!(note(&mut manifest, &step), None);
    }
}
