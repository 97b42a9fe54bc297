//! Unseal shares made and put together of bytes that memcheck takes for unknown: no branch and no
//! address may depend on them.

use std::fs;
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::Command;
use std::process::Stdio;

use strongroom_core::port::Rng;
use strongroom_crypto::shamir;

use crate::note::note;
use crate::report;
use crate::rig::AnyResult;

/// Turns unknown what is read from standard input.
const SHIM: &str = include_str!("poison.c");
const SECRET_BYTES: usize = 32;
/// Shares and threshold of each pass.
const PASSES: &[(u8, u8)] = &[(2, 2), (5, 3), (10, 10), (255, 20)];

/// Runs the passes and the controls under valgrind, and prints the figures.
pub(crate) fn run() -> AnyResult<bool> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("poison.c");
    let shim = folder.path().join("poison.so");
    fs::write(&source, SHIM)?;
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([&shim, &source])
        .arg("-ldl")
        .status()?;
    if !built.success() {
        return Err("the shim does not compile: apt-get install gcc valgrind".into());
    }
    let shim = shim.display().to_string();
    report::heading(&["what", "figure", "goal", "reached"]);
    let mut is_good = true;
    for (shares, threshold) in PASSES {
        let seen = under_valgrind(&shim, &["poisoned", "shares"], *shares, *threshold)?;
        let what = format!("{shares} shares, {threshold} of them put together: errors");
        let is_so = seen.errors == 0 && seen.is_right;
        let figure = match seen.is_right {
            true => seen.errors.to_string(),
            false => format!("{}, and another secret", seen.errors),
        };
        report::row(&[&what, &figure, "0", report::verdict(is_so)]);
        is_good &= is_so;
    }
    for (control, what) in [
        ("branch", "control: a branch on a secret byte"),
        ("table", "control: a table looked up by a secret byte"),
    ] {
        let seen = under_valgrind(&shim, &["poisoned", control], 2, 2)?;
        let is_so = seen.errors > 0;
        let figure = seen.errors.to_string();
        report::row(&[what, &figure, "some", report::verdict(is_so)]);
        is_good &= is_so;
    }
    Ok(is_good)
}

struct Seen {
    errors: u64,
    /// Whether what came out is what went in.
    is_right: bool,
}

fn under_valgrind(shim: &str, words: &[&str], shares: u8, threshold: u8) -> AnyResult<Seen> {
    let secret: Vec<u8> = (0..SECRET_BYTES as u8).map(|at| at ^ 0xa5).collect();
    // The rest is for the polynomials.
    let mut input = secret.clone();
    input.extend((0..SECRET_BYTES * usize::from(threshold)).map(|at| (at * 7 % 251) as u8));
    let mut child = Command::new("valgrind")
        .args(["--tool=memcheck", "--leak-check=no"])
        .arg(std::env::current_exe()?)
        .args(words)
        .args([shares.to_string(), threshold.to_string()])
        .env("LD_PRELOAD", shim)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("valgrind: {error} (apt-get install valgrind)"))?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(&input)?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let summary = said
        .lines()
        .rev()
        .find_map(|line| line.split_once("ERROR SUMMARY: "))
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    let errors = summary.ok_or_else(|| format!("valgrind says no summary: {said}"))?;
    if words.contains(&"shares") && errors > 0 {
        note(&said);
    }
    Ok(Seen {
        errors,
        is_right: output.stdout == secret,
    })
}

/// The program under valgrind: `poisoned shares|branch|table SHARES THRESHOLD < bytes`.
pub(crate) fn poisoned(args: &[String]) -> AnyResult<()> {
    let [what, shares, threshold] = args else {
        return Err("poisoned shares|branch|table SHARES THRESHOLD".into());
    };
    let (shares, threshold) = (shares.parse()?, threshold.parse()?);
    let mut secret = [0_u8; SECRET_BYTES];
    io::stdin().read_exact(&mut secret)?;
    let came = match what.as_str() {
        "shares" => {
            let rng = Drawn { threshold };
            let made = shamir::split(&rng, &secret, shares, threshold)?;
            let some = made.get(..usize::from(threshold)).ok_or("too few shares")?;
            shamir::combine(some)?.to_vec()
        }
        "branch" => secret.iter().map(|byte| branch(*byte)).collect(),
        "table" => secret.iter().map(|byte| look_up(*byte)).collect(),
        other => return Err(format!("no {other}").into()),
    };
    // Standard output as Rust has it looks for the ends of lines.
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    Ok(out.write_all(&came)?)
}

/// Coefficients are secret and come from standard input; coordinates are not.
struct Drawn {
    threshold: u8,
}

impl Rng for Drawn {
    fn fill(&self, buffer: &mut [u8]) {
        if buffer.len() == usize::from(self.threshold) {
            // Too few bytes would leave zeros, and another secret at the end.
            drop(io::stdin().read_exact(buffer));
        } else {
            buffer.fill(7);
        }
    }
}

#[inline(never)]
fn branch(byte: u8) -> u8 {
    if byte > 100 {
        return black_box(1);
    }
    black_box(2)
}

#[inline(never)]
fn look_up(byte: u8) -> u8 {
    let table = black_box([3_u8; 256]);
    table.get(usize::from(byte)).copied().unwrap_or(0)
}
