//! Counters for Prometheus.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use strongroom_core::version::STAGE_PREVIOUS;

use crate::node::Node;

/// Upper ends of the buckets of request times, in microseconds.
const BUCKETS_MICROS: [u64; 10] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000,
];

/// What is counted.
#[derive(Default)]
pub(crate) struct Metrics {
    by_class: [AtomicU64; 6],
    buckets: [AtomicU64; BUCKETS_MICROS.len()],
    requests: AtomicU64,
    micros: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) audit_failures: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) tokens_expired: AtomicU64,
    pub(crate) rotations: AtomicU64,
    pub(crate) rotation_failures: AtomicU64,
    /// Rotations that have failed and are tried again, as they were looked at last.
    pub(crate) rotations_failing: AtomicU64,
    /// Old values that are still good, and consumers that have not read the new one.
    pub(crate) rotation_overlaps: AtomicU64,
    pub(crate) consumers_behind: AtomicU64,
    pub(crate) previous_reads: AtomicU64,
    pub(crate) leases: crate::leases::Counters,
}

impl Metrics {
    /// Counts a request.
    pub(crate) fn note(&self, status: u16, micros: u64) {
        let class = usize::from(status / 100).min(5);
        self.by_class[class].fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        let at = BUCKETS_MICROS.iter().position(|end| micros <= *end);
        if let Some(bucket) = at.and_then(|at| self.buckets.get(at)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Metrics {
    /// Counts a read of a version that is not the current one, by its stages.
    pub(crate) fn note_old_read(&self, stages: &[String]) {
        if stages.iter().any(|stage| stage == STAGE_PREVIOUS) {
            self.previous_reads.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// How many requests there were, and how long they took.
fn requests(text: &mut String, metrics: &Metrics) {
    let mut metric = |name: &str, kind: &str, help: &str| {
        let _ = writeln!(
            text,
            "# HELP strongroom_{name} {help}\n# TYPE strongroom_{name} {kind}"
        );
    };
    metric(
        "requests_total",
        "counter",
        "Requests answered, by class of status.",
    );
    for class in 1..=5 {
        let count = value(&metrics.by_class[class]);
        let _ = writeln!(
            text,
            "strongroom_requests_total{{class=\"{class}xx\"}} {count}"
        );
    }
    let _ = writeln!(
        text,
        "# HELP strongroom_request_seconds Time of requests.\n\
         # TYPE strongroom_request_seconds histogram"
    );
    let mut sum = 0;
    for (end, bucket) in BUCKETS_MICROS.iter().zip(&metrics.buckets) {
        sum += value(bucket);
        let whole = end / 1_000_000;
        let part = end % 1_000_000;
        let _ = writeln!(
            text,
            "strongroom_request_seconds_bucket{{le=\"{whole}.{part:06}\"}} {sum}"
        );
    }
    let requests = value(&metrics.requests);
    let micros = value(&metrics.micros);
    let _ = writeln!(
        text,
        "strongroom_request_seconds_bucket{{le=\"+Inf\"}} {requests}\n\
         strongroom_request_seconds_sum {}.{:06}\n\
         strongroom_request_seconds_count {requests}",
        micros / 1_000_000,
        micros % 1_000_000
    );
}

/// The whole as Prometheus reads it.
pub(crate) fn render(node: &Node) -> String {
    let metrics = &node.metrics;
    let mut text = String::new();
    requests(&mut text, metrics);
    for (name, kind, help, count) in [
        (
            "panics_total",
            "counter",
            "Requests that hit a bug.",
            value(&metrics.panics),
        ),
        (
            "audit_failures_total",
            "counter",
            "Requests refused because the audit log could not be written.",
            value(&metrics.audit_failures),
        ),
        (
            "connections",
            "gauge",
            "Open connections.",
            value(&metrics.connections),
        ),
        (
            "tokens_expired_total",
            "counter",
            "Tokens whose time was over and that were cleared.",
            value(&metrics.tokens_expired),
        ),
        (
            "rotations_total",
            "counter",
            "Rotations of secrets that were finished.",
            value(&metrics.rotations),
        ),
        (
            "rotation_failures_total",
            "counter",
            "Steps of rotations that failed and are tried again.",
            value(&metrics.rotation_failures),
        ),
        (
            "rotations_failing",
            "gauge",
            "Rotations whose last step failed; 0 on servers that do not look after them.",
            value(&metrics.rotations_failing),
        ),
        (
            "rotation_overlaps",
            "gauge",
            "Old values that are still good; 0 on servers that do not look after them.",
            value(&metrics.rotation_overlaps),
        ),
        (
            "rotation_consumers_behind",
            "gauge",
            "Consumers that have not read the new value of a secret whose old one is still good.",
            value(&metrics.consumers_behind),
        ),
        (
            "previous_version_reads_total",
            "counter",
            "Reads of the version before the current one.",
            value(&metrics.previous_reads),
        ),
        (
            "sealed",
            "gauge",
            "1 while the server is sealed.",
            u64::from(node.is_sealed()),
        ),
    ]
    .into_iter()
    .chain(metrics.leases.rows())
    {
        let _ = writeln!(
            text,
            "# HELP strongroom_{name} {help}\n# TYPE strongroom_{name} {kind}\n\
             strongroom_{name} {count}"
        );
    }
    text
}
