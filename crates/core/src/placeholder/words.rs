//! Ordinary words, typed runs, and taking a value apart into them.

use std::sync::LazyLock;

use zeroize::Zeroizing;

/// Words that name, describe or stand for secrets, services and environments; sorted. A value
/// made of these alone is none that anybody drew at random.
const VOCABULARY: &str = "\
about above access account active actual add added admin administrator after again algorithm all \
also always amqp and anon another any anything apache api apikey apikeys app application apps are \
asymmetric at auth authentication authorization aws azure backend backup bar base bearer before \
below best better bits blah board bot broker bucket build but by bytes cache cassandra cert \
certificate change changed changeit changeme changethis char character characters chars chat \
cipher circle class client cloud cluster code com company complete complex config connect \
connection console container cookie copy corp corporation create created cred credential \
credentials crypto csrf current custom customer daemon dashboard data database databases db debug \
default demo deploy deployment dev devel develop developer development did different digest \
digits dist docker domain done dont dummy each elastic elasticsearch email empty encrypt \
encrypted encryption endpoint engine enter env environment etc event every example external fake \
file files fill first fix fixme foo foobar for format from front frontend full fun function \
gateway generate generated generator get git github gitlab go goes good google grafana graph \
group guest hard has hash have hello here hex hmac hook host hostname house http https id image \
in info initial input insecure insert install instance integration internal is issuer it its job \
json jwt kafka key keycloak keys keystore kind know kubernetes label last later least length let \
letmein letter letters level light line link linux list live load local localhost log login logs \
long look machine mail main make manager mariadb master max maximum me memory message meta min \
minimum minio mock mode model mongo mongodb monitor more must my mysql name need network new \
next nginx no node none not notsecret null number numbers of off offline old on one only open \
oracle or org origin other our out own owner page part pass passphrase passwd passwort password \
passwords paste path phrase pin placeholder platform please port portal postgres postgresql \
preview primary private prod product production profile project provider proxy public publish \
publishable put pwd qa query queue rabbitmq random randomly rds read real really redis refresh \
registry release remote replace replaced replacement replica report repo required reserved reset \
resource rest restricted role root route safe salt same sample sandbox save scope script secret \
secretkey secrets secure secured security server service services session sessions set setup \
sha shared shh should sign signed signing signature simple site small smtp some something source \
sql ssh ssl stack stage staging standard start status stored storage store strategy string \
strings strong stronger sub sudo super superadmin superuser support supersecret symmetric sync \
system table tbd team temp template temporary test tester testing tests text that the their \
then there this time to todo token tokens too tool tools top trust two type unique unknown unsafe \
update upper url use used user username users using value values variable vault verify very \
visible web webhook website welcome when where which will with word words work worker world \
write wrong xxx xxxx you your yours";

/// Beginnings that vendors give their tokens; they say nothing about the rest.
const VENDOR_PREFIXES: [&str; 29] = [
    "sk", "pk", "rk", "whsec", "hf", "ghp", "gho", "ghs", "xoxb", "xoxp", "ant", "cs", "ck", "re",
    "or", "sg", "ac", "proj", "akia", "asia", "aiza", "glpat", "npm", "pypi", "dop", "shpat",
    "eyj", "hvs", "phc",
];

/// Keys that lie side by side.
const KEYBOARD_ROWS: [&str; 8] = [
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "poiuytrewq",
    "lkjhgfdsa",
    "mnbvcxz",
    "azertyuiop",
];
/// Zigzags over letters and digits.
const KEYBOARD_ZIGZAGS: [&str; 3] = [
    "1qaz2wsx3edc4rfv5tgb6yhn",
    "1q2w3e4r5t6y7u8i9o0p",
    "zaq12wsxcde3",
];
/// Longest number that says nothing: a year, a port.
const SHORT_NUMBER: usize = 4;
/// Longest word in the vocabulary or in a name that is tried.
const WORD_CHARS_MAX: usize = 24;

/// Lower-case words of a text: its runs of letters and digits.
pub(super) fn split(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// Only the letters of a lower-case text.
pub(super) fn letters(lower: &str) -> Zeroizing<String> {
    let mut letters = Zeroizing::new(String::with_capacity(lower.len()));
    letters.extend(lower.chars().filter(|c| c.is_alphabetic()));
    letters
}

/// True when two texts have the same letters and digits in the same order, whatever the case.
pub(super) fn same_letters(one: &str, other: &str) -> bool {
    folded(one).next().is_some() && folded(one).eq(folded(other))
}

/// The letters and digits of a text in lower case.
pub(super) fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
}

/// `yourapikey`: a word of letters that begins with `your`.
pub(super) fn your_something(word: &str) -> bool {
    word.starts_with("your") && word.len() >= 7 && word.chars().all(char::is_alphabetic)
}

/// True when `c` is what comes after `last` in counting or in the alphabet.
pub(super) fn follows(last: char, c: char) -> bool {
    match (last, c) {
        ('9', '0') => true,
        _ if last.is_ascii_digit() != c.is_ascii_digit() => false,
        _ if !last.is_ascii_alphanumeric() || !c.is_ascii_alphanumeric() => false,
        _ => u32::from(c) == u32::from(last) + 1,
    }
}

/// `p@ssw0rd` as `password`; `None` when nothing changes or too little is left of letters.
pub(super) fn without_leet(lower: &str) -> Option<Zeroizing<String>> {
    let count = lower.chars().count();
    let letter_count = lower.chars().filter(char::is_ascii_lowercase).count();
    if count > 24 || letter_count * 2 < count {
        return None;
    }
    let mut plain = Zeroizing::new(String::with_capacity(lower.len()));
    plain.extend(lower.chars().map(|c| match c {
        '@' | '4' => 'a',
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }));
    (*plain != lower).then_some(plain)
}

/// What a value is made of when it is made of nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weakness {
    /// Keyboard runs, sequences, a unit again and again.
    Typed,
    /// Ordinary words.
    Words,
    /// Words of its own name.
    OwnName,
    /// The project's name.
    Project,
}

/// True when a lower-case value holds a part that no words whatever explain: a letter on its own
/// between digits, or many digits.
pub(super) fn is_unexplained(lower: &str) -> bool {
    split(lower).any(|word| {
        let is_strange = pieces(word).any(|(piece, is_number)| match is_number {
            true => piece.len() > SHORT_NUMBER && !is_typed(piece),
            false => piece.len() == 1,
        });
        is_strange && !is_typed(word) && !VENDOR_PREFIXES.contains(&word)
    })
}

/// The runs of digits and of letters that a word is made of, and which they are.
fn pieces(word: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let is_number = rest.chars().next()?.is_numeric();
        let other = |c: char| c.is_numeric() != is_number;
        let (piece, after) = rest.split_at(rest.find(other).unwrap_or(rest.len()));
        rest = after;
        Some((piece, is_number))
    })
}

/// Words known besides the vocabulary.
pub(super) struct Known<'a> {
    /// Of the secret's name.
    pub(super) own: &'a [String],
    /// Of the project's name.
    pub(super) project: &'a [String],
}

impl Known<'_> {
    /// What a lower-case value is made of; `None` as soon as one part of it is unknown.
    pub(super) fn weakness(&self, lower: &str) -> Option<Weakness> {
        let mut found: Option<Weakness> = None;
        let mut beginning = true;
        for word in split(lower) {
            if std::mem::take(&mut beginning) && VENDOR_PREFIXES.contains(&word) {
                beginning = true;
                continue;
            }
            if let Some(weakness) = self.word(word)? {
                found = found.max(Some(weakness));
            }
        }
        found
    }

    /// One word: `None` when unknown, `Some(None)` when it says nothing (a short number).
    fn word(&self, word: &str) -> Option<Option<Weakness>> {
        if is_typed(word) {
            return Some(Some(Weakness::Typed));
        }
        let mut found: Option<Weakness> = None;
        for (piece, is_number) in pieces(word) {
            if is_typed(piece) {
                found = found.max(Some(Weakness::Typed));
            } else if is_number {
                if piece.len() > SHORT_NUMBER {
                    return None;
                }
            } else {
                found = found.max(Some(self.letters(piece)?));
            }
        }
        Some(found)
    }

    /// A run of letters as words one after the other.
    fn letters(&self, piece: &str) -> Option<Weakness> {
        if piece.len() > 128 || !piece.is_ascii() {
            return None;
        }
        let mut best: Vec<Option<Weakness>> = vec![None; piece.len() + 1];
        best[0] = Some(Weakness::Typed);
        for start in 0..piece.len() {
            let Some(so_far) = best[start] else { continue };
            let mut possible = vocabulary();
            for end in start + 1..=piece.len().min(start + WORD_CHARS_MAX) {
                let word = &piece[start..end];
                possible = beginning_with(possible, word);
                if word.len() < 2 {
                    continue;
                }
                let is_ordinary = possible.first() == Some(&word);
                if let Some(weakness) = self.known(word, is_ordinary) {
                    best[end] = best[end].max(Some(so_far.max(weakness)));
                }
                // Random letters are no beginning of anything after the third.
                if possible.is_empty() && !self.begins_something(word) {
                    break;
                }
            }
        }
        best[piece.len()]
    }

    fn known(&self, word: &str, is_ordinary: bool) -> Option<Weakness> {
        // Two letters of a name or project would explain too much.
        let among = |words: &[String]| word.len() >= 3 && words.iter().any(|own| own == word);
        if among(self.project) {
            return Some(Weakness::Project);
        }
        if is_ordinary {
            return Some(Weakness::Words);
        }
        if among(self.own) {
            return Some(Weakness::OwnName);
        }
        let in_row = |row: &&str| word.len() >= 4 && row.contains(word);
        (KEYBOARD_ROWS.iter().any(in_row) || is_sequence(word)).then_some(Weakness::Typed)
    }

    /// Whether a longer word that begins so may be known without being in the vocabulary.
    fn begins_something(&self, part: &str) -> bool {
        let begins = |words: &[String]| words.iter().any(|own| own.starts_with(part));
        begins(self.own)
            || begins(self.project)
            || KEYBOARD_ROWS.iter().any(|row| row.contains(part))
            || counts(part)
    }
}

/// True when a text holds words, and only ordinary ones.
pub(super) fn are_ordinary(text: &str) -> bool {
    split(text).next().is_some() && split(text).all(in_vocabulary)
}

fn in_vocabulary(word: &str) -> bool {
    vocabulary().binary_search(&word).is_ok()
}

/// The vocabulary in order.
fn vocabulary() -> &'static [&'static str] {
    // Asked for every part of every value: a search through the text itself shows in a start.
    static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let mut words: Vec<&str> = VOCABULARY.split(' ').collect();
        words.sort_unstable();
        words
    });
    &WORDS
}

/// Those of some words in order that begin with `part`.
fn beginning_with<'w>(words: &'w [&'w str], part: &str) -> &'w [&'w str] {
    let start = words.partition_point(|word| *word < part);
    let words = words.get(start..).unwrap_or_default();
    let end = words.partition_point(|word| word.starts_with(part));
    words.get(..end).unwrap_or_default()
}

/// A whole word typed without thinking.
fn is_typed(word: &str) -> bool {
    let bytes = word.as_bytes();
    if !word.is_ascii() || bytes.len() < 3 {
        return false;
    }
    if is_sequence(word)
        || KEYBOARD_ZIGZAGS
            .iter()
            .any(|row| bytes.len() >= 4 && row.contains(word))
    {
        return true;
    }
    if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
        return true;
    }
    let in_row = |row: &&str| bytes.len() >= 4 && row.contains(word);
    if KEYBOARD_ROWS.iter().any(in_row) {
        return true;
    }
    // The same two to six characters again and again.
    if bytes.len() >= 6 && (2..=6).any(|unit| is_periodic(bytes, unit)) {
        return true;
    }
    // `a1b2c3d4`: letters and digits counting up side by side.
    let letters: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(u8::is_ascii_lowercase)
        .collect();
    let digits: Vec<u8> = bytes.iter().copied().filter(u8::is_ascii_digit).collect();
    let counting = |part: &[u8]| part.windows(2).all(|pair| steps(pair[0], pair[1]));
    bytes.len() >= 6
        && letters.len().min(digits.len()) >= 3
        && counting(&letters)
        && counting(&digits)
}

fn is_periodic(bytes: &[u8], unit: usize) -> bool {
    // Twice the same four digits is too likely among random ones.
    let times = if bytes.iter().all(u8::is_ascii_digit) {
        3
    } else {
        2
    };
    bytes.len() >= unit * times
        && bytes
            .iter()
            .zip(bytes.iter().skip(unit))
            .all(|(a, b)| a == b)
}

fn steps(last: u8, next: u8) -> bool {
    follows(last.into(), next.into()) || (last, next) == (b'z', b'a')
}

/// `abcdef`, `1234567890`, `987654`.
fn is_sequence(word: &str) -> bool {
    word.len() >= 3 && counts(word)
}

/// Whether each byte is the one after, or each the one before, its neighbour.
fn counts(word: &str) -> bool {
    let bytes = word.as_bytes();
    let up = || bytes.windows(2).all(|pair| steps(pair[0], pair[1]));
    let down = || bytes.windows(2).all(|pair| steps(pair[1], pair[0]));
    up() || down()
}
