//! Whether the disk has room for a run: a build that finds it full stops with errors that name
//! anything but the disk.

use std::path::Path;

use crate::ci::Done;
use crate::failure::Failure;
use crate::shell;

/// What a run from nothing leaves in `target` and `.peers` and has in the temporary folder at once,
/// and a fifth more.
const NEEDED_FROM_NOTHING: u64 = 24_000_000_000;
/// What a run after a whole one may still need.
const NEEDED_AGAIN: u64 = 4_000_000_000;
/// Stands in `target` after a whole run.
const BUILT: &str = "target/release/strongroom";

/// Says how much is free, and refuses a run that would not fit.
pub(super) fn check(root: &Path) -> Result<Done, Failure> {
    let needed = match root.join(BUILT).exists() {
        true => NEEDED_AGAIN,
        false => NEEDED_FROM_NOTHING,
    };
    for place in [root.to_path_buf(), std::env::temp_dir()] {
        let mut df = shell::program_in(root, "df");
        df.args(["--output=avail", "--block-size=1"]).arg(&place);
        let printed = shell::capture(&mut df)?;
        let Some(free) = free_of(&printed.stdout) else {
            let why = format!("df does not tell what is free: {}", printed.stderr.trim());
            return Ok(Done::PassedOver(why));
        };
        println!("free for {}: {}", place.display(), gigabytes(free));
        if free < needed {
            return Err(Failure::new(format!(
                "{} has {} free and a run needs {}: make room (`cargo clean` in other clones), or \
                 set CARGO_TARGET_DIR and TMPDIR to a larger disk",
                place.display(),
                gigabytes(free),
                gigabytes(needed),
            )));
        }
    }
    Ok(Done::Passed)
}

/// The number that `df` prints below its heading.
fn free_of(printed: &str) -> Option<u64> {
    printed.lines().nth(1)?.trim().parse().ok()
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_df_prints_is_read() {
        assert_eq!(
            free_of("       Avail\n 85899345920\n"),
            Some(85_899_345_920)
        );
        assert_eq!(free_of("Avail\n-\n"), None);
        assert_eq!(free_of(""), None);
    }
}
