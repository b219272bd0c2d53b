//! The packets of a video stream as ffprobe lists them: `pts,size,flags`.

use super::super::pictures::{Pictures, Shot};

/// All packets so far.
#[derive(Debug)]
pub(super) struct Packets {
    /// What a time is multiplied by: it may count frames of 1001 ticks.
    step: i64,
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
    pub(super) fn new(step: u32) -> Self {
        Self {
            step: i64::from(step),
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
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size);
        let key = flags.starts_with('K');
        match time.parse::<i64>() {
            Ok(time) => {
                let time = time.saturating_mul(self.step);
                self.pictures.push(Shot { time, duration: 0, size, key });
            }
            Err(_) => self.timeless += 1,
        }
        // What is dropped on decoding cannot be dropped on copying.
        if flags.contains('D') {
            self.pictures.spoil();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_or_left_out() {
        let mut packets = Packets::new(1);
        for line in
            ["0,100,K__", "", "x", "N/A,7,___", "3600,50,___", "7200,80,K__", "1,2", "9,x,K"]
        {
            packets.push(line);
        }
        assert_eq!((packets.timeless, packets.bytes), (1, 237));
        let told = packets.pictures.told(90_000, None).unwrap();
        assert_eq!((told.first, told.cuts.map(|cuts| cuts.bytes)), (0, Some(vec![150, 80])));
    }
}
