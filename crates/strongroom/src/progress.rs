//! How far a long command is: a bar on a terminal, a line now and then elsewhere.

use std::sync::Mutex;
use std::sync::PoisonError;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;

use crate::ui::Ui;

/// Elsewhere than on a terminal a line is said after so many parts of the whole.
const LINES: usize = 10;
/// Fewer than that are not worth a line.
const LINES_FROM: usize = 50;

/// Shows progress on stderr.
pub(crate) struct Meter<'u> {
    ui: &'u Ui,
    what: &'static str,
    bar: Option<ProgressBar>,
    said: Mutex<usize>,
}

impl<'u> Meter<'u> {
    /// A meter; it shows itself at the first step.
    pub(crate) fn new(ui: &'u Ui, what: &'static str) -> Self {
        let bar = ui.is_lively().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template = "{msg} {bar:24} {pos}/{len} · {per_sec} · {eta} left";
            // The template is constant and valid; without it the bar has its default look.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar
        });
        Self {
            ui,
            what,
            bar,
            said: Mutex::new(0),
        }
    }

    /// So many are done, of so many.
    pub(crate) fn step(&self, done: usize, total: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            return;
        }
        if total < LINES_FROM || self.ui.is_json {
            return;
        }
        let part = done.saturating_mul(LINES) / total.max(1);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if part > *said {
            *said = part;
            self.ui.say(&format!("{} {done} of {total}", self.what));
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
