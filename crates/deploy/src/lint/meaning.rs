//! What a schema cannot say: references, places, generators that cannot fit, prompts that ask
//! nothing.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;
use strongroom_core::format::LintKind;
use strongroom_core::format::Pattern;
use strongroom_core::generate::GeneratorSpec;
use strongroom_core::generate::Proof;

use super::Finding;
use super::Severity;
use super::shape::join;
use crate::json;
use crate::plan::generator_problem;
use crate::resource;
use crate::swap;
use crate::tier::Tier;

/// Fewest bits of a generated value that is needed.
const BITS_MIN: f64 = 128.0;

pub(super) fn check(manifest: &Value) -> Vec<Finding> {
    let mut check = Check::default();
    check.ipc(manifest);
    check.secrets(manifest);
    check.services(manifest);
    let telemetry = manifest.get("telemetry");
    if let Some(file) = telemetry.and_then(|telemetry| json::text(telemetry, "file")) {
        check.place("$.telemetry.file", &file);
    }
    check.findings
}

#[derive(Default)]
struct Check {
    findings: Vec<Finding>,
}

impl Check {
    fn error(&mut self, code: &'static str, path: &str, message: &str, fix: &str) {
        self.add(Severity::Error, code, path, message, fix);
    }

    fn warning(&mut self, code: &'static str, path: &str, message: &str, fix: &str) {
        self.add(Severity::Warning, code, path, message, fix);
    }

    fn add(&mut self, severity: Severity, code: &'static str, path: &str, what: &str, fix: &str) {
        self.findings.push(Finding {
            severity,
            code,
            path: path.to_owned(),
            message: what.to_owned(),
            fix: fix.to_owned(),
        });
    }

    fn ipc(&mut self, manifest: &Value) {
        let Some(ipc) = manifest.get("ipc") else {
            return;
        };
        if let Some(host) = json::text(ipc, "host") {
            let is_loopback = host == "localhost"
                || host
                    .parse::<IpAddr>()
                    .is_ok_and(|address| address.is_loopback());
            if !is_loopback {
                let message = "others on the network could reach the control API";
                self.error("bundle.ipc_host", "$.ipc.host", message, "write 127.0.0.1");
            }
        }
        self.port("$.ipc.port", ipc.get("port"));
        if let Some(token) = json::text(ipc, "auth_token_path") {
            self.place("$.ipc.auth_token_path", &token);
        }
        let ports = manifest.get("ports");
        self.range(
            "$.ports.default_range",
            ports.and_then(|p| p.get("default_range")),
        );
        for (at, port) in ports
            .map_or(&[][..], |p| json::items(p, "reserved"))
            .iter()
            .enumerate()
        {
            self.port(&format!("$.ports.reserved[{at}]"), Some(port));
        }
    }

    fn port(&mut self, path: &str, port: Option<&Value>) {
        let Some(number) = port.and_then(Value::as_f64) else {
            return;
        };
        if !(1.0..=65_535.0).contains(&number) {
            let message = "there is no such port";
            self.error(
                "bundle.port",
                path,
                message,
                "write a number from 1 to 65535",
            );
        }
    }

    fn range(&mut self, path: &str, range: Option<&Value>) {
        let Some(range) = range else { return };
        let (min, max) = (range.get("min"), range.get("max"));
        self.port(&join(path, "min"), min);
        self.port(&join(path, "max"), max);
        let ends = (min.and_then(Value::as_f64), max.and_then(Value::as_f64));
        if let (Some(min), Some(max)) = ends
            && min > max
        {
            let message = "the range ends before it begins";
            self.error("bundle.port_range", path, message, "exchange min and max");
        }
    }

    /// A place below the application's folder, on every system.
    fn place(&mut self, path: &str, text: &str) {
        let has_drive = text.chars().nth(1) == Some(':');
        let is_absolute = text.starts_with(['/', '\\', '~']) || has_drive;
        let climbs = text.split(['/', '\\']).any(|part| part == "..");
        if is_absolute || climbs {
            let message = "the path leads out of the application's folder";
            let fix = "write a path below it, without '..'";
            self.error("bundle.path", path, message, fix);
        }
    }

    fn secrets(&mut self, manifest: &Value) {
        let swaps: BTreeSet<String> = json::items(manifest, "swaps")
            .iter()
            .filter_map(|swap| json::text(swap, "original"))
            .collect();
        let mut ids: BTreeSet<String> = BTreeSet::new();
        let mut targets: BTreeSet<(String, String)> = BTreeSet::new();
        let used: BTreeSet<String> = json::items(manifest, "services")
            .iter()
            .flat_map(|service| json::items(service, "secrets"))
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect();
        for (at, secret) in json::items(manifest, "secrets").iter().enumerate() {
            let path = format!("$.secrets[{at}]");
            let id = json::text(secret, "id").unwrap_or_default();
            if !id.is_empty() && !ids.insert(id.clone()) {
                let message = "another secret has this id";
                self.error(
                    "bundle.duplicate_secret",
                    &join(&path, "id"),
                    message,
                    "rename one",
                );
            }
            if !id.is_empty() && !used.contains(&id) {
                let message = "no service gets this secret";
                let fix = "name it under 'secrets' of a service, or take it out";
                self.error("bundle.unused_secret", &path, message, fix);
            }
            if let Some(target) = secret.get("target") {
                self.target(&join(&path, "target"), target, &mut targets);
            }
            self.class(&path, secret, &id, &swaps);
            self.format(&path, secret);
        }
    }

    fn target(&mut self, path: &str, target: &Value, seen: &mut BTreeSet<(String, String)>) {
        let kind = json::text(target, "type").unwrap_or_default();
        let Some(name) = json::text(target, "name") else {
            return;
        };
        let path = join(path, "name");
        if kind == "file" {
            self.place(&path, &name);
        } else if name.contains(['=', '\0']) {
            let message = "no environment variable can have this name";
            self.error(
                "bundle.variable",
                &path,
                message,
                "write letters, digits and '_'",
            );
        }
        if !seen.insert((kind, name)) {
            let message = "another secret is given in the same place";
            self.error(
                "bundle.duplicate_target",
                &path,
                message,
                "give each its own",
            );
        }
    }

    fn class(&mut self, path: &str, secret: &Value, id: &str, swaps: &BTreeSet<String>) {
        let has = |key: &str| secret.get(key).is_some_and(|value| !value.is_null());
        match json::text(secret, "class").as_deref() {
            Some("infrastructure") => {
                let target = secret.get("target");
                let name = target.and_then(|target| json::text(target, "name"));
                let service = name.as_deref().and_then(resource::of_name);
                let service = service.or_else(|| resource::of_name(id));
                let swap = service.and_then(|service| swap::best(service, Tier::Desktop));
                let fix = match swap {
                    Some(swap) if swaps.contains(&swap.from) => {
                        format!("{} is swapped out: take the secret out", swap.from)
                    }
                    Some(swap) => {
                        format!("apply the swap {} -> {}", swap.from, swap.to)
                    }
                    None => "make the application do without it, and take it out".to_owned(),
                };
                let message = "an infrastructure secret never leaves the server";
                self.error("bundle.infrastructure", &join(path, "class"), message, &fix);
            }
            Some("per_install_generated") if !has("generator") => {
                let message = "nothing says how the value is drawn";
                let fix = "add generator: {\"type\": \"random\", \"length\": 32}";
                self.error("bundle.generator_missing", path, message, fix);
            }
            Some("per_install_generated") => self.generator(path, secret),
            Some("user_prompt") => {
                let prompt = secret.get("prompt").unwrap_or(&Value::Null);
                if json::text(prompt, "label").is_none() {
                    let message = "nothing says what the user is asked for";
                    let fix = "add prompt: {\"label\": \"…\", \"description\": \"…\"}";
                    self.error("bundle.prompt_label", path, message, fix);
                } else if json::text(prompt, "description").is_none() {
                    let message = "nothing says how the user gets a value";
                    let path = join(path, "prompt");
                    self.warning("bundle.prompt_description", &path, message, "describe it");
                }
            }
            Some("remote_fetch") if !has("vault") => {
                let message = "nothing says where the value is fetched";
                let fix = "add vault: {\"type\": …, \"path\": …, \"key\": …}";
                self.error("bundle.no_source", path, message, fix);
            }
            _ => {}
        }
    }

    fn generator(&mut self, path: &str, secret: &Value) {
        let place = join(path, "generator");
        let Some(generator) = secret.get("generator") else {
            return;
        };
        if generator.get("length").is_some_and(Value::is_string) {
            let message = "the length is text, which other supervisors take for 32";
            let place = join(&place, "length");
            self.error("bundle.generator_length", &place, message, "write a number");
        }
        if let Some(problem) = generator_problem(generator) {
            let fix = "see the generators that there are: random, uuid, hex, base64, password, …";
            self.error("bundle.generator_invalid", &place, &problem, fix);
            return;
        }
        let Ok(spec) = serde_json::from_value::<GeneratorSpec>(generator.clone()) else {
            return;
        };
        let is_needed = json::flag(secret, "required").unwrap_or(true);
        if is_needed && spec.entropy_bits() < BITS_MIN {
            let message = format!(
                "a drawn value has {:.0} bits, fewer than {BITS_MIN:.0}",
                spec.entropy_bits()
            );
            let fix = match spec {
                GeneratorSpec::Uuid => "draw a text instead: \"random\" with a length of 32",
                _ => "make it longer",
            };
            self.error("bundle.generator_weak", &place, &message, fix);
        }
        let format = json::text(secret, "format");
        let Some(pattern) = format.and_then(|format| Pattern::parse(&format).ok()) else {
            return;
        };
        match spec.proves(Some(&pattern), None) {
            Proof::Never { reason } => {
                let fix = "change the generator or the format";
                self.error("bundle.generator_format", &place, &reason, fix);
            }
            Proof::Sometimes { reason } => {
                let fix = "other supervisors do not draw again: change one of them";
                self.warning("bundle.generator_format", &place, &reason, fix);
            }
            _ => {}
        }
    }

    fn format(&mut self, path: &str, secret: &Value) {
        let Some(format) = json::text(secret, "format") else {
            return;
        };
        let path = join(path, "format");
        match Pattern::parse(&format) {
            Err(error) => {
                let fix = "write it without look-around and backreferences";
                self.error("bundle.format", &path, &error.to_string(), fix);
            }
            Ok(pattern) => {
                for lint in pattern.lint() {
                    let fix = match lint.kind {
                        LintKind::UnanchoredStart => "begin it with ^",
                        LintKind::UnanchoredEnd => "end it with $",
                        _ => "put the hyphen last",
                    };
                    self.warning("bundle.format_lint", &path, &lint.message, fix);
                }
            }
        }
    }

    fn services(&mut self, manifest: &Value) {
        let services = json::items(manifest, "services");
        let secrets: BTreeSet<String> = json::items(manifest, "secrets")
            .iter()
            .filter_map(|secret| json::text(secret, "id"))
            .collect();
        let ids: Vec<String> = services
            .iter()
            .map(|service| json::text(service, "id").unwrap_or_default())
            .collect();
        for (at, service) in services.iter().enumerate() {
            let path = format!("$.services[{at}]");
            if ids
                .iter()
                .take(at)
                .any(|id| !id.is_empty() && *id == ids[at])
            {
                let path = join(&path, "id");
                self.error(
                    "bundle.duplicate_service",
                    &path,
                    "another service has this id",
                    "rename one",
                );
            }
            for (at, id) in json::items(service, "secrets").iter().enumerate() {
                let Some(id) = id.as_str() else { continue };
                if !secrets.contains(id) {
                    let path = format!("{path}.secrets[{at}]");
                    let message = "no secret has this id";
                    self.error(
                        "bundle.unknown_secret",
                        &path,
                        message,
                        "declare it under 'secrets'",
                    );
                }
            }
            for (at, id) in json::items(service, "dependencies").iter().enumerate() {
                let Some(id) = id.as_str() else { continue };
                if !ids.iter().any(|known| known == id) {
                    let path = format!("{path}.dependencies[{at}]");
                    let message = "no service has this id";
                    self.warning(
                        "bundle.unknown_service",
                        &path,
                        message,
                        "name one that is there",
                    );
                }
            }
            self.places(&path, service);
            self.ports(&path, service);
        }
        self.circles(services, &ids);
    }

    fn places(&mut self, path: &str, service: &Value) {
        let binaries = service.get("binaries").and_then(Value::as_object);
        for (platform, binary) in binaries.into_iter().flatten() {
            if let Some(text) = json::text(binary, "path") {
                let path = join(&join(&join(path, "binaries"), platform), "path");
                self.place(&path, &text);
            }
        }
        for (at, folder) in json::items(service, "data_dirs").iter().enumerate() {
            if let Some(folder) = folder.as_str() {
                self.place(&format!("{path}.data_dirs[{at}]"), folder);
            }
        }
        if let Some(folder) = json::text(service, "log_dir") {
            self.place(&join(path, "log_dir"), &folder);
        }
        for (at, asset) in json::items(service, "assets").iter().enumerate() {
            let path = format!("{path}.assets[{at}]");
            if let Some(text) = json::text(asset, "path") {
                self.place(&join(&path, "path"), &text);
            }
            let sum = json::text(asset, "sha256");
            let is_sum =
                |sum: &String| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
            if !sum.as_ref().is_some_and(is_sum) {
                let message = "without its SHA-256 nobody notices that the file was exchanged";
                let fix = "strongroom bundle assemble fills it in";
                self.error("bundle.asset_sha256", &path, message, fix);
            }
        }
    }

    fn ports(&mut self, path: &str, service: &Value) {
        let requested = service
            .get("ports")
            .map_or(&[][..], |ports| json::items(ports, "requested"));
        let mut names = BTreeSet::new();
        for (at, request) in requested.iter().enumerate() {
            let path = format!("{path}.ports.requested[{at}]");
            self.range(&join(&path, "range"), request.get("range"));
            names.extend(json::text(request, "name"));
        }
        for key in ["health", "readiness"] {
            let Some(check) = service.get(key) else {
                continue;
            };
            let kind = json::text(check, "type").unwrap_or_default();
            let needs_port = matches!(kind.as_str(), "http" | "tcp" | "port_open");
            let path = join(path, key);
            match json::text(check, "port_name") {
                Some(name) if !names.contains(&name) => {
                    let severity = match needs_port {
                        true => Severity::Error,
                        false => Severity::Warning,
                    };
                    let path = join(&path, "port_name");
                    let message = "the service requests no port of this name";
                    let fix = "request it, or name another";
                    self.add(severity, "bundle.port_name", &path, message, fix);
                }
                None if needs_port => {
                    let message = format!("{kind} needs a port_name");
                    self.error("bundle.port_name", &path, &message, "name a requested port");
                }
                _ => {}
            }
        }
    }

    /// Services that wait for each other would never start.
    fn circles(&mut self, services: &[Value], ids: &[String]) {
        let waits: BTreeMap<&str, Vec<&str>> = ids
            .iter()
            .zip(services)
            .map(|(id, service)| {
                let on = json::items(service, "dependencies").iter();
                (id.as_str(), on.filter_map(Value::as_str).collect())
            })
            .collect();
        for (at, id) in ids.iter().enumerate() {
            let mut seen = BTreeSet::new();
            let mut next = waits.get(id.as_str()).cloned().unwrap_or_default();
            while let Some(other) = next.pop() {
                if other == id {
                    let path = format!("$.services[{at}].dependencies");
                    let message = "the service waits for itself in the end";
                    self.error("bundle.dependency_circle", &path, message, "take one out");
                    break;
                }
                if seen.insert(other) {
                    next.extend(waits.get(other).into_iter().flatten());
                }
            }
        }
    }
}
