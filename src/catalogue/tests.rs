use std::fs;

use tempfile::TempDir;

use super::*;

struct Shelf {
    dir: TempDir,
    catalogue: Arc<Catalogue>,
}

impl Shelf {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let top = dir.path().join("music");
        fs::create_dir(&top).unwrap();
        let catalogue = Catalogue::new(Arc::new(Library::new(&[top])), Seen::new());
        Self { dir, catalogue }
    }

    /// A WAV of mono at 8 kHz.
    fn wav(&self, name: &str, samples: u32) {
        let data = samples * 2;
        let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        wav.extend([8000_u32.to_le_bytes(), 16_000_u32.to_le_bytes()].concat());
        wav.extend(b"\x02\0\x10\0data");
        wav.extend(data.to_le_bytes());
        wav.resize(wav.len() + data as usize, 0);
        let size = wav.len() as u32 - 8;
        wav[4..8].copy_from_slice(&size.to_le_bytes());
        self.write(name, &wav);
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join("music").join(name), bytes).unwrap();
    }

    async fn page(&self, after: Option<&str>, limit: usize) -> Page {
        let folder = Path::parse("music").unwrap();
        self.catalogue.list(Some(folder), after.map(str::to_owned), limit).await.unwrap()
    }
}

fn names(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|entry| entry.path.name()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_whatever_happens_in_between() {
    let shelf = Shelf::new();
    for name in ["b.wav", "a.wav", "d.wav", "c.wav"] {
        shelf.wav(name, 8000);
    }
    for folder in ["z", "y", "c.wav2"] {
        fs::create_dir(shelf.dir.path().join("music").join(folder)).unwrap();
    }
    let all = shelf.page(None, PAGE).await;
    assert_eq!(names(&all), ["c.wav2", "y", "z", "a.wav", "b.wav", "c.wav", "d.wav"]);
    assert_eq!(all.next, None);
    for limit in 1..8 {
        let (mut after, mut walked) = (None, Vec::new());
        loop {
            let page = shelf.page(after.as_deref(), limit).await;
            assert!(page.entries.len() <= limit);
            walked.extend(names(&page).into_iter().map(str::to_owned));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(walked, names(&all), "{limit} a page");
    }
    fs::remove_file(shelf.dir.path().join("music/b.wav")).unwrap();
    assert_eq!(names(&shelf.page(Some("b.wav"), 9).await), ["c.wav", "d.wav"]);
    fs::remove_dir(shelf.dir.path().join("music/y")).unwrap();
    assert_eq!(names(&shelf.page(Some("y"), 2).await), ["z", "a.wav"]);
    assert!(shelf.page(Some("z.wav"), 2).await.entries.is_empty());
}

#[tokio::test]
async fn lengths_are_told_and_what_is_no_media_is_left_out() {
    let shelf = Shelf::new();
    shelf.wav("a.wav", 12_000);
    shelf.write("b.wav", b"<html>not here</html>");
    shelf.write("notes.txt", b"text");
    let page = shelf.page(None, PAGE).await;
    assert_eq!(names(&page), ["a.wav"]);
    let file = page.entries[0].file.unwrap();
    assert_eq!((file.kind, file.duration, file.size), (Kind::Audio, Some(1.5), 24_044));
    shelf.wav("a.wav", 16_000);
    let page = shelf.page(None, PAGE).await;
    assert_eq!(page.entries[0].file.unwrap().duration, Some(2.0), "another version is looked into");
}

#[tokio::test]
async fn what_is_not_told_in_time_is_listed_by_its_name_and_known_the_next_time() {
    let shelf = Shelf::new();
    shelf.wav("a.wav", 8000);
    let turns = shelf.catalogue.looks.clone();
    let held = turns.acquire_many(LOOKS as u32).await.unwrap();
    let page = shelf.page(None, PAGE).await;
    assert_eq!(page.entries[0].file.unwrap().duration, None);
    assert_eq!(page.entries[0].file.unwrap().kind, Kind::Audio);
    drop(held);
    while shelf.catalogue.waiting.load(Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
    let page = shelf.page(None, PAGE).await;
    assert_eq!(page.entries[0].file.unwrap().duration, Some(1.0));
}

#[tokio::test]
async fn the_top_lists_the_directories() {
    let shelf = Shelf::new();
    let page = shelf.catalogue.list(None, None, 5).await.unwrap();
    assert_eq!(names(&page), ["music"]);
    assert!(page.entries[0].file.is_none());
    let missing = Path::parse("music/none").unwrap();
    let error = shelf.catalogue.list(Some(missing), None, 5).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}

#[tokio::test]
async fn what_was_looked_into_is_not_looked_into_again() {
    let shelf = Shelf::new();
    shelf.wav("a.wav", 8000);
    shelf.page(None, PAGE).await;
    let path = Path::parse("music/a.wav").unwrap();
    let Found::File(stamp) = shelf.catalogue.library.look(&path).unwrap() else {
        panic!("a file");
    };
    let seen = &shelf.catalogue.seen;
    assert_eq!(seen.get(&path, stamp).unwrap().audio[0].samples, 8000);
    assert_eq!(seen.get(&path, Stamp { size: 1, ..stamp }), None);
}
