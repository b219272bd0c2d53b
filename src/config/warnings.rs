//! What is allowed but weak, or does not fit together.

use std::fmt::Display;

use super::{
    Container, Copied, Settings, Upstream,
    read::cores,
    units::{write_duration, write_size},
};

/// The handshake of the shipped `hls.yaml`, which everybody knows.
pub const SAMPLE_HANDSHAKE: &str = "I-AM-A-SECRET-KEY";

/// Bytes below which a signing secret can be searched for (RFC 7518 section 3.2, HS256).
const STRONG_SECRET: usize = 32;

/// Bytes below which a handshake can be guessed.
const STRONG_HANDSHAKE: usize = 16;

/// What the operator should know, a sentence each: weak secrets, and capacities that do not fit together.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |applies: bool, text: String| {
        if applies {
            warnings.push(text);
        }
    };
    weaknesses(settings, &mut warn);
    misfits(settings, &mut warn);
    warnings
}

fn weaknesses(settings: &Settings, warn: &mut impl FnMut(bool, String)) {
    let Settings { handshake, token, listen, public_url, limits, .. } = settings;
    let sample = handshake.iter().any(|secret| secret.expose() == SAMPLE_HANDSHAKE);
    warn(sample, "handshake: this is the sample's, which everybody knows; set your own".into());
    let short = handshake.iter().any(|secret| secret.expose().len() < STRONG_HANDSHAKE);
    warn(short, format!("handshake: shorter than {STRONG_HANDSHAKE} bytes can be guessed"));
    let short = token.secret.iter().any(|secret| secret.expose().len() < STRONG_SECRET);
    warn(short, format!("token.secret: shorter than {STRONG_SECRET} bytes can be searched for"));
    warn(
        listen.api.is_some() && public_url.is_none(),
        "public_url: not set, so the url in replies names the address of listen.api, which players may not reach".into(),
    );
    let everybody = limits.trusted_proxies.iter().any(|net| net.prefix_len() == 0);
    warn(
        everybody,
        "limits.trusted_proxies: holds everybody, so anybody can claim any address".into(),
    );
}

fn misfits(settings: &Settings, warn: &mut impl FnMut(bool, String)) {
    let Settings { cache, upstream, library, packager, limits, .. } = settings;
    let killsize = &cache.killsize;
    let differ = |key: &str, value: &dyn Display, other: &str, limit: &dyn Display, then: &str| {
        format!("{key}: {value} is more than {other} ({limit}): {then}")
    };
    let bytes = |key, value, other, limit, then| {
        differ(key, &write_size(value), other, &write_size(limit), then)
    };
    // Left at its default it is nobody's promise: who asks for such a source is told then.
    let chosen = upstream.max_size != Upstream::default().max_size;
    warn(
        chosen && killsize.enabled && upstream.max_size > killsize.tempdir,
        bytes(
            "upstream.max_size",
            upstream.max_size,
            "cache.killsize.tempdir",
            killsize.tempdir,
            "a source between the two can never be downloaded",
        ),
    );
    warn(
        killsize.enabled && cache.size > killsize.packages,
        bytes(
            "cache.size",
            cache.size,
            "cache.killsize.static",
            killsize.packages,
            "packages of the sources held cannot all be kept",
        ),
    );
    // Eviction starts at 80 %; the wrapping adds less than 5 % to the encoded bits.
    let hour = u64::from(packager.bitrate) / 8 * 3600 / 100 * 105;
    warn(
        killsize.enabled && hour > killsize.packages / 10 * 8,
        bytes(
            "packager.bitrate",
            hour,
            "80% of cache.killsize.static",
            killsize.packages / 10 * 8,
            "that is one hour of audio, and cannot be packaged",
        ),
    );
    warn(
        library.dirs.is_empty() && (library.watch || library.prewarm),
        "library.watch, library.prewarm: do nothing as long as library.dirs is empty".into(),
    );
    warn(
        library.prewarm && !killsize.enabled,
        "library.prewarm: does nothing without cache.killsize.enabled, since it stops at half of cache.killsize.static".into(),
    );
    let is_cmaf_only = |codec: &&Copied| matches!(codec, Copied::Opus | Copied::Flac);
    for codec in packager.copy.iter().filter(is_cmaf_only) {
        let container = packager.container;
        warn(
            container != Container::Cmaf,
            format!(
                "packager.copy: {codec} is copied into cmaf only, though packager.container is {container}"
            ),
        );
    }
    let cores = cores();
    warn(
        packager.workers > cores,
        differ(
            "packager.workers",
            &packager.workers,
            "the cores",
            &cores,
            "encoders will slow each other down",
        ),
    );
    warn(
        cache.memory > killsize.packages && killsize.enabled,
        bytes(
            "cache.memory",
            cache.memory,
            "cache.killsize.static",
            killsize.packages,
            "the rest is never used",
        ),
    );
    let (segment, idle) = (write_duration(packager.segment), write_duration(limits.idle));
    warn(
        packager.segment > limits.idle / 2,
        differ(
            "packager.segment",
            &segment,
            "half of limits.idle",
            &idle,
            "players connect anew for every segment",
        ),
    );
}
