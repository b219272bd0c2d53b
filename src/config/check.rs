//! What is refused: values out of range, and what cannot be.

use std::{
    borrow::Cow,
    ops::RangeInclusive,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use reqwest::header::{HeaderName, HeaderValue};

use super::{
    Fault, Secret, Settings,
    step::Step,
    units::{KB, MB, write_bitrate, write_duration, write_size},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const MOST_STEPS: usize = 8;
const PB: u64 = 1_000_000_000_000_000;

/// Headers that only the client itself can set right.
const RESERVED_HEADERS: [&str; 7] = [
    "accept-encoding",
    "connection",
    "content-length",
    "if-none-match",
    "range",
    "te",
    "transfer-encoding",
];

/// Refuses what is out of range, by the first key.
pub(super) fn check(settings: &Settings) -> Result<(), Fault> {
    sizes(settings)?;
    durations(settings)?;
    counts(settings)?;
    secrets("handshake", &settings.handshake)?;
    if settings.handshake.is_empty() {
        return Err(Fault::new("handshake", "must hold at least one secret"));
    }
    secrets("token.secret", &settings.token.secret)?;
    headers(settings)?;
    captions(settings)?;
    ladder(settings)?;
    addresses(settings)?;
    directories(settings)?;
    library(settings)
}

fn sizes(settings: &Settings) -> Result<(), Fault> {
    let Settings { cache, upstream, captions, packager, .. } = settings;
    for (key, value, range) in [
        ("cache.size", cache.size, KB..=PB),
        ("cache.memory", cache.memory, MB..=PB),
        ("cache.killsize.tempdir", cache.killsize.tempdir, KB..=PB),
        ("cache.killsize.static", cache.killsize.packages, KB..=PB),
        ("upstream.max_size", upstream.max_size, KB..=PB),
        ("upstream.min_rate", upstream.min_rate, 0..=1_000 * MB),
        ("captions.max_size", captions.max_size, KB..=100 * MB),
        ("packager.memory", packager.memory, 128 * MB..=PB),
    ] {
        within(key, &value, &range, |bytes| write_size(*bytes))?;
    }
    for (key, bits) in
        [("packager.bitrate", packager.bitrate), ("packager.copy_bitrate", packager.copy_bitrate)]
    {
        within(key, &bits, &(16_000..=512_000), |bits| write_bitrate(*bits))?;
    }
    Ok(())
}

fn ladder(settings: &Settings) -> Result<(), Fault> {
    let (key, steps) = ("packager.video.ladder", &settings.packager.video.ladder);
    if steps.is_empty() || steps.len() > MOST_STEPS {
        return Err(Fault::new(key, format!("must hold 1 to {MOST_STEPS} steps")));
    }
    for step in steps {
        within(key, &step.height, &(64..=4320), |height| format!("a height of {height}"))?;
        within(key, &step.bitrate, &(50_000..=50_000_000), |bits| write_bitrate(*bits))?;
    }
    let falls =
        |pair: &[Step]| matches!(pair, [a, b] if a.height <= b.height || a.bitrate <= b.bitrate);
    if steps.windows(2).any(falls) {
        return Err(Fault::new(
            key,
            "each step must be lower and take fewer bits than the one before it",
        ));
    }
    Ok(())
}

fn durations(settings: &Settings) -> Result<(), Fault> {
    let Settings { cache, upstream, library, packager, limits, .. } = settings;
    let wait = SECOND / 100..=HOUR;
    for (key, value, range) in [
        ("cache.expiry", cache.expiry, SECOND..=24 * 366 * HOUR),
        ("cache.revalidate", cache.revalidate, SECOND..=24 * 366 * HOUR),
        ("upstream.connect_timeout", upstream.connect_timeout, wait.clone()),
        ("upstream.first_byte_timeout", upstream.first_byte_timeout, wait.clone()),
        ("upstream.read_timeout", upstream.read_timeout, wait.clone()),
        ("upstream.wait", upstream.wait, wait.clone()),
        ("library.settle", library.settle, wait.clone()),
        ("packager.segment", packager.segment, SECOND..=60 * SECOND),
        ("packager.stall", packager.stall, wait.clone()),
        ("packager.video.ahead", packager.video.ahead, 10 * SECOND..=24 * HOUR),
        ("limits.segment_wait", limits.segment_wait, wait.clone()),
        ("limits.header", limits.header, wait.clone()),
        ("limits.body", limits.body, wait.clone()),
        ("limits.idle", limits.idle, wait.clone()),
        ("limits.write", limits.write, wait.clone()),
        ("limits.drain", limits.drain, wait),
    ] {
        within(key, &value, &range, |span| write_duration(*span))?;
    }
    Ok(())
}

fn counts(settings: &Settings) -> Result<(), Fault> {
    let Settings { cache, upstream, packager, limits, .. } = settings;
    for (key, value, range) in [
        ("cache.limit", cache.limit, 1..=1_000_000),
        ("upstream.fetches", upstream.fetches, 1..=10_000),
        ("upstream.redirects", upstream.redirects, 0..=10),
        ("packager.workers", packager.workers, 1..=1_024),
        ("packager.queue", packager.queue, 1..=100_000),
        ("limits.connections", limits.connections, 1..=1_000_000),
        ("limits.bad_handshakes", limits.bad_handshakes as usize, 1..=1_000_000),
        ("limits.batch", limits.batch, 1..=10_000),
    ] {
        within(key, &value, &range, ToString::to_string)?;
    }
    Ok(())
}

fn within<T: PartialOrd>(
    key: &str,
    value: &T,
    range: &RangeInclusive<T>,
    write: impl Fn(&T) -> String,
) -> Result<(), Fault> {
    if range.contains(value) {
        return Ok(());
    }
    let (value, least, most) = (write(value), write(range.start()), write(range.end()));
    Err(Fault::new(key, format!("{value} is out of range: from {least} to {most}")))
}

fn secrets(key: &str, secrets: &[Secret]) -> Result<(), Fault> {
    for secret in secrets.iter().map(Secret::expose) {
        let what = match secret {
            "" => "must not be empty",
            super::secret::MASK => "is masked; put the secret itself in place of ***",
            _ if secret.trim() != secret => {
                "begins or ends with blanks or a line break; remove them"
            }
            _ if secret.chars().any(char::is_control) => "holds a control character",
            _ => continue,
        };
        return Err(Fault::new(key, what));
    }
    Ok(())
}

fn headers(settings: &Settings) -> Result<(), Fault> {
    for (name, value) in &settings.upstream.headers {
        let key = format!("upstream.headers.{}", name.escape_debug());
        secrets(&key, std::slice::from_ref(value))?;
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Fault::new(key, "is not the name of an HTTP header"));
        }
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(Fault::new(key, "is set by the broker itself"));
        }
        if HeaderValue::from_str(value.expose()).is_err() {
            return Err(Fault::new(key, "holds what an HTTP header cannot carry"));
        }
    }
    Ok(())
}

/// Both names end in quoted strings of a playlist (RFC 8216 section 4.2).
fn captions(settings: &Settings) -> Result<(), Fault> {
    let name = &settings.captions.name;
    if name.chars().count() > 64 || name.chars().any(|c| c == '"' || c.is_control()) {
        return Err(Fault::new(
            "captions.name",
            "must be at most 64 characters without quotes and line breaks",
        ));
    }
    let language = &settings.captions.language;
    let subtag = |tag: &str| {
        (1..=8).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if !language.starts_with(|c: char| c.is_ascii_alphabetic()) || !language.split('-').all(subtag)
    {
        let shown = super::units::shown(language);
        return Err(Fault::new(
            "captions.language",
            format!("{shown} is not a language tag such as en or pt-BR"),
        ));
    }
    Ok(())
}

/// Two listeners cannot share one address.
fn addresses(settings: &Settings) -> Result<(), Fault> {
    let main = (settings.host, settings.port).into();
    let taken = [
        ("listen.api", settings.listen.api, vec![main]),
        (
            "listen.metrics",
            settings.listen.metrics,
            [Some(main), settings.listen.api].into_iter().flatten().collect(),
        ),
    ];
    for (key, address, others) in taken {
        if let Some(address) =
            address.filter(|address| address.port() != 0 && others.contains(address))
        {
            return Err(Fault::new(
                key,
                format!("{address} is in use by another part of the broker"),
            ));
        }
    }
    Ok(())
}

/// No directory may be, or lie within, another one: each is emptied and measured on its own. The library's may overlap
/// among themselves: they are only read.
fn directories(settings: &Settings) -> Result<(), Fault> {
    let own = [
        ("cache.dir", &settings.cache.dir),
        ("cache.tempdir", &settings.cache.tempdir),
        ("cache.static", &settings.cache.packages),
        ("state.dir", &settings.state.dir),
    ];
    let library = settings.library.dirs.iter().map(|dir| ("library.dirs", dir));
    let all: Vec<_> =
        own.into_iter().chain(library).map(|(key, dir)| (key, dir, flatten(dir))).collect();
    for (i, (one_key, one, one_flat)) in all.iter().enumerate().take(own.len()) {
        for (key, dir, flat) in all.iter().skip(i + 1) {
            if one_flat.starts_with(flat) || flat.starts_with(one_flat) {
                let what =
                    format!("{} and {one_key} ({}) must lie apart", dir.display(), one.display());
                return Err(Fault::new(*key, what));
            }
        }
    }
    Ok(())
}

/// Directories that can be listed now, each with a name of its own.
fn library(settings: &Settings) -> Result<(), Fault> {
    let mut names: Vec<(&str, Cow<'_, str>)> = Vec::new();
    for dir in &settings.library.dirs {
        let shown = dir.to_string_lossy();
        let fault = |what: &str| Fault::new("library.dirs", format!("{shown:?} {what}"));
        let name = dir.file_name().and_then(|name| name.to_str());
        let name = name.filter(|name| !name.starts_with('.') && !name.contains(char::is_control));
        let Some(name) = name else {
            let what = "has no name to list it by; its last part must be one that is not hidden";
            return Err(fault(what));
        };
        if let Some((_, other)) = names.iter().find(|(taken, _)| *taken == name) {
            let what = format!(
                "has the same last part as {other:?}; each is listed by it, so they must differ"
            );
            return Err(fault(&what));
        }
        if let Err(error) = std::fs::read_dir(dir) {
            let what = format!("cannot be read ({error}); it must be a directory that exists");
            return Err(fault(&what));
        }
        names.push((name, shown));
    }
    Ok(())
}

/// Without `..`, by the letters alone: the directories need not exist yet.
fn flatten(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut flat, part| {
        if part == Component::ParentDir {
            flat.pop();
        } else {
            flat.push(part);
        }
        flat
    })
}
