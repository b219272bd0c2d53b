use std::{fs, ops::Range, time::Duration};

use super::*;
use crate::package::{
    Lease, VIDEO, extras::tests::House, file::Track, rendition::Rendition, store::Manifest,
    table::SegmentTable,
};

/// Bytes of each segment: 40 of them are nearly all that packages may take by default.
const SEGMENT: u64 = 10_000_000;

/// Segments of five seconds.
const COUNT: u32 = 40;

const NEAR: Option<Distance> = Some(Distance::Ahead(Duration::from_mins(1)));

/// A package of one rendition, of which the segments in `there` are there.
fn package(house: &House, track: Track, there: Range<u32>) -> Arc<Package> {
    let bounds = (0..=u64::from(COUNT)).map(|n| 5 * n).collect();
    let table = SegmentTable::of(1, bounds).unwrap();
    let found: Vec<_> = (0..COUNT).map(|n| there.contains(&n).then_some(SEGMENT)).collect();
    let rendition = Arc::new(house.packager.rendition(track, &table, &found));
    let House { package, packager, .. } = house;
    let (plan, source) = (package.plan.clone(), package.source.clone());
    let mut packages = packager.packages();
    let key = Key::of(&[&packages.len().to_be_bytes()]);
    let package = Arc::new(Package::new(key, plan, source, vec![rendition]));
    let room = packager.room.as_ref().unwrap();
    *lock(&package.room) = Some(room.occupy(package.bytes()));
    packages.insert(key, package.clone());
    package
}

fn rendition(package: &Package) -> &Arc<Rendition> {
    &package.renditions[0]
}

/// The segments that are not there.
fn gone(package: &Package) -> Vec<u32> {
    (0..COUNT).filter(|&n| !rendition(package).is_ready(n)).collect()
}

fn take(house: &House, bytes: u64, than: Option<Distance>) -> Result<Option<Reservation>> {
    let packager = &house.packager;
    packager.take(&mut packager.packages(), bytes, than)
}

fn used(house: &House) -> u64 {
    house.packager.room.as_ref().unwrap().used()
}

#[tokio::test]
async fn what_is_behind_a_player_goes_and_what_is_before_it_stays() {
    let house = House::open().await;
    let film = Lease::new(package(&house, VIDEO, 0..COUNT));
    rendition(film.package()).note(10);
    let held = take(&house, 5 * SEGMENT, NEAR).unwrap().unwrap();
    assert_eq!((gone(film.package()), held.bytes()), ((5..10).collect(), 5 * SEGMENT));
    assert_eq!(used(&house), film.package().bytes() + held.bytes());
    drop(held);
    assert_eq!(used(&house), film.package().bytes());
}

#[tokio::test]
async fn what_a_player_is_about_to_want_goes_for_who_waits_alone() {
    let house = House::open().await;
    let film = Lease::new(package(&house, VIDEO, 0..COUNT));
    // All is within a minute of one of them.
    for n in [0, 12, 24, 36] {
        rendition(film.package()).note(n);
    }
    assert!(take(&house, 2 * SEGMENT, NEAR).is_err());
    assert_eq!(gone(film.package()), [0; 0]);
    // What is made ahead takes from what is farther ahead.
    let than = Some(Distance::Ahead(Duration::from_secs(50)));
    let held = take(&house, 2 * SEGMENT, than).unwrap();
    assert_eq!(gone(film.package()), [23, 35]);
    drop(held);
    let all: Vec<_> = (0..COUNT).map(|n| rendition(film.package()).wait(n)).collect();
    assert!(take(&house, 4 * SEGMENT, None).is_err(), "somebody waits for each of them");
    drop(all);
    let _waiter = rendition(film.package()).wait(1);
    take(&house, 38 * SEGMENT, None).unwrap();
    assert_eq!(gone(film.package()).len(), 38);
    assert!(rendition(film.package()).is_ready(1));
}

#[tokio::test]
async fn packages_that_nobody_plays_go_first_and_sound_stays() {
    let house = House::open().await;
    let unused = package(&house, VIDEO, 0..10);
    house.packager.store.create(unused.key, &(), None).await.unwrap();
    let sound = Lease::new(package(&house, AUDIO, 0..20));
    let film = Lease::new(package(&house, VIDEO, 0..10));
    let first = take(&house, 5 * SEGMENT, NEAR).unwrap();
    assert_eq!(house.packager.packages().len(), 2);
    assert!(gone(film.package()).iter().all(|n| *n >= 10));
    let second = take(&house, 15 * SEGMENT, NEAR).unwrap();
    assert!(take(&house, SEGMENT, NEAR).is_err());
    assert_eq!((film.package().bytes(), sound.package().bytes()), (0, 20 * SEGMENT));
    drop((first, second));
    let too_much = take(&house, 50 * SEGMENT, None);
    assert!(too_much.is_err() && sound.package().bytes() == 20 * SEGMENT);
}

#[tokio::test]
async fn what_is_behind_one_player_goes_before_what_is_ahead_of_another() {
    let house = House::open().await;
    let [ahead, behind] = [(); 2].map(|()| Lease::new(package(&house, VIDEO, 0..20)));
    rendition(behind.package()).note(19);
    rendition(ahead.package()).note(0);
    let _held = take(&house, 5 * SEGMENT, NEAR).unwrap();
    assert_eq!(gone(ahead.package()).len(), 20);
    assert_eq!(gone(behind.package()).len(), 25);
}

#[tokio::test]
async fn a_manifest_never_outlives_a_segment() {
    let house = House::open().await;
    let film = Lease::new(package(&house, VIDEO, 0..COUNT));
    let (package, store) = (film.package(), &house.packager.store);
    store.create(package.key, &(), None).await.unwrap();
    let part = package.part(VIDEO).unwrap();
    house.packager.settle(&part).await;
    let file = |name: &str| house.dir.path().join(package.key.to_string()).join(name);
    fs::write(file("v0-39.m4s"), "a segment").unwrap();
    assert!(file("v0-manifest.json").exists() && package.is_complete());

    assert!(house.packager.evict(1) == SEGMENT && !package.is_complete());
    assert!(!file("v0-manifest.json").exists() && !file("v0-39.m4s").exists());
    house.packager.settle(&part).await;
    assert!(!file("v0-manifest.json").exists());

    // One that was about to be written when a segment went is not written any more.
    let own = part.rendition.clone();
    let manifest = move || own.is_complete().then_some(Manifest { bytes: 1, missing: 0 });
    store.complete(package.key, VIDEO, manifest).await.unwrap();
    assert!(!file("v0-manifest.json").exists());
    assert!(part.rendition.claim(39));
    part.rendition.publish(39, SEGMENT, &Control::new(39));
    house.packager.settle(&part).await;
    assert!(file("v0-manifest.json").exists() && package.is_complete());
}

#[tokio::test]
async fn the_watchdog_takes_what_no_player_is_near() {
    let house = House::open().await;
    let film = Lease::new(package(&house, VIDEO, 0..COUNT));
    rendition(film.package()).note(20);
    assert_eq!(house.packager.evict(3 * SEGMENT - 1), 3 * SEGMENT);
    assert_eq!(house.packager.evict(u64::MAX), 24 * SEGMENT, "all but a minute");
    assert_eq!(film.package().bytes(), 13 * SEGMENT);
    assert_eq!(house.packager.evict(u64::MAX), 0);
}
