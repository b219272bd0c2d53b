//! What is counted, in the Prometheus text form (OpenMetrics 1.0).
//!
//! No label ever holds an id, a token or an address: labels are closed sets, so that the page stays small.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Labels of a counted request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// The route's name, one of a closed set.
    pub route: &'static str,
    /// The HTTP status.
    pub status: u16,
}

/// Label of a duration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Route {
    /// The route's name, one of a closed set.
    pub route: &'static str,
}

/// Label of an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// What came of it, one of a closed set.
    pub outcome: &'static str,
}

/// Label of a directory under watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Place {
    /// `static` or `tempdir` or `cache`.
    pub place: &'static str,
}

/// Every figure of the process. One instance, shared by all rooms.
pub struct Metrics {
    /// Requests by route and status.
    pub requests: Family<Request, Counter>,
    /// Seconds from a request's head to its response's head.
    pub request_seconds: Family<Route, Histogram, fn() -> Histogram>,
    /// Body bytes handed to connections.
    pub bytes_sent: Counter,
    /// Connections open now.
    pub connections: Gauge,
    /// Connections refused at the cap.
    pub connections_refused: Counter,
    /// Streams that have not ended.
    pub streams: Gauge,
    /// Packages known, complete or not.
    pub packages: Gauge,
    /// Heads running now.
    pub heads: Gauge,
    /// Heads ended, by outcome: `done`, `joined`, `yielded`, `idle`, `failed`.
    pub heads_ended: Family<Outcome, Counter>,
    /// Requests for a head that somebody waits for and that has not started.
    pub queue: Gauge,
    /// Upstream fetches of sources, by outcome: `whole`, `unchanged`, `failed`.
    pub fetches: Family<Outcome, Counter>,
    /// Look-ups in the source cache, by outcome: `hit`, `miss`.
    pub source_lookups: Family<Outcome, Counter>,
    /// Look-ups of segments, by outcome: `memory`, `disk`, `encoded`.
    pub segment_lookups: Family<Outcome, Counter>,
    /// The first of these, which nearly all are, found once.
    pub segments_from_memory: Counter,
    /// What was evicted, by outcome: `source`, `package`, `segment`.
    pub evictions: Family<Outcome, Counter>,
    /// Packages whose source ended before its header's promise.
    pub short_sources: Counter,
    /// Media files in the library, where it is watched.
    pub library_files: Gauge,
    /// Bytes on disk by place.
    pub disk_bytes: Family<Place, Gauge>,
    /// Limits of those places in bytes.
    pub disk_limit_bytes: Family<Place, Gauge>,
    /// Bytes free on the place's file system.
    pub disk_free_bytes: Family<Place, Gauge<i64>>,
    registry: Registry,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 4.0, 10))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut r = Registry::with_prefix("hls_broker");
        let segment_lookups = Family::<Outcome, Counter>::default();
        let metrics = Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            bytes_sent: Counter::<u64, AtomicU64>::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            streams: Gauge::default(),
            packages: Gauge::default(),
            heads: Gauge::default(),
            heads_ended: Family::default(),
            queue: Gauge::default(),
            fetches: Family::default(),
            source_lookups: Family::default(),
            segments_from_memory: segment_lookups
                .get_or_create_owned(&Outcome { outcome: "memory" }),
            segment_lookups,
            evictions: Family::default(),
            short_sources: Counter::default(),
            library_files: Gauge::default(),
            disk_bytes: Family::default(),
            disk_limit_bytes: Family::default(),
            disk_free_bytes: Family::default(),
            registry: Registry::default(),
        };
        let m = &metrics;
        r.register("requests", "Requests by route and status", m.requests.clone());
        r.register_with_unit(
            "request_duration",
            "Time from request head to response head",
            Unit::Seconds,
            m.request_seconds.clone(),
        );
        r.register_with_unit("sent", "Body bytes sent", Unit::Bytes, m.bytes_sent.clone());
        r.register("connections", "Open connections", m.connections.clone());
        r.register(
            "connections_refused",
            "Connections over the cap",
            m.connections_refused.clone(),
        );
        r.register("streams", "Streams that have not ended", m.streams.clone());
        r.register("packages", "Packages known", m.packages.clone());
        r.register("heads", "ffmpeg processes running", m.heads.clone());
        r.register("heads_ended", "ffmpeg processes ended", m.heads_ended.clone());
        r.register("queue", "Waited-for heads that have not started", m.queue.clone());
        r.register("fetches", "Upstream fetches of sources", m.fetches.clone());
        r.register("source_lookups", "Look-ups in the source cache", m.source_lookups.clone());
        r.register("segment_lookups", "Where segments came from", m.segment_lookups.clone());
        r.register("evictions", "Sources, packages and segments evicted", m.evictions.clone());
        r.register("short_sources", "Sources shorter than promised", m.short_sources.clone());
        r.register("library_files", "Media files in the library", m.library_files.clone());
        r.register_with_unit("disk", "Bytes on disk", Unit::Bytes, m.disk_bytes.clone());
        r.register_with_unit("disk_limit", "Limits", Unit::Bytes, m.disk_limit_bytes.clone());
        r.register_with_unit("disk_free", "Free bytes", Unit::Bytes, m.disk_free_bytes.clone());
        Self { registry: r, ..metrics }
    }
}

impl Metrics {
    /// The page that Prometheus reads, with its media type.
    pub fn page(&self) -> (String, &'static str) {
        let mut page = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut page, &self.registry);
        (page, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    }

    /// Counts one more of `outcome` in `family`.
    pub fn count(family: &Family<Outcome, Counter>, outcome: &'static str) {
        family.get_or_create(&Outcome { outcome }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_was_counted() {
        let metrics = Metrics::default();
        metrics.requests.get_or_create(&Request { route: "token", status: 201 }).inc();
        metrics.streams.set(3);
        Metrics::count(&metrics.evictions, "package");
        let (page, _) = metrics.page();
        assert!(
            page.contains("hls_broker_requests_total{route=\"token\",status=\"201\"} 1"),
            "{page}"
        );
        assert!(page.contains("hls_broker_streams 3"));
        assert!(page.contains("hls_broker_evictions_total{outcome=\"package\"} 1"));
        assert!(page.ends_with("# EOF\n"));
    }
}
