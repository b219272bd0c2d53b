//! The state of one rendition: which segments are there, who waits, and which heads are on their way.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{Notify, futures::Notified};

use super::{control::Control, file::Track, table::SegmentTable};
use crate::error::{Code, Error};

/// For how long a segment that could not be made is answered with its error.
const FAILURE_LIFE: Duration = Duration::from_secs(10);

/// For how long a player that has asked for a segment is taken to go on from there.
const ATTENTION: Duration = Duration::from_secs(30);

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Missing,
    Writing,
    Ready,
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
    bytes: AtomicU64,
    missing: AtomicU64,
    distrusted: AtomicBool,
    finished: AtomicBool,
    init: OnceLock<Bytes>,
    pace: Option<Pace>,
}

/// What keeps heads from running far ahead of the players that they work for.
#[derive(Debug)]
struct Pace {
    /// Seconds of media.
    ahead: f64,
    began: Instant,
    /// When each segment was asked for last, in seconds from `began` on, plus 1; 0 for never.
    asked: Box<[AtomicU32]>,
}

/// Never held across an await.
#[derive(Debug)]
struct State {
    slots: Vec<Slot>,
    missing: usize,
    heads: Vec<Arc<Control>>,
    waiting: BTreeMap<u32, usize>,
    failures: HashMap<u32, Failure>,
}

impl Rendition {
    /// A rendition of which the segments marked in `ready` are there, with `bytes` in all.
    pub fn new(track: Track, table: SegmentTable, ready: &[bool], bytes: u64) -> Self {
        let slot = |n: u32| match ready.get(n as usize) {
            Some(true) => Slot::Ready,
            _ => Slot::Missing,
        };
        let slots: Vec<_> = (0..table.len()).map(slot).collect();
        let missing = slots.iter().filter(|&&slot| slot != Slot::Ready).count();
        let state = State {
            slots,
            missing,
            heads: Vec::new(),
            waiting: BTreeMap::new(),
            failures: HashMap::new(),
        };
        Self {
            track,
            table,
            state: Mutex::new(state),
            changed: Notify::new(),
            bytes: AtomicU64::new(bytes),
            missing: AtomicU64::new(0),
            distrusted: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            init: OnceLock::new(),
            pace: None,
        }
    }

    /// The same, made no further ahead of its players than so many seconds.
    #[must_use]
    pub fn paced(self, ahead: Duration) -> Self {
        let asked = (0..self.table.len()).map(|_| AtomicU32::new(0)).collect();
        let pace = Pace { ahead: ahead.as_secs_f64(), began: Instant::now(), asked };
        Self { pace: Some(pace), ..self }
    }

    /// Whether it is made only where players are.
    pub fn is_paced(&self) -> bool {
        self.pace.is_some()
    }

    /// A player has asked for segment `n`: heads may go on behind it.
    pub fn note(&self, n: u32) {
        if let Some(pace) = &self.pace
            && let Some(asked) = pace.asked.get(n as usize)
        {
            asked.store(pace.now(), Relaxed);
            self.wake();
        }
    }

    /// Whether a player is near enough before segment `n` for it to be made now.
    pub fn is_due(&self, n: u32) -> bool {
        let Some(pace) = &self.pace else {
            return true;
        };
        let recent = pace.now().saturating_sub(ATTENTION.as_secs() as u32).max(1);
        let mut way = 0.0;
        for at in (0..=n).rev() {
            if pace.asked.get(at as usize).is_some_and(|asked| asked.load(Relaxed) >= recent) {
                return true;
            }
            way += self.table.seconds(at).unwrap_or_default();
            if way > pace.ahead {
                break;
            }
        }
        false
    }

    /// Its cuts.
    pub fn table(&self) -> &SegmentTable {
        &self.table
    }

    /// Bytes of the segments that are there.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Frames that the source promised and did not have.
    pub fn missing(&self) -> u64 {
        self.missing.load(Relaxed)
    }

    /// Counts frames that the source does not have; says whether they are the first.
    pub fn add_missing(&self, frames: u64) -> bool {
        self.missing.fetch_add(frames, Relaxed) == 0
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

    /// Whether every segment is there.
    pub fn is_complete(&self) -> bool {
        self.state().missing == 0
    }

    /// Marks it as finished; says whether that is news.
    pub fn finish(&self) -> bool {
        !self.finished.swap(true, Relaxed)
    }

    /// Whether segment `n` is there.
    pub fn is_ready(&self, n: u32) -> bool {
        self.state().slots.get(n as usize) == Some(&Slot::Ready)
    }

    /// Whether any segment is there: then something in the source decodes.
    pub fn has_any(&self) -> bool {
        let state = self.state();
        state.missing < state.slots.len()
    }

    /// The first segment that is missing and that nothing is known to be wrong with.
    pub fn first_gap(&self) -> Option<u32> {
        let state = self.state();
        if !state.failures.is_empty() {
            return None;
        }
        let gap = state.slots.iter().position(|&slot| slot == Slot::Missing);
        gap.map(|n| n as u32)
    }

    /// The next change of any segment, from this call on.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Wakes all who wait, for them to look again.
    pub fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Says that somebody waits for segment `n` for as long as the returned guard lives.
    pub fn wait(self: &Arc<Self>, n: u32) -> Waiter {
        self.note(n);
        *self.state().waiting.entry(n).or_default() += 1;
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
        match state.slots.get(n as usize) {
            Some(Slot::Ready) => return Outlook::Ready,
            Some(Slot::Writing) => return Outlook::Coming,
            _ => {}
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
        let mut state = self.state();
        match state.slots.get_mut(n as usize) {
            Some(slot @ Slot::Missing) => {
                *slot = Slot::Writing;
                true
            }
            _ => false,
        }
    }

    /// A claimed segment has been written by `head`, with so many bytes.
    pub fn publish(&self, n: u32, bytes: u64, head: &Control) {
        let mut state = self.state();
        // In one go: who saw the segment but not the step would think that the head stops here, and start another.
        head.next.store(n + 1, Relaxed);
        if let Some(slot @ Slot::Writing) = state.slots.get_mut(n as usize) {
            *slot = Slot::Ready;
            state.missing -= 1;
            state.failures.remove(&n);
            self.bytes.fetch_add(bytes, Relaxed);
        }
        drop(state);
        self.wake();
    }

    /// A claimed segment could not be written.
    pub fn unclaim(&self, n: u32) {
        if let Some(slot @ Slot::Writing) = self.state().slots.get_mut(n as usize) {
            *slot = Slot::Missing;
        }
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

impl Pace {
    fn now(&self) -> u32 {
        self.began.elapsed().as_secs() as u32 + 1
    }
}

impl State {
    /// Whether `head` will get to segment `n` before a new head could have made it.
    fn reach(&self, table: &SegmentTable, head: &Control, n: u32) -> bool {
        let way = head.next.load(Relaxed) as usize..n as usize;
        let is_free = |way: &[Slot]| !way.contains(&Slot::Ready);
        head.reaches(table, n) && self.slots.get(way).is_some_and(is_free)
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
mod tests {
    use super::*;

    fn rendition() -> Arc<Rendition> {
        let table = SegmentTable::audio(25_841, 44_100, Duration::from_secs(5));
        Arc::new(Rendition::new(super::super::AUDIO, table, &[true, false], 100))
    }

    fn needed(rendition: &Rendition, n: u32) -> bool {
        matches!(rendition.outlook(n), Outlook::Needed)
    }

    fn coming(rendition: &Rendition, n: u32) -> bool {
        matches!(rendition.outlook(n), Outlook::Coming)
    }

    #[test]
    fn a_head_is_waited_for_only_if_it_is_near() {
        let r = rendition();
        assert!(matches!(r.outlook(0), Outlook::Ready) && needed(&r, 1));
        let head = Control::new(1);
        r.add_head(head.clone());
        assert!(coming(&r, 1) && coming(&r, 2) && needed(&r, 100));
        head.stop.store(true, Relaxed);
        assert!(coming(&r, 1) && needed(&r, 2), "it still makes what it was started for");
        r.remove_head(&head);
        assert!(needed(&r, 1));
    }

    #[test]
    fn a_head_ends_where_another_has_been() {
        let r = rendition();
        assert!(r.claim(2));
        r.publish(2, 10, &Control::new(2));
        r.add_head(Control::new(1));
        assert!(coming(&r, 1) && needed(&r, 3));
    }

    #[test]
    fn a_head_is_still_on_its_way_once_it_has_published() {
        let r = rendition();
        let head = Control::new(1);
        r.add_head(head.clone());
        assert!(r.claim(1) && coming(&r, 2));
        r.publish(1, 10, &head);
        assert!(r.is_ready(1) && coming(&r, 2) && coming(&r, 3));
    }

    #[test]
    fn what_is_paced_is_due_only_behind_a_player() {
        let r = Arc::try_unwrap(rendition()).unwrap();
        assert!(r.is_due(100), "what is not paced always is");
        let r = r.paced(Duration::from_secs(20));
        assert!(!r.is_due(0) && !r.is_due(50));
        r.note(50);
        assert!(r.is_due(50) && r.is_due(54), "20 s are 4 segments");
        assert!(!r.is_due(55) && !r.is_due(49));
        r.note(10_000);
    }

    #[test]
    fn the_first_writer_wins() {
        let r = rendition();
        assert!(!r.claim(0), "it is there");
        assert!(r.claim(1) && !r.claim(1));
        assert!(coming(&r, 1));
        r.unclaim(1);
        assert!(r.claim(1));
        r.publish(1, 50, &Control::new(1));
        assert!(r.is_ready(1) && r.bytes() == 150 && !r.claim(1));
        assert!(!r.claim(10_000), "past the end");
    }

    #[test]
    fn a_failed_encode_is_tried_once_more() {
        let r = rendition();
        let error = Error::new(Code::EncodeFailed, "no");
        r.fail(1, error.clone());
        assert!(needed(&r, 1) && r.first_gap().is_none());
        r.fail(1, error);
        assert!(matches!(r.outlook(1), Outlook::Failed(_)));
        assert!(needed(&r, 2), "other segments are not judged by it");
        r.fail(2, Error::new(Code::UpstreamFailed, "no"));
        assert!(matches!(r.outlook(2), Outlook::Failed(_)));
    }

    #[test]
    fn waiters_are_counted_and_followed() {
        let r = rendition();
        let (one, two) = (r.wait(3), r.wait(3));
        let head = Control::new(1);
        assert!(r.is_wanted(3) && r.is_followed(&head));
        drop(one);
        assert!(r.is_wanted(3));
        drop(two);
        assert!(!r.is_wanted(3) && !r.is_followed(&head));
    }

    #[test]
    fn the_spare_head_is_one_that_nobody_follows() {
        let r = rendition();
        let (near, far) = (Control::new(1), Control::new(50));
        r.add_head(near.clone());
        r.add_head(far.clone());
        let _waiter = r.wait(1);
        assert!(Arc::ptr_eq(&r.spare_head().unwrap(), &far));
    }
}
