use proptest::prelude::*;

use super::*;
use crate::package::fmp4::{
    samples::{Sample, Samples},
    video,
};

/// A stream of three fragments of 3, 1 and 2 samples, as this packager writes them.
fn stream() -> Vec<u8> {
    let entry = [&20u32.to_be_bytes()[..], b"avc1", &[7; 12]].concat();
    let track =
        video::Track { timescale: 30_000, duration: 1001, width: 64, height: 32, entry: &entry };
    let mut out = video::init(track).to_vec();
    for (n, count) in [3u8, 1, 2].into_iter().enumerate() {
        let mut samples = Samples::default();
        for i in 0..count {
            let offset = i32::from(i) * 1001 - 1001 * i32::from(i > 1);
            let sample = Sample { size: 0, duration: 1001, offset, sync: i == 0 };
            samples.push(&vec![10 * n as u8 + i; 5 + usize::from(i)], sample).unwrap();
        }
        out.extend_from_slice(&video::segment(n as u32 + 1, n as u64 * 5000, &samples));
    }
    out
}

type Read = (u64, u32, i32, bool, Vec<u8>);

/// What is read of a stream that comes in these pieces, and why it stopped.
fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Read>, Option<Corrupt>, usize) {
    let (mut fragments, mut all) = (Fragments::default(), Vec::new());
    for chunk in chunks {
        fragments.push(chunk);
        loop {
            match fragments.sample() {
                Ok(Some(s)) => all.push((s.time, s.duration, s.offset, s.sync, s.data.to_vec())),
                Ok(None) => break,
                Err(error) => return (all, Some(error), fragments.rest()),
            }
        }
    }
    (all, None, fragments.rest())
}

#[test]
fn samples_come_as_soon_as_their_bytes_do() {
    let stream = stream();
    let (whole, error, rest) = read([stream.as_slice()]);
    assert_eq!((whole.len(), error, rest), (6, None, 0));
    assert_eq!(whole[0], (0, 1001, 0, true, vec![0; 5]));
    assert_eq!(whole[2], (2002, 1001, 1001, false, vec![2; 7]));
    assert_eq!(whole[5], (11_001, 1001, 1001, false, vec![21; 6]));
    let mut fragments = Fragments::default();
    fragments.push(&stream[..stream.len() - 1]);
    let mut count = 0;
    while fragments.sample().unwrap().is_some() {
        count += 1;
    }
    assert_eq!((count, fragments.rest()), (5, 5));
    assert_eq!(fragments.timescale(), Some(30_000));
    assert_eq!(fragments.entry().map(<[u8]>::len), Some(20));
}

#[test]
fn what_does_not_belong_is_refused() {
    let stream = stream();
    let init = stream.windows(4).position(|kind| kind == b"moof").unwrap() - 4;
    let fragment = &stream[init..];
    let (samples, error, _) = read([fragment]);
    assert_eq!((samples.len(), error), (0, Some(Corrupt("a moof before the moov"))));
    let twice = [&stream[..init], &stream[..init]].concat();
    assert!(read([twice.as_slice()]).1.is_some());
    let second = [&stream[..init + 92 + 36], fragment].concat();
    assert!(read([second.as_slice()]).1.is_some());
    let zeros = [&stream[..init], &[0; 100]].concat();
    assert!(read([zeros.as_slice()]).1.is_some());
    let huge = [&stream[..init], &[0x7f, 0, 0, 0], b"moof"].concat();
    assert!(read([huge.as_slice()]).1.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn chunks_make_no_difference(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let stream = stream();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        prop_assert_eq!(read(chunks), read([stream.as_slice()]));
    }

    #[test]
    fn wild_bytes_do_not_panic_nor_pile_up(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), size in 1usize..200,
    ) {
        let mut stream = stream();
        let length = stream.len();
        for (at, value) in changes {
            stream[at.index(length)] = value;
        }
        let (samples, _, _) = read(stream.chunks(size));
        prop_assert!(samples.iter().map(|sample| sample.4.len()).sum::<usize>() <= length);
        prop_assert_eq!(read(stream.chunks(size)).0, read([stream.as_slice()]).0);
    }

    #[test]
    fn garbage_gives_no_samples(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read([bytes.as_slice()]).0.is_empty());
    }
}
