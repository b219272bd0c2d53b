//! Streams: who may play which package, until when.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use uuid::Uuid;

use crate::{
    error::{Code, Error, Result},
    metrics::Metrics,
    package::{Lease, Package, Packager},
    state::{Row, State},
    time::{end_of, now},
};

/// A grant: a package, until an instant.
#[derive(Debug)]
pub struct Stream {
    /// Its id.
    pub rid: Uuid,
    lease: Lease,
    batch: Option<Uuid>,
    end: AtomicI64,
}

impl Stream {
    /// What it plays.
    pub fn package(&self) -> &Arc<Package> {
        self.lease.package()
    }

    /// Its end, in seconds since the epoch.
    pub fn end(&self) -> i64 {
        self.end.load(Relaxed)
    }

    /// Whether it was made with a batch, and so ends with it.
    pub fn is_of_batch(&self) -> bool {
        self.batch.is_some()
    }
}

/// A stream's id as the broker writes it: hyphenated, lower case.
pub fn parse_rid(text: &str) -> Option<Uuid> {
    let written = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    written.then(|| Uuid::try_parse(text).ok())?
}

/// All streams of one process, in memory and in the state.
///
/// The lock guards a plain map and is never held across an await.
pub struct Streams {
    live: RwLock<HashMap<Uuid, Arc<Stream>>>,
    state: State,
    metrics: Arc<Metrics>,
}

impl Streams {
    /// No streams yet; see [`Streams::restore`].
    pub fn new(state: State, metrics: Arc<Metrics>) -> Self {
        Self { live: RwLock::default(), state, metrics }
    }

    /// Takes over the streams of an earlier run whose packages are still there.
    pub fn restore(&self, rows: Vec<Row>, packager: &Packager) {
        let now = now();
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        for row in rows.into_iter().filter(|row| row.end > now) {
            let Some(lease) = row.package.parse().ok().and_then(|key| packager.lease(key)) else {
                continue;
            };
            let Row { rid, batch, end, .. } = row;
            live.insert(rid, Arc::new(Stream { rid, lease, batch, end: AtomicI64::new(end) }));
        }
        self.metrics.streams.set(live.len() as i64);
    }

    /// Makes streams that end at `end`, with or without a batch; done when the state has them.
    pub async fn add(
        &self,
        leases: Vec<Lease>,
        batch: Option<Uuid>,
        end: i64,
    ) -> Result<Vec<Arc<Stream>>> {
        let make = |lease| {
            let end = AtomicI64::new(end);
            Arc::new(Stream { rid: Uuid::new_v4(), lease, batch, end })
        };
        let streams: Vec<_> = leases.into_iter().map(make).collect();
        let row = |stream: &Arc<Stream>| Row {
            rid: stream.rid,
            package: stream.package().key.to_string(),
            batch,
            end,
        };
        self.state.add(streams.iter().map(row).collect()).await?;
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.extend(streams.iter().map(|stream| (stream.rid, stream.clone())));
        self.metrics.streams.set(live.len() as i64);
        Ok(streams)
    }

    /// The stream `rid`, if it has not ended.
    ///
    /// # Errors
    /// [`Code::StreamGone`].
    pub fn get(&self, rid: Uuid) -> Result<Arc<Stream>> {
        let stream = {
            let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
            live.get(&rid).cloned()
        };
        let gone = || Error::new(Code::StreamGone, "this stream has ended; ask for a new one");
        stream.filter(|stream| stream.end() > now()).ok_or_else(gone)
    }

    /// Moves a stream's end to now + `life`, unless it is later already.
    pub async fn renew(&self, stream: &Stream, life: Duration) -> Result<()> {
        let end = end_of(life);
        if stream.end.fetch_max(end, Relaxed) < end {
            self.state.extend(stream.rid, end).await?;
        }
        Ok(())
    }

    /// Ends a stream now, if it is there.
    pub async fn end(&self, rid: Uuid) -> Result<()> {
        self.state.remove(rid).await?;
        self.forget(|stream| stream.rid == rid);
        Ok(())
    }

    /// Forgets the streams that have ended.
    pub async fn sweep(&self) -> Result<()> {
        let now = now();
        if self.forget(|stream| stream.end() <= now) > 0 {
            self.state.expire(now).await?;
        }
        Ok(())
    }

    fn forget(&self, which: impl Fn(&Stream) -> bool) -> usize {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let before = live.len();
        live.retain(|_, stream| !which(stream));
        self.metrics.streams.set(live.len() as i64);
        before - live.len()
    }

    /// Commits and closes the state.
    pub fn close(&self) {
        self.state.close();
    }
}
