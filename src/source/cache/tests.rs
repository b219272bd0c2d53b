use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    cache: Arc<Cache>,
}

fn fixture(size: u64, limit: usize) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        dir: dir.path().join("cache"),
        tempdir: dir.path().join("temp"),
        size,
        limit,
        patience: Duration::from_millis(1),
        room: Some(Room::new(10 * size)),
    };
    std::fs::create_dir(&bounds.dir).unwrap();
    std::fs::create_dir(&bounds.tempdir).unwrap();
    Fixture { dir, cache: Cache::new(bounds, Arc::default()) }
}

impl Fixture {
    async fn add(&self, id: &str, bytes: usize) -> Result<Pin> {
        let (pin, _) = self.cache.create(id, Some(bytes as u64)).await?;
        pin.spool().append(0, &vec![1; bytes]).unwrap();
        self.cache.finish(id, pin.spool(), bytes as u64).unwrap();
        Ok(pin)
    }

    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path().join("cache")).unwrap();
        let mut names: Vec<_> =
            names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn the_longest_unused_goes_first() {
    let f = fixture(3 * 1024 * 1024, 100);
    for id in ["a", "b", "c"] {
        drop(f.add(id, 1024 * 1024).await.unwrap());
    }
    drop(f.cache.pin("a").unwrap());
    drop(f.add("d", 1024 * 1024).await.unwrap());
    assert_eq!(f.files(), ["a", "c", "d"]);
    assert!(f.cache.pin("b").is_none());
}

#[tokio::test]
async fn the_number_of_files_is_bounded_too() {
    let f = fixture(1024 * 1024, 4);
    for n in 0..10 {
        drop(f.add(&n.to_string(), 10).await.unwrap());
    }
    assert_eq!(f.files(), ["6", "7", "8", "9"]);
}

#[tokio::test]
async fn pinned_ones_stay_and_bound_newcomers() {
    let f = fixture(2 * 1024 * 1024, 100);
    let a = f.add("a", 1024 * 1024).await.unwrap();
    let b = f.add("b", 1024 * 1024).await.unwrap();
    assert_eq!(f.add("c", 1024 * 1024).await.unwrap_err().code(), Code::Busy);
    drop(a);
    drop(f.add("c", 1024 * 1024).await.unwrap());
    assert_eq!(f.files(), ["b", "c"]);
    drop(b);
}

#[tokio::test]
async fn one_larger_than_the_cache_is_held_alone_and_goes() {
    let f = fixture(1024 * 1024, 100);
    drop(f.add("small", 1000).await.unwrap());
    let large = f.add("large", 3 * 1024 * 1024).await.unwrap();
    assert_eq!(f.files(), ["large"]);
    assert_eq!(f.add("other", 10).await.unwrap_err().code(), Code::Busy);
    let second = large.clone();
    drop(large);
    assert_eq!(f.files(), ["large"]);
    drop(second);
    assert!(f.files().is_empty());
}

#[tokio::test]
async fn what_can_never_fit_is_told_apart_from_what_must_wait() {
    let f = fixture(1024, 100);
    let error = f.cache.create("huge", Some(20 * 1024)).await.unwrap_err();
    assert_eq!(error.code(), Code::UpstreamTooLarge);
    assert!(error.to_string().contains("cache.killsize.tempdir"), "{error}");
}

#[tokio::test]
async fn files_of_an_earlier_run_are_adopted_or_swept() {
    let f = fixture(1024 * 1024, 100);
    std::fs::write(f.dir.path().join("cache/known"), b"abc").unwrap();
    std::fs::write(f.dir.path().join("cache/unknown"), b"abc").unwrap();
    assert!(f.cache.adopt("known", Some(3)) && !f.cache.adopt("missing", None));
    f.cache.sweep();
    assert_eq!(f.files(), ["known"]);
    assert_eq!(f.cache.pin("known").unwrap().spool().available(), 3);
}
