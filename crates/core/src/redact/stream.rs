//! One stream that is being masked.

use super::Patterns;
use super::PatternsInner;
use super::index::Hit;
use super::index::Probes;
use super::store::Match;
use super::store::Verdict;
use super::store::WipedBytes;

/// Input is taken in pieces of this size, so that the work stays in the fast caches.
const PIECE_BYTES: usize = 16 * 1024;

/// Masks the values in a stream of bytes. What is held back is wiped on drop.
pub struct Redactor {
    patterns: Patterns,
    /// The end of the stream: at least all from one byte before `settled` on.
    data: WipedBytes,
    /// No undecided form starts before this position.
    settled: usize,
    /// The output covers the stream up to here.
    done: usize,
    /// End of the last mask.
    masked: usize,
    /// Where the index goes on.
    probes: Probes,
    /// Forms that were found in part.
    pending: Vec<Pending>,
    /// Forms that were found but may yet turn out to lie behind an earlier one.
    matches: Vec<Match>,
    /// Kept for its memory only.
    hits: Vec<Hit>,
}

/// The first `agreed` bytes of `form` stand at `at`, and the stream ends there; or all do, and
/// the bytes behind decide.
struct Pending {
    form: u32,
    at: usize,
    agreed: usize,
}

impl Redactor {
    pub(super) fn new(patterns: Patterns) -> Self {
        Self {
            patterns,
            data: WipedBytes::default(),
            settled: 0,
            done: 0,
            masked: 0,
            probes: Probes::default(),
            pending: Vec::new(),
            matches: Vec::new(),
            hits: Vec::new(),
        }
    }

    /// Takes the next bytes of the stream, and adds to `out` what can be told by now.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.patterns.is_empty() {
            out.extend_from_slice(chunk);
            return;
        }
        for piece in chunk.chunks(PIECE_BYTES) {
            self.data.extend(piece);
            self.resume_pending(false);
            self.find();
            self.settle();
            self.emit(self.settled, out);
            self.cut();
        }
    }

    /// Lets go of what is held back, because nothing arrived for a while and it may be a prompt.
    /// Where it was the beginning of a value after all, the rest of the value is still masked.
    pub fn flush_idle(&mut self, out: &mut Vec<u8>) {
        self.resume_pending(true);
        self.emit(self.data.as_slice().len(), out);
        self.settle();
    }

    /// True when bytes are held back.
    #[must_use]
    pub fn has_held(&self) -> bool {
        self.held_bytes() > 0
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.data.as_slice().len() - self.done
    }

    /// Ends the stream: adds the rest to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.flush_idle(out);
    }

    /// Compares the forms found in part with what arrived since.
    fn resume_pending(&mut self, is_end: bool) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain_mut(|found| self.advance(found, is_end));
        pending.append(&mut self.pending);
        self.pending = pending;
    }

    /// Looks for forms in what arrived.
    fn find(&mut self) {
        let mut hits = std::mem::take(&mut self.hits);
        self.patterns
            .0
            .index
            .scan(self.data.as_slice(), &mut self.probes, &mut hits);
        for hit in hits.drain(..) {
            // What begins before was seen not to be a form, or has left the buffer in part.
            if hit.at < self.settled {
                continue;
            }
            let mut found = Pending {
                form: hit.form,
                at: hit.at,
                agreed: 0,
            };
            if self.advance(&mut found, false) {
                self.pending.push(found);
            }
        }
        self.hits = hits;
    }

    /// True when the form stays undecided. With `is_end`, no byte behind it is waited for.
    fn advance(&mut self, found: &mut Pending, is_end: bool) -> bool {
        let forms = &self.patterns.0.forms;
        let data = self.data.as_slice();
        let Some(form) = forms.form(found.form) else {
            return false;
        };
        if found.agreed == 0 && !form.may_start(data, found.at) {
            return false;
        }
        let there = (data.len() - found.at).min(form.len());
        let from = found.agreed;
        if !forms.agrees(form, from, &data[found.at + from..found.at + there]) {
            return false;
        }
        found.agreed = there;
        if there < form.len() {
            return true;
        }
        match form.settle(data, found.at, is_end) {
            Verdict::No => false,
            Verdict::Undecided => true,
            Verdict::Yes(hidden) => {
                self.matches.push(hidden);
                false
            }
        }
    }

    /// Moves `settled` up to the first form that is undecided.
    fn settle(&mut self) {
        let PatternsInner {
            forms,
            prefixes,
            index,
        } = &*self.patterns.0;
        let data = self.data.as_slice();
        let is_left = |at: usize| {
            at.checked_sub(1)
                .filter(|&before| prefixes.may_be_left(data[before]))
                .unwrap_or(at)
        };
        let first = self
            .settled
            .max((data.len() + 1).saturating_sub(index.reach()));
        let begun = (first..data.len()).find(|&at| prefixes.may_begin(forms, data, at));
        let begun = is_left(begun.unwrap_or(data.len()));
        let found = self
            .pending
            .iter()
            .filter_map(|found| Some(forms.form(found.form)?.start(data, found.at)));
        let settled = found.fold(begun, usize::min);
        self.settled = self.settled.max(settled);
    }

    /// Writes the stream up to `end`, and beyond it what is hidden by forms that begin before.
    fn emit(&mut self, end: usize, out: &mut Vec<u8>) {
        self.matches.sort_unstable();
        let ready = self.matches.partition_point(|hidden| hidden.start < end);
        let matches = std::mem::take(&mut self.matches);
        for hidden in &matches[..ready] {
            self.mask(*hidden, out);
        }
        self.matches = matches;
        self.matches.drain(..ready);
        if self.done < end {
            out.extend_from_slice(&self.data.as_slice()[self.done..end]);
            self.done = end;
        }
    }

    fn mask(&mut self, hidden: Match, out: &mut Vec<u8>) {
        let std::cmp::Reverse(end) = hidden.end;
        if end <= self.done {
            return;
        }
        if self.done < hidden.start {
            out.extend_from_slice(&self.data.as_slice()[self.done..hidden.start]);
        }
        let is_overlap = hidden.start < self.done && self.done == self.masked;
        if !is_overlap {
            out.extend_from_slice(b"[redacted:");
            out.extend_from_slice(self.patterns.0.forms.name(hidden.secret).as_bytes());
            out.push(b']');
        }
        self.done = end;
        self.masked = end;
    }

    /// Drops what is no longer needed, once that is the greater part.
    fn cut(&mut self) {
        let count = self.settled.saturating_sub(1);
        if count < self.data.as_slice().len() - count {
            return;
        }
        self.data.cut(count);
        self.probes.cut(count);
        self.settled -= count;
        self.done -= count;
        self.masked = self.masked.saturating_sub(count);
        for found in &mut self.pending {
            found.at -= count;
        }
        for hidden in &mut self.matches {
            hidden.start -= count;
            hidden.end.0 -= count;
        }
    }
}
