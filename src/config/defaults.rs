//! What holds where nobody says otherwise.

use std::{collections::BTreeMap, time::Duration};

use super::{
    choice::{Container, Copied, Encoder, Preset},
    read::cores,
    settings::{Cache, Captions, Cors, Killsize, Library, Limits, Packager, State, Upstream},
    step::Step,
    units::{GB, KB, MB},
    video::Video,
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            dir: "./data/cache".into(),
            size: 100 * MB,
            limit: 100,
            tempdir: "./data/temp".into(),
            packages: "./data/static".into(),
            expiry: seconds(150),
            memory: 64 * MB,
            revalidate: seconds(300),
            killsize: Killsize::default(),
        }
    }
}

impl Default for Killsize {
    fn default() -> Self {
        Self { enabled: true, tempdir: 200 * MB, packages: 512 * MB }
    }
}

impl Default for State {
    fn default() -> Self {
        Self { dir: "./data/state".into() }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            max_size: 2 * GB,
            connect_timeout: seconds(3),
            first_byte_timeout: seconds(5),
            read_timeout: seconds(10),
            min_rate: 16 * KB,
            fetches: 32,
            wait: seconds(60),
            redirects: 0,
            headers: BTreeMap::new(),
        }
    }
}

impl Default for Library {
    fn default() -> Self {
        Self { dirs: Vec::new(), watch: false, prewarm: false, settle: seconds(2) }
    }
}

impl Default for Captions {
    fn default() -> Self {
        Self { required: false, name: "English".into(), language: "en".into(), max_size: 2 * MB }
    }
}

impl Default for Packager {
    fn default() -> Self {
        Self {
            workers: cores(),
            queue: 64,
            bitrate: 128_000,
            segment: seconds(5),
            container: Container::Cmaf,
            ffmpeg: "ffmpeg".into(),
            memory: GB,
            stall: seconds(20),
            copy: vec![Copied::Aac, Copied::H264],
            copy_bitrate: 256_000,
            video: Video::default(),
        }
    }
}

impl Default for Video {
    fn default() -> Self {
        Self {
            encoder: Encoder::Auto,
            preset: Preset::Veryfast,
            ladder: [
                (1080, 4_500_000),
                (720, 2_500_000),
                (480, 1_200_000),
                (360, 700_000),
                (240, 350_000),
            ]
            .map(|(height, bitrate)| Step { height, bitrate })
            .to_vec(),
            ahead: seconds(60),
        }
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self { origins: vec!["*".into()] }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            bad_handshakes: 20,
            trusted_proxies: Vec::new(),
            segment_wait: seconds(30),
            header: seconds(10),
            body: seconds(10),
            idle: seconds(90),
            write: seconds(60),
            drain: seconds(20),
            batch: 256,
        }
    }
}
