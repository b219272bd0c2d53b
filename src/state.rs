//! What survives a restart: streams, in SQLite. The one room that knows SQL.
//!
//! One thread owns the connection. Writes that come while it works are committed together, and whoever asked for one is
//! told only after its commit: a killed process loses no stream that was answered for. (In WAL mode with
//! `synchronous=NORMAL` a commit survives the process; a power cut may take the last ones.)

use std::{
    path::Path,
    sync::{Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use rusqlite::{Connection, Transaction, params};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::error::{Code, Error, Result};

/// Counts up with the schema; a database of another version is refused rather than guessed at.
const VERSION: i32 = 1;

/// Writes that are committed at once at most.
const GROUP: usize = 1024;

/// A stream as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The stream.
    pub rid: Uuid,
    /// The key of its package.
    pub package: String,
    /// The batch that it was made with.
    pub batch: Option<Uuid>,
    /// Its end, in seconds since the epoch.
    pub end: i64,
}

/// A change to what is kept.
#[derive(Debug)]
enum Change {
    Add(Vec<Row>),
    Extend(Uuid, i64),
    Remove(Uuid),
    /// All that ended before this second.
    Expire(i64),
}

type Job = (Change, oneshot::Sender<Result<()>>);

/// The database of one process.
#[derive(Debug)]
pub struct State {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl State {
    /// Opens the database in `dir`, making it where it is missing, and reads all streams.
    ///
    /// # Errors
    /// [`Code::Io`] when it cannot be opened, is damaged, or was written by a newer broker.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Row>)> {
        let mut connection = Connection::open(dir.join("streams.db")).map_err(|e| damaged(&e))?;
        prepare(&mut connection).map_err(|e| damaged(&e))?;
        let rows = read(&connection).map_err(|e| damaged(&e))?;
        let (sender, jobs) = mpsc::channel();
        let writer = std::thread::Builder::new()
            .name("state".into())
            .spawn(move || write(connection, &jobs))
            .map_err(|e| Error::io("starting a thread", &e))?;
        Ok((Self { jobs: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)) }, rows))
    }

    /// Keeps new streams; done when they are committed.
    pub async fn add(&self, rows: Vec<Row>) -> Result<()> {
        self.change(Change::Add(rows)).await
    }

    /// Moves a stream's end.
    pub async fn extend(&self, rid: Uuid, end: i64) -> Result<()> {
        self.change(Change::Extend(rid, end)).await
    }

    /// Forgets a stream.
    pub async fn remove(&self, rid: Uuid) -> Result<()> {
        self.change(Change::Remove(rid)).await
    }

    /// Forgets the streams that ended before `second`.
    pub async fn expire(&self, second: i64) -> Result<()> {
        self.change(Change::Expire(second)).await
    }

    async fn change(&self, change: Change) -> Result<()> {
        let closed = || Error::new(Code::Internal, "the state is closed");
        let (sender, done) = oneshot::channel();
        {
            let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.as_ref().ok_or_else(closed)?.send((change, sender)).map_err(|_| closed())?;
        }
        done.await.map_err(|_| closed())?
    }

    /// Commits what was asked for and closes the database.
    pub fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that panicked has lost its connection; there is nothing left to close.
        let _ = writer.map(JoinHandle::join);
    }
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        let text = format!("it has version {version}, this broker knows {VERSION}");
        return Err(rusqlite::Error::InvalidParameterName(text));
    }
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS streams (
             rid BLOB PRIMARY KEY,
             package TEXT NOT NULL,
             batch BLOB,
             ends INTEGER NOT NULL
         ) WITHOUT ROWID;
         CREATE INDEX IF NOT EXISTS streams_ends ON streams (ends);",
    )?;
    connection.pragma_update(None, "user_version", VERSION)
}

fn read(connection: &Connection) -> rusqlite::Result<Vec<Row>> {
    let mut query = connection.prepare("SELECT rid, package, batch, ends FROM streams")?;
    let rows = query.query_map([], |row| {
        Ok(Row {
            rid: Uuid::from_bytes(row.get(0)?),
            package: row.get(1)?,
            batch: row.get::<_, Option<[u8; 16]>>(2)?.map(Uuid::from_bytes),
            end: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// Takes whatever has come while the last commit was under way as one transaction.
fn write(mut connection: Connection, jobs: &mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let group: Vec<_> = std::iter::once(first).chain(jobs.try_iter()).take(GROUP).collect();
        let (changes, waiting): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let outcome = commit(&mut connection, &changes).map_err(|e| {
            tracing::error!(error = %e, "the state cannot be written");
            Error::busy("the broker cannot keep its state now", std::time::Duration::from_secs(5))
        });
        for caller in waiting {
            // A caller who left does not want to know.
            let _ = caller.send(outcome.clone());
        }
    }
}

fn commit(connection: &mut Connection, changes: &[Change]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for change in changes {
        apply(&transaction, change)?;
    }
    transaction.commit()
}

fn apply(transaction: &Transaction, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Add(rows) => {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO streams (rid, package, batch, ends) VALUES (?, ?, ?, ?)",
            )?;
            for Row { rid, package, batch, end } in rows {
                let batch = batch.as_ref().map(Uuid::as_bytes);
                insert.execute(params![rid.as_bytes(), package, batch, end])?;
            }
        }
        Change::Extend(rid, end) => {
            let mut update =
                transaction.prepare_cached("UPDATE streams SET ends = ? WHERE rid = ?")?;
            update.execute(params![end, rid.as_bytes()])?;
        }
        Change::Remove(rid) => {
            let mut delete = transaction.prepare_cached("DELETE FROM streams WHERE rid = ?")?;
            delete.execute(params![rid.as_bytes()])?;
        }
        Change::Expire(second) => {
            transaction.prepare_cached("DELETE FROM streams WHERE ends < ?")?.execute([second])?;
        }
    }
    Ok(())
}

fn damaged(error: &rusqlite::Error) -> Error {
    Error::new(Code::Io, format!("state.dir: the database streams.db cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(end: i64) -> Row {
        Row { rid: Uuid::new_v4(), package: "p".into(), batch: Some(Uuid::new_v4()), end }
    }

    fn reopened(dir: &Path) -> Vec<Row> {
        let (state, mut rows) = State::open(dir).unwrap();
        state.close();
        rows.sort_by_key(|row| row.end);
        rows
    }

    #[tokio::test]
    async fn what_was_told_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let (state, rows) = State::open(dir.path()).unwrap();
        assert!(rows.is_empty());
        let (a, b, c) = (row(10), Row { batch: None, ..row(20) }, row(30));
        state.add(vec![a.clone(), b.clone(), c.clone()]).await.unwrap();
        state.extend(b.rid, 25).await.unwrap();
        state.remove(c.rid).await.unwrap();
        state.expire(10).await.unwrap();
        state.close();
        assert_eq!(reopened(dir.path()), [a.clone(), Row { end: 25, ..b.clone() }]);

        let (state, _) = State::open(dir.path()).unwrap();
        state.expire(11).await.unwrap();
        state.close();
        assert_eq!(reopened(dir.path()), [Row { end: 25, ..b }]);
        assert!(state.add(vec![a]).await.is_err(), "closed is closed");
    }

    #[tokio::test]
    async fn many_writers_share_commits() {
        let dir = tempfile::tempdir().unwrap();
        let (state, _) = State::open(dir.path()).unwrap();
        let adds = (0..500).map(|n| state.add(vec![row(n)]));
        for added in futures_util::future::join_all(adds).await {
            added.unwrap();
        }
        state.close();
        assert_eq!(reopened(dir.path()).len(), 500);
    }

    #[test]
    fn a_database_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("streams.db"), vec![7; 5000]).unwrap();
        let error = State::open(dir.path()).unwrap_err();
        assert_eq!(error.code(), Code::Io);
        assert!(error.to_string().contains("streams.db"), "{error}");
    }
}
