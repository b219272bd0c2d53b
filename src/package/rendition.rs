//! The state of one rendition: which segments are there, who waits, and which heads are on their way.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{Notify, futures::Notified};

use super::{
    control::Control,
    file::Track,
    pace::{Distance, Pace},
    slots::Slots,
    table::SegmentTable,
};
use crate::error::{Code, Error};

/// For how long a segment that could not be made is answered with its error.
const FAILURE_LIFE: Duration = Duration::from_secs(10);

/// What a segment that somebody asks for can expect.
#[derive(Debug)]
pub enum Outlook {
    /// It is there.
    Ready,
    /// It could not be made.
    Failed(Error),
    /// A head will reach it soon.
    Coming,
    /// No head will reach it soon.
    Needed,
}

#[derive(Debug)]
struct Failure {
    tries: u32,
    error: Error,
    at: Instant,
}

/// One rendition of a package.
#[derive(Debug)]
pub struct Rendition {
    /// Its name among them.
    pub track: Track,
    table: SegmentTable,
    state: Mutex<State>,
    changed: Notify,
    missing: AtomicU64,
    distrusted: AtomicBool,
    held: AtomicBool,
    init: OnceLock<Bytes>,
    pace: Option<Pace>,
}

/// Never held across an await.
#[derive(Debug)]
struct State {
    slots: Slots,
    heads: Vec<Arc<Control>>,
    waiting: BTreeMap<u32, usize>,
    failures: HashMap<u32, Failure>,
}

impl Rendition {
    /// A rendition of which those segments are there that have bytes in `found`.
    pub fn new(track: Track, table: SegmentTable, found: &[Option<u64>]) -> Self {
        let state = State {
            slots: Slots::new(table.len(), found),
            heads: Vec::new(),
            waiting: BTreeMap::new(),
            failures: HashMap::new(),
        };
        Self {
            track,
            table,
            state: Mutex::new(state),
            changed: Notify::new(),
            missing: AtomicU64::new(0),
            distrusted: AtomicBool::new(false),
            held: AtomicBool::new(false),
            init: OnceLock::new(),
            pace: None,
        }
    }

    /// The same, made no further ahead of its players than so many seconds.
    #[must_use]
    pub fn paced(self, ahead: Duration) -> Self {
        let pace = Pace::new(self.table.len(), ahead);
        Self { pace: Some(pace), ..self }
    }

    /// Whether it is made only where players are.
    pub fn is_paced(&self) -> bool {
        self.pace.is_some()
    }

    /// A player has asked for segment `n`: heads may go on behind it.
    pub fn note(&self, n: u32) {
        if let Some(pace) = &self.pace {
            pace.note(n);
            self.wake();
        }
    }

    /// Whether a player is near enough before segment `n` for it to be made now.
    pub fn is_due(&self, n: u32) -> bool {
        self.pace.as_ref().is_none_or(|pace| pace.is_due(&self.table, n))
    }

    /// Its cuts.
    pub fn table(&self) -> &SegmentTable {
        &self.table
    }

    /// Bytes of the segments that are there.
    pub fn bytes(&self) -> u64 {
        self.state().slots.bytes()
    }

    /// Frames that the source promised and did not have.
    pub fn missing(&self) -> u64 {
        self.missing.load(Relaxed)
    }

    /// So many frames at the end are not in the source; says whether that is news.
    pub fn add_missing(&self, frames: u64) -> bool {
        self.missing.fetch_max(frames, Relaxed) == 0
    }

    /// Its initialization segment, where that has to be made and has been.
    pub fn init(&self) -> Option<&Bytes> {
        self.init.get()
    }

    /// Its initialization segment is known; the first one stands.
    pub fn set_init(&self, init: Bytes) {
        if self.init.set(init).is_ok() {
            self.wake();
        }
    }

    /// Whether seeking in this source has given less than was there: it is decoded from the start from then on.
    pub fn is_distrusted(&self) -> bool {
        self.distrusted.load(Relaxed)
    }

    /// Seeking in this source cannot be relied on.
    pub fn distrust(&self) {
        self.distrusted.store(true, Relaxed);
    }

    /// Whether the source has shown its last picture before the end of the rendition: that one is held from there on.
    pub fn is_held(&self) -> bool {
        self.held.load(Relaxed)
    }

    /// Holds the last picture of the source; says whether that is news.
    pub fn hold(&self) -> bool {
        !self.held.swap(true, Relaxed)
    }

    /// Whether every segment is there.
    pub fn is_complete(&self) -> bool {
        self.state().slots.is_complete()
    }

    /// Whether every segment is there, and that is news.
    pub fn finish(&self) -> bool {
        self.state().slots.finish()
    }

    /// Whether segment `n` is there.
    pub fn is_ready(&self, n: u32) -> bool {
        self.state().slots.is_ready(n)
    }

    /// Whether any segment is or was there: then something in the source decodes.
    pub fn has_any(&self) -> bool {
        self.state().slots.has_any()
    }

    /// The first segment that is missing and that nothing is known to be wrong with.
    pub fn first_gap(&self) -> Option<u32> {
        let state = self.state();
        if !state.failures.is_empty() {
            return None;
        }
        state.slots.first_gap()
    }

    /// The next change of any segment, from this call on.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Wakes all who wait, for them to look again.
    pub fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Says that somebody waits for segment `n`, or reads it, for as long as the returned guard lives.
    pub fn wait(self: &Arc<Self>, n: u32) -> Waiter {
        *self.state().waiting.entry(n).or_default() += 1;
        // A head that rests looks for those who wait when it is woken.
        self.note(n);
        Waiter { rendition: self.clone(), n }
    }

    /// Whether somebody waits for segment `n`.
    pub fn is_wanted(&self, n: u32) -> bool {
        self.state().waiting.contains_key(&n)
    }

    /// Whether somebody waits for what this head is about to produce.
    pub fn is_followed(&self, head: &Control) -> bool {
        let next = head.next.load(Relaxed);
        let state = self.state();
        state.waiting.range(next..).any(|(&n, _)| state.reach(&self.table, head, n))
    }

    /// What who asks for segment `n` can expect.
    pub fn outlook(&self, n: u32) -> Outlook {
        let mut state = self.state();
        if state.slots.is_ready(n) {
            return Outlook::Ready;
        }
        if state.slots.is_busy(n) {
            return Outlook::Coming;
        }
        if let Some(failure) = state.failures.get(&n) {
            if failure.at.elapsed() > FAILURE_LIFE {
                state.failures.remove(&n);
            } else if failure.tries > 1 {
                return Outlook::Failed(failure.error.clone());
            }
        }
        if state.heads.iter().any(|head| state.reach(&self.table, head, n)) {
            return Outlook::Coming;
        }
        Outlook::Needed
    }

    /// How many heads are on their way.
    pub fn heads(&self) -> usize {
        self.state().heads.len()
    }

    /// The head to end when another is needed elsewhere: one that nobody follows, else the oldest.
    pub fn spare_head(&self) -> Option<Arc<Control>> {
        let heads = self.state().heads.clone();
        let unfollowed = heads.iter().find(|head| !self.is_followed(head));
        unfollowed.or(heads.first()).cloned()
    }

    /// Tells a head to end at the next segment boundary, or at once where it rests.
    pub fn stop(&self, head: &Control) {
        // Who is woken for nothing asks again, and has it told to end again: once is enough.
        if !head.stop.swap(true, Relaxed) {
            self.wake();
        }
    }

    /// A head begins.
    pub fn add_head(&self, head: Arc<Control>) {
        self.state().heads.push(head);
    }

    /// A head has ended.
    pub fn remove_head(&self, head: &Arc<Control>) {
        self.state().heads.retain(|other| !Arc::ptr_eq(other, head));
        self.wake();
    }

    /// Takes segment `n` for writing; false when it is there or somebody else writes it: the first writer wins.
    pub fn claim(&self, n: u32) -> bool {
        self.state().slots.claim(n)
    }

    /// A claimed segment has been written by `head`, with so many bytes.
    pub fn publish(&self, n: u32, bytes: u64, head: &Control) {
        let mut state = self.state();
        // In one go: who saw the segment but not the step would think that the head stops here, and start another.
        head.next.store(n + 1, Relaxed);
        state.slots.publish(n, bytes);
        state.failures.remove(&n);
        drop(state);
        self.wake();
    }

    /// How far players are from segment `n`; None where it is made without regard to them.
    pub fn distance(&self, n: u32) -> Option<Distance> {
        self.pace.as_ref()?.distances(&self.table).nth(n as usize)
    }

    /// The segment that players want last, and how far they are from it, of those that are there and that nobody waits for;
    /// None where it is made without regard to them.
    pub fn expendable(&self) -> Option<(Distance, u32)> {
        let pace = self.pace.as_ref()?;
        let state = self.state();
        if state.slots.bytes() == 0 {
            return None;
        }
        let is_free =
            |&(_, n): &(_, u32)| state.slots.is_ready(n) && !state.waiting.contains_key(&n);
        pace.distances(&self.table).zip(0..).filter(is_free).max()
    }

    /// Takes segment `n` away from those who ask for it, and says how many bytes its file has, which is to be removed before
    /// [`Rendition::unclaim`]; None when it is not there any more, or somebody waits for it by now.
    pub fn let_go(&self, n: u32) -> Option<u64> {
        let mut state = self.state();
        if state.waiting.contains_key(&n) {
            return None;
        }
        state.slots.let_go(n)
    }

    /// A claimed segment could not be written, or its file is removed.
    pub fn unclaim(&self, n: u32) {
        self.state().slots.unclaim(n);
        self.wake();
    }

    /// Segment `n` could not be made. A failed encode is tried once more; anything else is told at once.
    pub fn fail(&self, n: u32, error: Error) {
        let mut state = self.state();
        let at = Instant::now();
        let tries = match state.failures.get(&n) {
            _ if error.code() != Code::EncodeFailed => 2,
            Some(failure) => failure.tries + 1,
            None => 1,
        };
        state.failures.insert(n, Failure { tries, error, at });
        drop(state);
        self.wake();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether `head` will get to segment `n` before a new head could have made it.
    fn reach(&self, table: &SegmentTable, head: &Control, n: u32) -> bool {
        head.reaches(table, n) && self.slots.are_free(head.next.load(Relaxed)..n)
    }
}

/// Somebody who waits for a segment.
#[derive(Debug)]
pub struct Waiter {
    rendition: Arc<Rendition>,
    n: u32,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.rendition.state();
        if let Some(count) = state.waiting.get_mut(&self.n) {
            *count -= 1;
            if *count == 0 {
                state.waiting.remove(&self.n);
            }
        }
    }
}

#[cfg(test)]
mod tests;
