use super::*;

fn rendition() -> Arc<Rendition> {
    let table = SegmentTable::audio(25_841, 44_100, Duration::from_secs(5));
    Arc::new(Rendition::new(crate::package::AUDIO, table, &[Some(100), None]))
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
fn a_head_that_copies_comes_to_everything_behind_it_first() {
    let r = rendition();
    let head = Control::copying(2);
    r.add_head(head.clone());
    assert!(coming(&r, 2) && coming(&r, r.table().len() - 1) && needed(&r, 1));
    head.stop.store(true, Relaxed);
    assert!(coming(&r, 2) && needed(&r, 3), "it goes no further");
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

/// Paced, with every segment there: segment `n` has `n + 1` bytes.
fn film() -> Arc<Rendition> {
    let table = SegmentTable::audio(25_841, 44_100, Duration::from_secs(5));
    let found: Vec<_> = (0..table.len()).map(|n| Some(u64::from(n) + 1)).collect();
    let film = Rendition::new(crate::package::VIDEO, table, &found);
    Arc::new(film.paced(Duration::from_secs(20)))
}

#[test]
fn what_players_want_last_goes_and_comes_back() {
    let film = film();
    assert!(film.finish() && !film.finish());
    let (bytes, last) = (film.bytes(), film.table().len() - 1);
    film.note(50);
    let (distance, n) = film.expendable().unwrap();
    assert!(matches!(distance, Distance::Behind(_)) && n == 49, "{distance:?}, {n}");
    assert_eq!(film.let_go(n), Some(50));
    assert_eq!(film.let_go(n), None, "it is about to go");
    assert!(coming(&film, n) && !film.claim(n) && !film.is_complete());
    film.unclaim(n);
    assert!(needed(&film, n) && film.bytes() == bytes - 50 && film.has_any());
    (0..50).rev().filter(|&m| m != n).for_each(|m| {
        assert_eq!(film.expendable().map(|found| found.1), Some(m));
        film.let_go(m);
        film.unclaim(m);
    });
    assert_eq!(film.expendable().map(|found| found.1), Some(last), "the farthest ahead");

    assert!(!film.finish());
    for m in 0..50 {
        assert!(film.claim(m));
        film.publish(m, u64::from(m) + 1, &Control::new(m));
    }
    assert!(film.finish() && film.bytes() == bytes, "it is finished once more");
}

#[test]
fn what_somebody_waits_for_stays() {
    let film = film();
    let waiters: Vec<_> = (0..film.table().len()).map(|n| film.wait(n)).collect();
    assert!(film.expendable().is_none());
    assert_eq!(film.let_go(7), None);
    drop(waiters);
    assert_eq!(film.let_go(7), Some(8));
}

#[test]
fn what_is_made_without_regard_to_players_stays() {
    let sound = rendition();
    assert!(sound.expendable().is_none() && sound.distance(0).is_none());
}

#[test]
fn frames_that_are_found_missing_again_count_once() {
    let r = rendition();
    assert!(r.add_missing(10) && !r.add_missing(10) && !r.add_missing(4));
    assert_eq!(r.missing(), 10);
}
