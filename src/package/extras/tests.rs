use std::fs;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;
use crate::{
    config,
    ffmpeg::Ffmpeg,
    metrics::Metrics,
    package::{
        Lease,
        captions::Captions,
        choices::{Choices, Skills},
        plan::Plan,
        playlist::Query,
        store::Store,
        storyboard::{
            Storyboard,
            tests::{run, video},
        },
    },
    source::{
        Sources,
        cache::{Bounds, Cache},
    },
};

/// A package of a video of 60 s, with a storyboard of it.
pub struct House {
    pub packager: Arc<Packager>,
    pub package: Arc<Package>,
    /// As a stream has one: its source, which no upstream has, is not let go of.
    _lease: Lease,
    storyboard: Storyboard,
    pub dir: TempDir,
}

impl House {
    pub async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sound = "-f lavfi -i sine=d=60 -map 1 -map 0 -c:a aac -pix_fmt yuv420p";
        let grey = "16+3*floor(T)";
        let path = video(&dir, "192x108", 60.0, 5, 20, grey, sound);
        let settings = config::Sources::without_file::<&str, &str>([], []).unwrap();
        let settings = settings.load().unwrap();
        let metrics = Arc::new(Metrics::default());
        let ffmpeg = Ffmpeg::find("ffmpeg", 1 << 30).await.unwrap();
        let bounds = Bounds {
            dir: dir.path().to_owned(),
            tempdir: dir.path().to_owned(),
            size: 1 << 30,
            limit: 10,
            patience: Duration::from_secs(1),
            room: None,
        };
        let cache = Cache::new(bounds, metrics.clone());
        let sources = Sources::new(
            &settings,
            Arc::default(),
            cache,
            ffmpeg.clone(),
            metrics.clone(),
            Captions::check,
        );
        let sources = sources.unwrap();
        let (source, pin) = sources.local(&path, None).await.unwrap();

        let plan = Plan::new(&source.media, &Choices::default()).unwrap();
        let storyboard = plan.storyboard.clone().unwrap();
        let packager = Packager::new(
            &settings,
            Store::new(dir.path()),
            sources,
            (ffmpeg, Skills::default()),
            metrics.clone(),
        );
        // Without renditions no heads work beside what is tried here.
        let package = Arc::new(Package::new(Key::of(&[b"video"]), plan, source, Vec::new()));
        *lock(&package.pin) = Some(pin);
        let lease = Lease::new(package.clone());
        Self { packager, package, _lease: lease, storyboard, dir }
    }

    async fn view(&self, file: File) -> Result<Hot> {
        self.packager.view(&self.package, file, Query::default()).await
    }

    fn path(&self, file: File) -> std::path::PathBuf {
        self.dir.path().join(self.package.key.to_string()).join(file.to_string())
    }
}

#[tokio::test]
async fn a_video_has_thumbnails_and_a_waveform() {
    let house = House::open().await;
    let cues = house.view(File::Storyboard).await.unwrap();
    assert_eq!(cues.bytes, house.storyboard.cues(Query::default()));
    assert!(cues.gzip.is_some());

    let files = [File::Sprite(0), File::Sprite(1), File::Peaks];
    let all = files.into_iter().cycle().take(30);
    let made = join_all(all.map(|file| house.view(file))).await;
    let source = house.dir.path().join("video.mp4");
    for (n, sprite) in (0..2).zip(&made) {
        let expected = run(house.storyboard.arguments(n, &Input::File(source.clone()), false));
        assert_eq!(sprite.as_ref().unwrap().bytes, expected, "sprite {n}");
    }
    for (file, again) in files.into_iter().cycle().zip(&made) {
        let kept = fs::read(house.path(file)).unwrap();
        assert_eq!(again.as_ref().unwrap().bytes, kept, "{file}");
    }
    let beyond = house.view(File::Sprite(2)).await.unwrap_err();
    assert_eq!(beyond.code(), Code::NotFound);
}

#[tokio::test]
async fn what_is_on_disk_is_not_made_again() {
    let house = House::open().await;
    fs::create_dir(house.path(File::Peaks).parent().unwrap()).unwrap();
    fs::write(house.path(File::Sprite(1)), "of an earlier run").unwrap();
    assert_eq!(house.view(File::Sprite(1)).await.unwrap().bytes, "of an earlier run");
    assert_eq!(house.packager.store.extras(house.package.key), 17);
}

#[tokio::test]
async fn a_flight_that_nobody_waits_for_does_not_begin() {
    let house = House::open().await;
    let turn = house.packager.extras.turn.acquire().await.unwrap();
    let mut waiting = Box::pin(house.view(File::Peaks));
    let id = (house.package.key, File::Peaks);
    let flight = std::future::poll_fn(|context| {
        assert!(waiting.as_mut().poll(context).is_pending());
        let flights = lock(&house.packager.extras.flights);
        flights.get(&id).and_then(Weak::upgrade).map_or(std::task::Poll::Pending, Into::into)
    });
    let flight = flight.await;
    drop(waiting);
    // Deserted, it leaves: what we hold is all that is left of it.
    while Arc::strong_count(&flight) > 1 {
        tokio::task::yield_now().await;
    }
    assert!(lock(&house.packager.extras.flights).is_empty());
    drop(turn);
    house.view(File::Peaks).await.unwrap();
}

#[tokio::test]
async fn flights_are_bounded() {
    let house = House::open().await;
    let _turn = house.packager.extras.turn.acquire().await.unwrap();
    let boarded: Vec<_> = (0..house.packager.extras.queue as u32)
        .map(|n| house.packager.board(&house.package, File::Sprite(n)).unwrap())
        .collect();
    assert!(house.packager.board(&house.package, File::Sprite(0)).is_ok(), "it is under way");
    let error = house.packager.board(&house.package, File::Peaks).unwrap_err();
    assert_eq!(error.code(), Code::Busy);
    drop(boarded);
}
