//! Who encodes next: as many heads as cores, players first.
//!
//! In this order: segments that somebody waits for, first come first served; packages that were just asked for and have not
//! a first segment; packages with live streams that are not complete. Who is further up may end a head of somebody further
//! down at a segment boundary, but no head ends before the segment that it was started for.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::task::AbortHandle;

use super::{
    Package, Packager, Part,
    control::Control,
    file::Track,
    head::{self, End},
};
use crate::{
    error::{Code, Error, Result},
    metrics::Metrics,
};

/// When a caller who was turned away should come back.
const RETRY: Duration = Duration::from_secs(2);

/// Heads of one rendition at the same time.
const PER_RENDITION: usize = 2;

/// Processes for each worker, counting those that wait for their source: they cost memory, if no processor.
const STARVED_PER_WORKER: usize = 8;

/// The heads of one process.
pub struct Workers {
    limit: usize,
    queue: usize,
    inner: Mutex<Inner>,
    packager: Weak<Packager>,
    metrics: Arc<Metrics>,
}

/// Never held across an await. Renditions' own locks are taken inside it, never the other way round.
#[derive(Debug, Default)]
struct Inner {
    running: Vec<Running>,
    demands: VecDeque<Demand>,
    fresh: VecDeque<Part>,
    backlog: VecDeque<(Weak<Package>, Track)>,
    closed: bool,
}

#[derive(Debug)]
struct Running {
    part: Part,
    control: Arc<Control>,
    task: AbortHandle,
}

/// A segment that somebody waits for and no head will reach soon.
#[derive(Debug)]
struct Demand {
    part: Part,
    n: u32,
}

/// How much a new head is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Urgency {
    /// A player waits.
    Waited,
    /// Nobody waits yet; somebody is about to.
    Fresh,
}

impl Inner {
    /// Drops the demands of those who wait no more: they would count against those who do.
    fn forget_leavers(&mut self) {
        self.demands.retain(|demand| demand.part.rendition.is_wanted(demand.n));
    }

    /// Puts a rendition that can wait at the end of the backlog, where it stands once at most.
    fn put_off(&mut self, part: &Part) {
        let (own, track) = (Arc::downgrade(&part.package), part.rendition.track);
        if !self.backlog.iter().any(|(other, named)| other.ptr_eq(&own) && *named == track) {
            self.backlog.push_back((own, track));
        }
    }
}

impl Workers {
    /// At most `limit` heads that work at once, and `queue` demands beyond them.
    pub fn new(
        limit: usize,
        queue: usize,
        packager: Weak<Packager>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { limit, queue, inner: Mutex::default(), packager, metrics }
    }

    /// Whether the queue of demands is full: new work would only wait.
    pub fn is_full(&self) -> bool {
        let mut inner = self.inner();
        inner.forget_leavers();
        inner.demands.len() >= self.queue
    }

    /// Whether no head works and nobody waits for one.
    pub fn is_idle(&self) -> bool {
        let mut inner = self.inner();
        inner.forget_leavers();
        inner.running.is_empty() && inner.demands.is_empty()
    }

    /// Segment `n` is waited for.
    ///
    /// # Errors
    /// [`Code::Busy`](crate::error::Code::Busy) when too many others are.
    pub fn want(&self, part: &Part, n: u32) -> Result<()> {
        let mut inner = self.inner();
        inner.forget_leavers();
        let asked = |demand: &Demand| demand.n == n && demand.part.is(part);
        if !inner.demands.iter().any(asked) && part.needs_head(n) {
            if inner.demands.len() >= self.queue {
                return Err(Error::busy("too many segments are waited for", RETRY));
            }
            inner.demands.push_back(Demand { part: part.clone(), n });
        }
        self.settle(&mut inner);
        Ok(())
    }

    /// Somebody is about to play these: their first segments come before anything that nobody waits for.
    pub fn begin(&self, parts: impl Iterator<Item = Part>) {
        let mut inner = self.inner();
        for part in parts {
            inner.put_off(&part);
            inner.fresh.push_back(part);
        }
        self.settle(&mut inner);
    }

    /// These are not complete, and can wait.
    pub fn prewarm(&self, parts: impl Iterator<Item = Part>) {
        let mut inner = self.inner();
        parts.for_each(|part| inner.put_off(&part));
        self.settle(&mut inner);
    }

    /// Something has changed that may let a head start.
    pub fn dispatch(&self) {
        self.settle(&mut self.inner());
    }

    /// Ends the heads of a package that is about to go.
    pub fn end(&self, package: &Arc<Package>) {
        let mut inner = self.inner();
        let own = |head: &mut Running| Arc::ptr_eq(&head.part.package, package);
        let ended: Vec<_> = inner.running.extract_if(.., own).collect();
        for head in &ended {
            head.task.abort();
            head.part.rendition.remove_head(&head.control);
            Metrics::count(&self.metrics.heads_ended, End::Idle.name());
        }
        if !ended.is_empty() {
            self.settle(&mut inner);
        }
    }

    /// No head starts any more, and those that run end at once.
    pub fn close(&self) {
        // In one go: a head that started between the two would never be ended.
        let closed = Inner { closed: true, ..Inner::default() };
        let inner = std::mem::replace(&mut *self.inner(), closed);
        inner.running.iter().for_each(|head| head.task.abort());
    }

    /// Who these heads work for; None when that is about to go.
    pub fn packager(&self) -> Option<Arc<Packager>> {
        self.packager.upgrade()
    }

    fn settle(&self, inner: &mut Inner) {
        if !inner.closed {
            self.serve_demands(inner);
            self.serve_fresh(inner);
            self.serve_backlog(inner);
        }
        self.metrics.queue.set(inner.demands.len() as i64);
        self.metrics.heads.set(inner.running.len() as i64);
    }

    fn serve_demands(&self, inner: &mut Inner) {
        let mut short = 0;
        for Demand { part, n } in std::mem::take(&mut inner.demands) {
            if !part.rendition.is_wanted(n) || !part.needs_head(n) {
                continue;
            }
            if part.can_start(n) {
                if part.rendition.heads() >= PER_RENDITION {
                    if let Some(head) = part.rendition.spare_head() {
                        part.rendition.stop(&head);
                    }
                } else if self.has_slot(inner) {
                    self.start(inner, &part, n);
                    continue;
                } else {
                    short += 1;
                }
            }
            inner.demands.push_back(Demand { part, n });
        }
        self.end_heads(inner, short, Urgency::Waited);
    }

    fn serve_fresh(&self, inner: &mut Inner) {
        let mut short = 0;
        for part in std::mem::take(&mut inner.fresh) {
            if !part.package.is_live() || !part.needs_head(0) || !part.can_start(0) {
                continue;
            }
            if self.has_slot(inner) {
                self.start(inner, &part, 0);
            } else {
                short += 1;
                inner.fresh.push_back(part);
            }
        }
        self.end_heads(inner, short, Urgency::Fresh);
    }

    /// Goes round the incomplete renditions while there are slots that nobody else wants.
    fn serve_backlog(&self, inner: &mut Inner) {
        for _ in 0..inner.backlog.len() {
            if !self.has_slot(inner) {
                return;
            }
            let Some((package, track)) = inner.backlog.pop_front() else {
                return;
            };
            let Some(part) = package.upgrade().and_then(|package| package.part(track)) else {
                continue;
            };
            // What is paced is made for those who wait for it, and only then.
            let gap = part.rendition.first_gap().filter(|_| !part.rendition.is_paced());
            match gap.filter(|_| part.package.is_live() && part.rendition.heads() == 0) {
                Some(n) if part.can_start(n) => self.start(inner, &part, n),
                // Complete, failing, or nobody's: whoever changes that puts it here again.
                None => {}
                // Its source is still arriving: dispatch comes again when it is whole.
                Some(_) => inner.put_off(&part),
            }
        }
    }

    fn has_slot(&self, inner: &Inner) -> bool {
        let working =
            inner.running.iter().filter(|head| !head.control.starved.load(Relaxed)).count();
        working < self.limit && inner.running.len() < self.limit * STARVED_PER_WORKER
    }

    /// Tells as many heads to end as there are heads `short`, least useful first.
    fn end_heads(&self, inner: &Inner, short: usize, urgency: Urgency) {
        let ending = inner.running.iter().filter(|head| head.control.stop.load(Relaxed)).count();
        let useful = |head: &&Running| head.part.rendition.is_followed(&head.control);
        // A head that reads a source on its way could not be followed by another one until that is whole.
        let spare =
            |head: &&Running| !head.control.stop.load(Relaxed) && !head.part.package.is_arriving();
        // Where there are too many processes one that rests is as good as any, where too many work only those count.
        let is_crowded = inner.running.len() >= self.limit * STARVED_PER_WORKER;
        let counts = |head: &&Running| is_crowded || !head.control.starved.load(Relaxed);
        let (followed, unfollowed): (Vec<_>, Vec<_>) =
            inner.running.iter().filter(spare).filter(counts).partition(useful);
        let followed = followed.into_iter().filter(|_| urgency == Urgency::Waited);
        for head in unfollowed.into_iter().chain(followed).take(short.saturating_sub(ending)) {
            head.part.rendition.stop(&head.control);
        }
    }

    fn start(&self, inner: &mut Inner, part: &Part, n: u32) {
        let Some(packager) = self.packager.upgrade() else {
            return;
        };
        let control = part.control(n);
        part.rendition.add_head(control.clone());
        let (own, head) = (part.clone(), control.clone());
        let task = tokio::spawn(async move {
            let run = AssertUnwindSafe(head::run(&packager, &own, &head)).catch_unwind();
            let fell = |_| End::Failed(Error::new(Code::Internal, "a head fell over"));
            let end = run.await.unwrap_or_else(fell);
            packager.workers.ended(&own, &head, end);
            packager.settle(&own).await;
        });
        let (part, task) = (part.clone(), task.abort_handle());
        inner.running.push(Running { part, control, task });
    }

    fn ended(&self, part: &Part, control: &Arc<Control>, end: End) {
        Metrics::count(&self.metrics.heads_ended, end.name());
        if let End::Failed(error) = end {
            let n = control.next.load(Relaxed);
            let track = part.rendition.track;
            tracing::warn!(package = %part.package.key, %track, segment = n, %error, "a head failed");
            part.rendition.fail(n, error);
        }
        let mut inner = self.inner();
        inner.running.retain(|head| !Arc::ptr_eq(&head.control, control));
        part.rendition.remove_head(control);
        inner.put_off(part);
        self.settle(&mut inner);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
