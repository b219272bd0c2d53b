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
    Package, Packager,
    control::Control,
    head::{self, End},
    rendition::Outlook,
};
use crate::{
    error::{Code, Error, Result},
    metrics::Metrics,
};

/// When a caller who was turned away should come back.
const RETRY: Duration = Duration::from_secs(2);

/// Heads of one package at the same time.
const PER_PACKAGE: usize = 2;

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
    fresh: VecDeque<Arc<Package>>,
    backlog: VecDeque<Weak<Package>>,
    closed: bool,
}

#[derive(Debug)]
struct Running {
    package: Arc<Package>,
    control: Arc<Control>,
    task: AbortHandle,
}

/// A segment that somebody waits for and no head will reach soon.
#[derive(Debug)]
struct Demand {
    package: Arc<Package>,
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
        self.demands.retain(|demand| demand.package.audio.is_wanted(demand.n));
    }

    /// Puts a package at the end of the backlog, where it stands once at most.
    fn put_off(&mut self, package: &Arc<Package>) {
        let own = Arc::downgrade(package);
        if !self.backlog.iter().any(|other| other.ptr_eq(&own)) {
            self.backlog.push_back(own);
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
    pub fn want(&self, package: &Arc<Package>, n: u32) -> Result<()> {
        let mut inner = self.inner();
        inner.forget_leavers();
        let asked = |demand: &Demand| demand.n == n && Arc::ptr_eq(&demand.package, package);
        if !inner.demands.iter().any(asked) && needs_head(package, n) {
            if inner.demands.len() >= self.queue {
                return Err(Error::busy("too many segments are waited for", RETRY));
            }
            inner.demands.push_back(Demand { package: package.clone(), n });
        }
        self.settle(&mut inner);
        Ok(())
    }

    /// Somebody is about to play `package`: its first segment comes before anything that nobody waits for.
    pub fn begin(&self, package: &Arc<Package>) {
        let mut inner = self.inner();
        inner.fresh.push_back(package.clone());
        inner.put_off(package);
        self.settle(&mut inner);
    }

    /// `package` is not complete, and can wait.
    pub fn prewarm(&self, package: &Arc<Package>) {
        let mut inner = self.inner();
        inner.put_off(package);
        self.settle(&mut inner);
    }

    /// Something has changed that may let a head start.
    pub fn dispatch(&self) {
        self.settle(&mut self.inner());
    }

    /// Ends the heads of a package that is about to go.
    pub fn end(&self, package: &Arc<Package>) {
        let mut inner = self.inner();
        let own = |head: &mut Running| Arc::ptr_eq(&head.package, package);
        let ended: Vec<_> = inner.running.extract_if(.., own).collect();
        for head in &ended {
            head.task.abort();
            package.audio.remove_head(&head.control);
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
        for Demand { package, n } in std::mem::take(&mut inner.demands) {
            if !package.audio.is_wanted(n) || !needs_head(&package, n) {
                continue;
            }
            if package.can_start(n) {
                if package.audio.heads() >= PER_PACKAGE {
                    if let Some(head) = package.audio.spare_head() {
                        head.stop.store(true, Relaxed);
                    }
                } else if self.has_slot(inner) {
                    self.start(inner, &package, n);
                    continue;
                } else {
                    short += 1;
                }
            }
            inner.demands.push_back(Demand { package, n });
        }
        Self::end_heads(inner, short, Urgency::Waited);
    }

    fn serve_fresh(&self, inner: &mut Inner) {
        let mut short = 0;
        for package in std::mem::take(&mut inner.fresh) {
            if !package.is_live() || !needs_head(&package, 0) || !package.can_start(0) {
                continue;
            }
            if self.has_slot(inner) {
                self.start(inner, &package, 0);
            } else {
                short += 1;
                inner.fresh.push_back(package);
            }
        }
        Self::end_heads(inner, short, Urgency::Fresh);
    }

    /// Goes round the incomplete packages while there are slots that nobody else wants.
    fn serve_backlog(&self, inner: &mut Inner) {
        for _ in 0..inner.backlog.len() {
            if !self.has_slot(inner) {
                return;
            }
            let Some(package) = inner.backlog.pop_front().and_then(|weak| weak.upgrade()) else {
                continue;
            };
            let gap = package.audio.first_gap();
            match gap.filter(|_| package.is_live() && package.audio.heads() == 0) {
                Some(n) if package.can_start(n) => self.start(inner, &package, n),
                // Complete, failing, or nobody's: whoever changes that puts it here again.
                None => {}
                // Its source is still arriving: dispatch comes again when it is whole.
                Some(_) => inner.backlog.push_back(Arc::downgrade(&package)),
            }
        }
    }

    fn has_slot(&self, inner: &Inner) -> bool {
        let working =
            inner.running.iter().filter(|head| !head.control.starved.load(Relaxed)).count();
        working < self.limit && inner.running.len() < self.limit * STARVED_PER_WORKER
    }

    /// Tells as many heads to end as there are heads `short`, least useful first.
    fn end_heads(inner: &Inner, short: usize, urgency: Urgency) {
        let ending = inner.running.iter().filter(|head| head.control.stop.load(Relaxed)).count();
        let useful = |head: &&Running| head.package.audio.is_followed(&head.control);
        // A head that reads a source on its way could not be followed by another one until that is whole.
        let spare =
            |head: &&Running| !head.control.stop.load(Relaxed) && !head.package.is_arriving();
        let (followed, unfollowed): (Vec<_>, Vec<_>) =
            inner.running.iter().filter(spare).partition(useful);
        let followed = followed.into_iter().filter(|_| urgency == Urgency::Waited);
        for head in unfollowed.into_iter().chain(followed).take(short.saturating_sub(ending)) {
            head.control.stop.store(true, Relaxed);
        }
    }

    fn start(&self, inner: &mut Inner, package: &Arc<Package>, n: u32) {
        let Some(packager) = self.packager.upgrade() else {
            return;
        };
        let control = Control::new(n);
        package.audio.add_head(control.clone());
        let (own, head) = (package.clone(), control.clone());
        let task = tokio::spawn(async move {
            let run = AssertUnwindSafe(head::run(&packager, &own, &head)).catch_unwind();
            let fell = |_| End::Failed(Error::new(Code::Internal, "a head fell over"));
            let end = run.await.unwrap_or_else(fell);
            packager.workers.ended(&own, &head, end);
            packager.settle(&own).await;
        });
        let (package, task) = (package.clone(), task.abort_handle());
        inner.running.push(Running { package, control, task });
    }

    fn ended(&self, package: &Arc<Package>, control: &Arc<Control>, end: End) {
        Metrics::count(&self.metrics.heads_ended, end.name());
        if let End::Failed(error) = end {
            let n = control.next.load(Relaxed);
            tracing::warn!(package = %package.key, segment = n, %error, "a head failed");
            package.audio.fail(n, error);
        }
        let mut inner = self.inner();
        inner.running.retain(|head| !Arc::ptr_eq(&head.control, control));
        package.audio.remove_head(control);
        inner.put_off(package);
        self.settle(&mut inner);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn needs_head(package: &Package, n: u32) -> bool {
    matches!(package.audio.outlook(n), Outlook::Needed)
}
