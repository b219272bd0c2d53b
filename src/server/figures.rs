//! What is counted of exchanges, by route and status.

use std::time::Instant;

use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};

use crate::metrics::{self, Metrics};

use super::routes::Route;

/// The figures of every route, found by their labels once: nearly all exchanges need no look-up but this one.
pub struct Figures {
    requests: Family<metrics::Request, Counter>,
    by_route: [Figure; Route::ALL.len()],
}

struct Figure {
    ok: Counter,
    seconds: Histogram,
}

impl Figures {
    /// Those of `metrics`.
    pub fn of(metrics: &Metrics) -> Self {
        let requests = metrics.requests.clone();
        let by_route = Route::ALL.map(|route| {
            let route = route.as_str();
            let ok = metrics::Request { route, status: 200 };
            Figure {
                ok: requests.get_or_create_owned(&ok),
                seconds: metrics.request_seconds.get_or_create_owned(&metrics::Route { route }),
            }
        });
        Self { requests, by_route }
    }

    /// Counts one exchange that began then and was answered with `status` now.
    pub fn count(&self, route: Route, status: u16, begun: Instant) {
        let figure = &self.by_route[route as usize];
        if status == 200 {
            figure.ok.inc();
        } else {
            let route = route.as_str();
            self.requests.get_or_create(&metrics::Request { route, status }).inc();
        }
        figure.seconds.observe(begun.elapsed().as_secs_f64());
    }
}
