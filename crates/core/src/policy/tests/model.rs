//! The compiled policies against a small model that looks at every rule each time.

use super::reference;
use super::*;

/// A rule of the model: its path and its words.
type ModelRule = (String, Vec<Capability>);

/// The words for a path and a verb: the reference.
fn model(rules: &[ModelRule], path: &str, verb: Capability) -> Vec<Capability> {
    let is_list = matches!(verb, Capability::List | Capability::Scan);
    reference::words(rules, path, is_list, &Capability::ALL, Capability::Deny)
}

/// R39 and GHSA-xp3c-3jw3-4vcr: 100,000 generated policy × path × verb cases.
#[test]
fn decisions_equal_the_model() {
    let mut draws = Draws(0x2545_f491_4f6c_dd1d);
    let mut counts = [0_u32; 2];
    for round in 0..1_000 {
        let rules: Vec<ModelRule> = (0..=draws.below(12)).map(|_| draws.rule()).collect();
        let policies: Vec<Policy> = rules.chunks(3).map(written).collect();
        let set = PolicySet::compile(&policies);
        for _ in 0..10 {
            let path = draws.path();
            let request: RequestPath = path.parse().unwrap();
            let list = model(&rules, &path, Capability::List);
            let Capabilities::Some(found) = set.capabilities(&request) else {
                panic!("nobody is root here");
            };
            assert_eq!(
                found.iter().collect::<Vec<_>>(),
                list,
                "{round}: {path} {rules:?}"
            );
            for verb in Capability::ALL {
                let access = Access {
                    path: &request,
                    capability: verb,
                    params: &[],
                    wrap_ttl: None,
                };
                let words = model(&rules, &path, verb);
                let can_ask = !matches!(verb, Capability::Sudo | Capability::Deny);
                let expected = Decision {
                    is_allowed: can_ask && words.contains(&verb),
                    has_sudo: words.contains(&Capability::Sudo),
                };
                let decision = set.decide(&access);
                assert_eq!(decision, expected, "{round}: {verb} {path} {rules:?}");
                counts[usize::from(decision.is_allowed)] += 1;
            }
        }
    }
    assert!(counts.iter().all(|&count| count > 5_000), "{counts:?}");
}

fn written(rules: &[ModelRule]) -> Policy {
    let text: String = rules
        .iter()
        .map(|(path, words)| {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!(
                "path \"{path}\" {{ capabilities = [{}] }}\n",
                words.join(", ")
            )
        })
        .collect();
    policy(&text)
}

/// Numbers that look random and are the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end
    }

    fn segment(&mut self) -> &'static str {
        ["a", "b", "ab", "abc", "é"][self.below(5)]
    }

    fn path(&mut self) -> String {
        let segments: Vec<&str> = (0..=self.below(4)).map(|_| self.segment()).collect();
        let end = ["", "", "/"][self.below(3)];
        segments.join("/") + end
    }

    fn rule(&mut self) -> ModelRule {
        let mut segments = Vec::new();
        for _ in 0..=self.below(4) {
            let segment = if self.below(3) == 0 {
                "+"
            } else {
                self.segment()
            };
            segments.push(segment);
        }
        let mut text = segments.join("/");
        text.push_str(match self.below(5) {
            0 => "/*",
            1 if text.ends_with('+') => "/",
            1 => "*",
            2 => "/",
            _ => "",
        });
        if self.below(20) == 0 {
            text = "*".to_owned();
        }
        let words = (0..self.below(5)).map(|_| match self.below(12) {
            0 => Capability::Deny,
            _ => Capability::ALL[self.below(9)],
        });
        let words = words.filter(|word| *word != Capability::Deny || text.len() % 2 == 0);
        (text.clone(), words.collect())
    }
}
