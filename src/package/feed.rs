//! How a head comes by its source: as a file, or through its ffmpeg's stdin while the source arrives.

use std::{ops::Range, sync::Arc};

use tokio::{io::AsyncWriteExt, process::ChildStdin};

use super::{Packager, Part, control::Control};
use crate::{
    error::{Error, Result},
    source::{
        probe::Clock,
        spool::{self, Spool},
    },
};

/// Bytes that go to ffmpeg's stdin at once.
const FEED: usize = 256 * 1024;

/// The source, as much of it as a head needs to begin. While it has to be fetched the head is starved: a slow upstream
/// must not hold up those who have theirs.
pub async fn source(packager: &Packager, part: &Part, control: &Control) -> Result<Arc<Spool>> {
    let fetch = async {
        let source = packager.pin(&part.package).await?.spool().clone();
        if !part.package.plan.pipe {
            source.wait_for(u64::MAX).await?;
        }
        Ok(source)
    };
    let mut fetch = std::pin::pin!(fetch);
    tokio::select! {
        biased;
        here = &mut fetch => return here,
        () = std::future::ready(()) => {}
    }
    let fetched = async {
        packager.workers.dispatch();
        fetch.await
    };
    control.starve(fetched).await
}

/// What ffmpeg gets through its stdin.
#[derive(Debug)]
pub struct Course<'a> {
    /// All of this,
    pub source: &'a Arc<Spool>,
    /// by this clock,
    pub clock: &'a Clock,
    /// but for these bytes.
    pub needless: Option<Range<u64>>,
}

/// Hands the source to ffmpeg as it arrives. A process that stops reading has what it wants.
pub async fn feed(
    packager: &Packager,
    control: &Control,
    course: Course<'_>,
    mut stdin: ChildStdin,
) -> Result<()> {
    let Course { source, clock, mut needless } = course;
    let mut winder = clock.winder();
    let mut at = 0;
    loop {
        let have = match source.available() {
            have if have > at => have,
            _ => {
                let more = async {
                    packager.workers.dispatch();
                    source.wait_for(at + 1).await
                };
                control.starve(more).await?
            }
        };
        if let Some(needless) = needless.take_if(|needless| needless.start <= at)
            && let Some(winder) = &mut winder
        {
            at = needless.end;
            winder.leap(at);
        }
        let len = FEED.min(have.saturating_sub(at) as usize);
        if len == 0 {
            if let Some(winder) = winder {
                // As below.
                let _ = stdin.write_all(&winder.end()).await;
            }
            return Ok(());
        }
        let chunk = spool::read(source, at, len).await;
        let chunk = chunk.map_err(|e| Error::encode_failed(format!("reading a source: {e}")))?;
        at += chunk.len() as u64;
        let chunk = match &mut winder {
            Some(winder) => winder.push(&chunk),
            None => chunk,
        };
        if stdin.write_all(&chunk).await.is_err() {
            return Ok(());
        }
    }
}
