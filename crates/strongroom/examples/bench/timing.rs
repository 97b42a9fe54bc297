//! Races: programs started in turn, so that a busy moment hurts all of them alike.

use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::rig::AnyResult;

/// How long one contender took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The fastest round: what it costs when nobody else wants the machine.
    pub(crate) best: Duration,
    /// The middle round.
    pub(crate) median: Duration,
}

impl Timing {
    /// Of many rounds.
    pub(crate) fn of(mut rounds: Vec<Duration>) -> Self {
        rounds.sort_unstable();
        let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
        Self {
            best: at(0),
            median: at(rounds.len() / 2),
        }
    }

    /// `3.1 ms (median 3.4)`
    pub(crate) fn shown(&self) -> String {
        format!("{:.2} ms (median {:.2})", ms(self.best), ms(self.median))
    }

    /// How often the other fits into this: best by best.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        self.best.as_secs_f64() / other.best.as_secs_f64().max(1e-9)
    }
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Starts each command once a round, in turn, and waits for its end.
pub(crate) fn race(rounds: usize, contenders: &mut [Command]) -> AnyResult<Vec<Timing>> {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds + WARM_UP {
        for (command, times) in contenders.iter_mut().zip(&mut times) {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let start = Instant::now();
            let status = command.status()?;
            let took = start.elapsed();
            if !status.success() {
                let program = command.get_program().to_string_lossy();
                return Err(format!("{program} failed in a race: {status}").into());
            }
            if round >= WARM_UP {
                times.push(took);
            }
        }
    }
    Ok(times.into_iter().map(Timing::of).collect())
}

const WARM_UP: usize = 3;
