//! Prints generated policies and what they allow, for comparison with another implementation.
//!
//! `policy_cases ROUNDS SEED`. A round is lines of three fields, separated by tabs: `policy`, its
//! number, its text; `path`, a path, the capabilities that are answered for it; then `end`.

use std::io;
use std::io::Write;

use strongroom_core::policy::Capability;
use strongroom_core::policy::Policy;
use strongroom_core::policy::PolicySet;

const POLICIES: usize = 3;
const PATHS: usize = 100;

fn main() -> io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let (Some(Ok(rounds)), Some(Ok(seed))) = (numbers.next(), numbers.next()) else {
        return Err(io::Error::other("usage: policy_cases ROUNDS SEED"));
    };
    let mut draws = Draws(seed | 1);
    let mut out = io::BufWriter::new(io::stdout().lock());
    for _ in 0..rounds {
        let mut policies = Vec::new();
        for number in 0..POLICIES {
            let text = draws.policy();
            writeln!(out, "policy\t{number}\t{text}")?;
            let name = format!("p{number}").parse().map_err(io::Error::other)?;
            policies.push(Policy::parse(&name, &text).map_err(io::Error::other)?);
        }
        let set = PolicySet::compile(&policies);
        for _ in 0..PATHS {
            let path = draws.path();
            let words = set
                .capabilities(&path.parse().map_err(io::Error::other)?)
                .words();
            writeln!(out, "path\t{path}\t{}", words.join(","))?;
        }
        writeln!(out, "end")?;
    }
    out.flush()
}

/// Numbers that look random and come from a seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or_default() % end
    }

    fn segment(&mut self) -> &'static str {
        ["a", "b", "ab", "abc", "x+", "é"][self.below(6)]
    }

    fn path(&mut self) -> String {
        let segments: Vec<&str> = (0..=self.below(4)).map(|_| self.segment()).collect();
        segments.join("/") + ["", "", "/"][self.below(3)]
    }

    fn policy(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.below(6) {
            let path = self.pattern();
            let words: Vec<String> = (0..self.below(4))
                .map(|_| self.below(30))
                .map(|at| Capability::ALL[at % 9].as_str())
                .map(|word| {
                    if word == "deny" && path.len() % 2 == 1 {
                        "read"
                    } else {
                        word
                    }
                })
                .map(|word| format!("\"{word}\""))
                .collect();
            text.push_str(&format!(
                "path \"{path}\" {{ capabilities = [{}] }} ",
                words.join(", ")
            ));
        }
        text + "# generated"
    }

    fn pattern(&mut self) -> String {
        let mut segments = Vec::new();
        for _ in 0..=self.below(4) {
            let is_wild = self.below(3) == 0;
            segments.push(if is_wild { "+" } else { self.segment() });
        }
        let text = segments.join("/");
        match self.below(12) {
            0 | 1 => text + "/*",
            2 | 3 if text.ends_with('+') => text + "/",
            2 | 3 => text + "*",
            4 => text + "/",
            5 => "*".to_owned(),
            _ => text,
        }
    }
}
