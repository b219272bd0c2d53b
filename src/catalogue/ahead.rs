//! Packages before anybody asks: one after the other, when nobody else needs a worker or the disk.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use crate::{
    error::{Code, Result},
    library::Path,
    package::Packager,
    source::{Sources, Wanted},
};

/// How often workers that are busy are looked at.
const BUSY: Duration = Duration::from_secs(1);

/// How long a disk that is needed otherwise is left alone, at first and at most.
const FULL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));

/// Files to be packaged ahead, each once, in the order of their paths.
#[derive(Debug, Default)]
pub struct Queue {
    paths: Mutex<BTreeSet<Path>>,
    pushed: Notify,
}

impl Queue {
    /// Puts a file into the queue, if it is not there already.
    pub fn push(&self, path: Path) {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
        self.pushed.notify_one();
    }

    /// The next file, once there is one; it is in the queue no more.
    pub async fn next(&self) -> Path {
        loop {
            let first = self.paths.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match first {
                Some(path) => return path,
                None => self.pushed.notified().await,
            }
        }
    }
}

/// Packages what comes into the queue, for ever.
pub async fn run(queue: Arc<Queue>, sources: Arc<Sources>, packager: Arc<Packager>) {
    loop {
        let path = queue.next().await;
        let mut pause = FULL.0;
        loop {
            while !packager.is_idle() {
                sleep(BUSY).await;
            }
            match prepare(&path, &sources, &packager).await {
                Ok(true) => tracing::info!(file = %path, "a file was packaged ahead"),
                Ok(false) => tracing::info!(file = %path, "a file could not be packaged ahead"),
                Err(error) if error.code() == Code::Busy => {
                    tracing::debug!(file = %path, %error, "packaging ahead waits");
                    sleep(pause).await;
                    pause = (pause * 2).min(FULL.1);
                    continue;
                }
                Err(error) => {
                    tracing::info!(file = %path, %error, "a file cannot be packaged ahead");
                }
            }
            break;
        }
    }
}

/// Packages a file to its end; says whether all of it came out.
async fn prepare(path: &Path, sources: &Sources, packager: &Packager) -> Result<bool> {
    let (source, pin) = sources.get(&Wanted::File(path.clone())).await?;
    let lease = packager.prewarm(source, pin).await?;
    Ok(packager.finished(lease.package()).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_stands_in_the_queue_once() {
        let queue = Arc::new(Queue::default());
        for path in ["b/c", "a/b", "b/c"] {
            queue.push(Path::parse(path).unwrap());
        }
        assert_eq!(queue.next().await.as_str(), "a/b");
        assert_eq!(queue.next().await.as_str(), "b/c");
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        queue.push(Path::parse("d/e").unwrap());
        assert_eq!(waiting.await.unwrap().as_str(), "d/e");
    }
}
