//! The packets of a video stream as ffprobe lists them: `pts,size,flags`.

use super::{
    super::{
        pes::wound,
        pictures::{Pictures, Shot},
    },
    transport::Walk,
};

/// What is known of a stream beside its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing that copying could be built on.
    Nothing,
    /// The container's decoder configuration.
    Configuration(Vec<u8>),
    /// What a walk over a transport stream has found: only IDR pictures of that are keyframes.
    Walk(Walk),
}

/// All packets so far.
#[derive(Debug)]
pub(super) struct Packets {
    /// What a time is multiplied by: it may count frames of 1001 ticks.
    step: i64,
    pub(super) known: Known,
    /// IDR pictures of a walk which were met.
    keys: usize,
    /// Those with a time.
    pub(super) pictures: Pictures,
    /// How many have none.
    pub(super) timeless: u64,
    /// How many there are.
    pub(super) count: u64,
    /// Bytes of all.
    pub(super) bytes: u64,
}

impl Packets {
    /// None so far, with times of so many ticks each.
    pub(super) fn new(step: u32, known: Known) -> Self {
        Self {
            step: i64::from(step),
            known,
            keys: 0,
            pictures: Pictures::default(),
            timeless: 0,
            count: 0,
            bytes: 0,
        }
    }

    /// The next packet; a line of another form is left out.
    pub(super) fn push(&mut self, line: &str) {
        let mut fields = line.split(',');
        let (Some(time), Some(size), Some(flags)) = (fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        let Ok(size) = size.parse() else { return };
        // What is dropped on decoding cannot be dropped on copying.
        if flags.contains('D') {
            self.pictures.spoil();
            return;
        }
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size);
        let key = flags.starts_with('K') && self.is_next_key(time);
        match time.parse::<i64>() {
            Ok(time) => {
                let time = time.saturating_mul(self.step);
                self.pictures.push(Shot { time, duration: 0, size, key });
            }
            Err(_) => self.timeless += 1,
        }
    }

    /// Whether no walk says that something else than an IDR picture is shown at this time.
    fn is_next_key(&mut self, time: &str) -> bool {
        let Known::Walk(walk) = &self.known else {
            return true;
        };
        let next = walk.keys.get(self.keys);
        let is = time.parse().is_ok_and(|time| next == Some(&wound(time)));
        self.keys += usize::from(is);
        is
    }

    /// Whether ffprobe has met just those pictures that a walk has.
    pub(super) fn agree(&self, walk: &Walk) -> bool {
        self.timeless == 0 && walk.pictures == self.count && walk.keys.len() == self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 9] = [
        "0,100,K__",
        "",
        "x",
        "N/A,7,___",
        "3600,50,___",
        "7200,80,K__",
        "1,2",
        "9,x,K",
        "10800,9,K",
    ];

    fn walk(keys: &[u64], pictures: u64) -> Walk {
        Walk { keys: keys.to_vec(), pictures, sequence: Vec::new() }
    }

    fn met(known: Known) -> Packets {
        let mut packets = Packets::new(1, known);
        for line in LINES {
            packets.push(line);
        }
        packets
    }

    #[test]
    fn lines_are_understood_or_left_out() {
        let packets = met(Known::Nothing);
        assert_eq!((packets.timeless, packets.count, packets.bytes), (1, 5, 246));
        let told = packets.pictures.told(1_000, None).unwrap();
        assert_eq!((told.first, told.cuts.map(|cuts| cuts.bytes)), (0, Some(vec![150, 80, 9])));
    }

    #[test]
    fn frames_that_an_edit_list_hides_count_for_nothing() {
        let mut packets = Packets::new(1, Known::Nothing);
        for line in ["-40,9,KD_", "0,100,K__", "40,50,___", "4000,50,_D_"] {
            packets.push(line);
        }
        assert_eq!((packets.count, packets.bytes), (2, 150));
        let told = packets.pictures.told(1_000, None).unwrap();
        assert_eq!((told.first, told.length, told.cuts), (0, 80, None));
    }

    #[test]
    fn keyframes_are_idr_pictures_of_a_walk() {
        let packets = met(Known::Walk(walk(&[0, 10_800], 5)));
        let told = packets.pictures.told(1_000, None).unwrap();
        assert_eq!(told.cuts.unwrap().bytes, [230, 9]);

        let agree = |walk: Walk| {
            let mut packets = Packets::new(1, Known::Walk(walk.clone()));
            for line in ["-3600,100,K__", "0,50,___", "3600,80,K__"] {
                packets.push(line);
            }
            packets.agree(&walk)
        };
        let start = (1 << 33) - 3600;
        assert!(agree(walk(&[start, 3600], 3)), "times that wrap");
        assert!(agree(walk(&[start], 3)), "a recovery point");
        for (keys, pictures) in [(&[start, 3600][..], 4), (&[start, 0], 3), (&[0], 3)] {
            assert!(!agree(walk(keys, pictures)), "{keys:?}");
        }
    }
}
