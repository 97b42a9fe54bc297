//! `corpus <dir>`: runs the readers over a folder of real files and compares with Node's `dotenv`.
//!
//! The folder holds `*/env/*` (`.env` files), YAML files anywhere, and optionally
//! `*/derived/local-backend-store` with its `.expected.json`. Node's module is taken from
//! `NODE_DOTENV`, else from `.peers/node/node_modules/dotenv`. One line per check; exit code 1
//! when one fails.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

use data_encoding::BASE64;
use strongroom_backends::dotenv::DotenvFile;
use strongroom_backends::dotenv::assignment;
use strongroom_backends::file::read_capped;
use strongroom_backends::import;
use strongroom_backends::import::Format;
use strongroom_backends::import::Import;
use strongroom_backends::import::ImportError;
use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::Source;
use strongroom_core::secret::SecretValue;

type AnyResult<T> = Result<T, Box<dyn Error>>;
/// Names and values, as the last assignment of each name gives them.
type Values = BTreeMap<String, Vec<u8>>;

fn main() -> ExitCode {
    let mut report = Report {
        out: Box::new(std::io::stdout().lock()),
        failures: 0,
    };
    let Some(folder) = std::env::args_os().nth(1) else {
        report.line("usage: corpus <dir>");
        return ExitCode::from(2);
    };
    if let Err(error) = run(Path::new(&folder), &mut report) {
        report.check("run", Err(error));
    }
    let failures = report.failures;
    report.line(&format!("{failures} failures"));
    ExitCode::from(u8::from(failures > 0))
}

struct Report {
    out: Box<dyn Write>,
    failures: usize,
}

impl Report {
    fn line(&mut self, text: &str) {
        // Nobody left to read: nothing to tell.
        drop(writeln!(self.out, "{text}"));
    }

    fn check(&mut self, what: &str, result: AnyResult<String>) {
        match result {
            Ok(detail) => self.line(&format!("ok    {what}: {detail}")),
            Err(error) => {
                self.failures += 1;
                self.line(&format!("FAIL  {what}: {error}"));
            }
        }
    }
}

fn run(folder: &Path, report: &mut Report) -> AnyResult<()> {
    let node = Node::find()?;
    let files = all_files(folder)?;
    let env_files: Vec<&PathBuf> = files
        .iter()
        .filter(|path| path.parent().is_some_and(|p| p.ends_with("env")))
        .collect();
    if env_files.is_empty() {
        return Err("no .env files found".into());
    }
    for path in env_files {
        report.check(&format!("{} detected", shown(folder, path)), as_env(path));
        let bytes = read_capped(path, 4 << 20)?;
        report.check(
            &format!("{} read", shown(folder, path)),
            same_as_node(&node, &bytes),
        );
        report.check(
            &format!("{} edited", shown(folder, path)),
            edits(&node, &bytes),
        );
    }
    report.check("made-up files", made_up_files(&node));
    report.check("made-up values", made_up_values(&node));
    report.check("made-up edits", made_up_edits(&node));
    for path in files
        .iter()
        .filter(|path| path.ends_with("local-backend-store.expected.json"))
    {
        report.check(&format!("{} opened", shown(folder, path)), fernet(path));
    }
    let is_yaml = |path: &&PathBuf| path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    for path in files.iter().filter(is_yaml) {
        report.check(&shown(folder, path), yaml(path));
    }
    let is_json = |path: &&PathBuf| path.extension().is_some_and(|e| e == "json");
    for path in files.iter().filter(is_json) {
        report.check(&format!("{} detected", shown(folder, path)), other(path));
    }
    Ok(())
}

fn all_files(folder: &Path) -> AnyResult<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(all_files(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn shown(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Node with its `dotenv` module.
struct Node {
    module: PathBuf,
}

impl Node {
    fn find() -> AnyResult<Self> {
        let module = std::env::var_os("NODE_DOTENV").map_or_else(
            || PathBuf::from(".peers/node/node_modules/dotenv"),
            PathBuf::from,
        );
        let module = fs::canonicalize(&module)
            .map_err(|_| format!("no dotenv module at {} (set NODE_DOTENV)", module.display()))?;
        let node = Self { module };
        let found = node
            .read(&[b"A=1".to_vec()])
            .map_err(|error| format!("node: {error}"))?;
        if found.len() == 1 {
            Ok(node)
        } else {
            Err("node answers wrongly".into())
        }
    }

    /// What Node reads from each of many files.
    fn read(&self, files: &[Vec<u8>]) -> AnyResult<Vec<Values>> {
        let script = "const dotenv = require(process.argv[1]);\
            const lines = require('fs').readFileSync(0, 'latin1').split('\\n').slice(0, -1);\
            const base64 = (text) => Buffer.from(text).toString('base64');\
            const parse = (line) => Object.entries(dotenv.parse(Buffer.from(line, 'base64')))\
                .map(([name, value]) => [name, base64(value)]);\
            process.stdout.write(JSON.stringify(lines.map(parse)));";
        let mut child = Command::new("node")
            .args(["-e", script])
            .arg(&self.module)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines: String = files
            .iter()
            .map(|file| BASE64.encode(file) + "\n")
            .collect();
        child
            .stdin
            .take()
            .ok_or("no stdin")?
            .write_all(lines.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err("node failed".into());
        }
        let parsed: Vec<Vec<(String, String)>> = serde_json::from_slice(&output.stdout)?;
        let decoded = parsed.into_iter().map(|pairs| {
            pairs
                .into_iter()
                .map(|(name, value)| Ok((name, BASE64.decode(value.as_bytes())?)))
                .collect()
        });
        decoded.collect()
    }

    fn read_one(&self, file: &[u8]) -> AnyResult<Values> {
        Ok(self.read(&[file.to_vec()])?.pop().unwrap_or_default())
    }
}

/// The bytes of test data, to be compared with what Node reads or what is expected.
fn bytes_of(value: &SecretValue) -> Vec<u8> {
    // EXPOSE: test data, for comparison in memory.
    value.expose_secret().to_vec()
}

fn values_of(file: &DotenvFile) -> Values {
    file.entries()
        .iter()
        .map(|entry| (entry.name.clone(), bytes_of(&entry.value)))
        .collect()
}

fn same_as_node(node: &Node, bytes: &[u8]) -> AnyResult<String> {
    let file = DotenvFile::parse(bytes)?;
    if file.to_bytes().as_slice() != bytes {
        return Err("the file's bytes changed".into());
    }
    if values_of(&file) != node.read_one(bytes)? {
        return Err("node reads other values".into());
    }
    let (values, twice) = (file.entries().len(), file.duplicates().len());
    Ok(format!(
        "{values} values, {twice} names twice, {} lines ignored",
        file.ignored_lines().len()
    ))
}

/// Sets every variable in turn, and a new one; only the touched lines may differ.
fn edits(node: &Node, bytes: &[u8]) -> AnyResult<String> {
    let original = DotenvFile::parse(bytes)?;
    let before = String::from_utf8(bytes.to_vec())?;
    let mut edited = Vec::new();
    let mut expected = Vec::new();
    let new = SecretValue::copy_from(b"new 'value' # with $signs");
    let names = values_of(&original)
        .into_keys()
        .chain(["BRAND_NEW".to_owned()]);
    for name in names {
        let mut file = DotenvFile::parse(bytes)?;
        file.set(&name, &new)?;
        let after = String::from_utf8(file.to_bytes().to_vec())?;
        if untouched_lines(&before, &after, &name) == 0 && before.lines().count() > 1 {
            return Err(format!("setting {name} touched other lines").into());
        }
        let mut values = values_of(&original);
        values.insert(name, bytes_of(&new));
        expected.push(values);
        edited.push(after.into_bytes());
    }
    if node.read(&edited)? != expected {
        return Err("node reads other values after an edit".into());
    }
    Ok(format!("{} edits", edited.len()))
}

/// How many lines are the same, or none when lines differ that do not assign `name`.
fn untouched_lines(before: &str, after: &str, name: &str) -> usize {
    let (before, after): (Vec<&str>, Vec<&str>) = (
        before.split_inclusive('\n').collect(),
        after.split_inclusive('\n').collect(),
    );
    let same = before
        .iter()
        .zip(&after)
        .take_while(|(b, a)| b == a)
        .count();
    let (before, after) = (
        before.get(same..).unwrap_or(&[]),
        after.get(same..).unwrap_or(&[]),
    );
    let tail = before
        .iter()
        .rev()
        .zip(after.iter().rev())
        .take_while(|(b, a)| b == a)
        .count();
    let touched = before.len().max(after.len()) - tail;
    let is_name = after.iter().take(touched).any(|line| line.contains(name));
    if touched <= 2 && is_name {
        same + tail
    } else {
        0
    }
}

/// Draws the same texts at every run.
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap_or(0) % below
    }

    fn text(&mut self, pieces: &[&str], most: usize) -> String {
        (0..self.next(most + 1))
            .map(|_| pieces.get(self.next(pieces.len())).unwrap_or(&""))
            .copied()
            .collect()
    }
}

const AWKWARD: [&str; 34] = [
    "'", "\"", "`", "#", "\\", "\\n", "\\r", "\n", "\r", "\r\n", " ", "\t", "$", "${A}", "=", ":",
    "a", "n", "B=", "C: ", "export ", "A='", "D=\"", "E=`", "\u{2028}", "\u{feff}", "\u{a0}",
    "\u{85}", "é", "\0", "\n\n", "\\'", "\\\"", "-.",
];

fn made_up_files(node: &Node) -> AnyResult<String> {
    let mut draw = Draw(1);
    let files: Vec<Vec<u8>> = (0..40_000)
        .map(|_| draw.text(&AWKWARD, 14).into_bytes())
        .collect();
    let read = node.read(&files)?;
    let (mut equal, mut refused) = (0, 0);
    for (bytes, values) in files.iter().zip(read) {
        match DotenvFile::parse(bytes) {
            Err(_) => refused += 1,
            Ok(file) if values_of(&file) == values => equal += 1,
            Ok(_) => {
                return Err(
                    format!("node reads {:?} otherwise", String::from_utf8_lossy(bytes)).into(),
                );
            }
        }
    }
    Ok(format!(
        "{equal} read as by node, {refused} refused for an unterminated quote"
    ))
}

fn made_up_values(node: &Node) -> AnyResult<String> {
    let mut draw = Draw(2);
    let texts: Vec<String> = (0..20_000).map(|_| draw.text(&AWKWARD, 9)).collect();
    let mut file = Vec::new();
    let (mut expected, mut singles) = (Values::new(), Vec::new());
    let (mut refused, mut several_lines) = (0, 0);
    for (number, text) in texts.iter().enumerate() {
        let name = format!("V{number}");
        let Ok(line) = assignment(&name, &SecretValue::copy_from(text.as_bytes())) else {
            refused += 1;
            continue;
        };
        several_lines += usize::from(line.contains(&b'\n'));
        file.extend_from_slice(&line);
        file.push(b'\n');
        singles.push(line.to_vec());
        expected.insert(name, text.clone().into_bytes());
    }
    if node.read_one(&file)? != expected {
        return Err("node reads other values from the lines put together".into());
    }
    for (line, values) in singles.iter().zip(node.read(&singles)?) {
        if values
            .iter()
            .any(|(name, value)| expected.get(name) != Some(value))
            || values.len() != 1
        {
            return Err(format!("node reads {:?} otherwise", String::from_utf8_lossy(line)).into());
        }
    }
    Ok(format!(
        "{} read back, {several_lines} of several lines, {refused} refused",
        expected.len()
    ))
}

fn made_up_edits(node: &Node) -> AnyResult<String> {
    let mut draw = Draw(3);
    let (mut files, mut expected, mut refused) = (Vec::new(), Vec::new(), 0);
    for number in 0..20_000 {
        let Ok(mut file) = DotenvFile::parse(draw.text(&AWKWARD, 12).as_bytes()) else {
            continue;
        };
        let mut values = values_of(&file);
        let existing = values.keys().next().filter(|_| number % 2 == 0).cloned();
        let name = existing.unwrap_or_else(|| "NEW".to_owned());
        let text = draw.text(&AWKWARD, 6);
        if file
            .set(&name, &SecretValue::copy_from(text.as_bytes()))
            .is_err()
        {
            refused += 1;
            continue;
        }
        values.insert(name, text.into_bytes());
        files.push(file.to_bytes().to_vec());
        expected.push(values);
    }
    for ((bytes, read), expected) in files.iter().zip(node.read(&files)?).zip(&expected) {
        if read != *expected {
            return Err(
                format!("node reads {:?} otherwise", String::from_utf8_lossy(bytes)).into(),
            );
        }
    }
    Ok(format!("{} read back, {refused} refused", files.len()))
}

fn fernet(expected_file: &Path) -> AnyResult<String> {
    let expected: serde_json::Value = serde_json::from_slice(&fs::read(expected_file)?)?;
    let folder = expected_file.with_file_name("local-backend-store");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let key = SecretValue::from_text(text(&expected["encryption_key"]));
    let import = import::from_fernet_folder(&folder, &key)?;
    let found: Values = import
        .imported
        .iter()
        .map(|one| (one.name.clone(), bytes_of(&one.value)))
        .collect();
    let files = expected["files"]
        .as_object()
        .ok_or("no 'files' in the expected values")?;
    let wanted: Values = files
        .values()
        .map(|file| {
            (
                text(&file["metadata"]["secret_name"]),
                text(&file["value"]).into_bytes(),
            )
        })
        .collect();
    if found != wanted {
        return Err("other names or values than expected".into());
    }
    match import::from_fernet_folder(&folder, &SecretValue::copy_from(b"wrong")) {
        Err(error) => Ok(format!("{} values; with a wrong key: {error}", found.len())),
        Ok(_) => Err("a wrong key opened the files".into()),
    }
}

fn yaml(path: &Path) -> AnyResult<String> {
    let bytes = read_capped(path, 4 << 20)?;
    let name = file_name(path);
    let is_called_registry = name.ends_with(".secrets.yaml");
    let detected = import::detect(&name, &bytes).ok_or("nothing tells what it is")?;
    let is_registry = detected.format == Format::SecretsYaml;
    if is_called_registry != is_registry {
        return Err(format!("taken for {} ({})", detected.format, detected.reason).into());
    }
    let is_sure = !detected.reason.starts_with("its name ends in");
    match detected.format.read(&bytes) {
        Ok(import) if is_registry => Ok(format!("registry: {}", registry(&import)?)),
        Ok(import) => Ok(format!("{}: {}", detected.format, counts(&import))),
        Err(ImportError::Template { line }) => Ok(format!("a template (line {line})")),
        // A registry with a stray line: refused with its place.
        Err(error @ ImportError::Yaml { .. }) if is_registry => Ok(format!("refused: {error}")),
        // Of a form that is not known: has to be refused for it.
        Err(error @ (ImportError::Form { .. } | ImportError::Yaml { .. })) if !is_sure => {
            Ok(format!("refused: {error}"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Every declaration has to be one that our own manifest takes.
fn registry(import: &Import) -> AnyResult<String> {
    let profiles = ["development", "staging", "production"];
    let tables = import.declared.iter().map(|one| one.toml(&profiles));
    let tables = tables.collect::<Vec<_>>().join("\n");
    let text = format!("[project]\nname = \"x\"\n{tables}");
    let source = Source {
        name: "strongroom.toml",
        text: &text,
    };
    let (manifest, _) =
        Manifest::parse(&[source]).map_err(|problems| format!("{problems:?}\n{text}"))?;
    let declared = manifest.declarations();
    if declared.is_empty() || declared.len() != import.declared.len() {
        return Err("declarations were lost".into());
    }
    let required = declared
        .iter()
        .filter(|one| one.is_required("production"))
        .count();
    let notes = tables.lines().filter(|line| line.starts_with("# ")).count();
    Ok(format!(
        "{} declared, {required} required, {notes} notes",
        declared.len()
    ))
}

/// Whatever it is, reading it as what it seems to be gives something or an error.
fn other(path: &Path) -> AnyResult<String> {
    let bytes = read_capped(path, 4 << 20)?;
    let Some(detected) = import::detect(&file_name(path), &bytes) else {
        return Ok("not known".to_owned());
    };
    Ok(match detected.format.read(&bytes) {
        Ok(import) => {
            let count = import.imported.len() + import.declared.len();
            format!("{}: {count} names", detected.format)
        }
        Err(error) => format!("{}: refused: {error}", detected.format),
    })
}

fn as_env(path: &Path) -> AnyResult<String> {
    let bytes = read_capped(path, 4 << 20)?;
    let detected = import::detect(&file_name(path), &bytes).ok_or("nothing tells what it is")?;
    if detected.format != Format::Dotenv {
        return Err(format!("taken for {} ({})", detected.format, detected.reason).into());
    }
    Ok(detected.reason.to_owned())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn counts(import: &Import) -> String {
    let mut names: Vec<&str> = import
        .imported
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    names.extend(import.referenced.iter().map(|one| one.name.as_str()));
    names.sort_unstable();
    names.dedup();
    let skipped: Vec<String> = import
        .skipped
        .iter()
        .map(|one| format!("{} {}", one.name, one.reason))
        .collect();
    format!(
        "{} values, {} references, {} skipped; names: {}; skipped: {}",
        import.imported.len(),
        import.referenced.len(),
        skipped.len(),
        names.join(" "),
        skipped.join(", ")
    )
}
