//! ffmpeg as a child process: found once, started with limits, killed with its group, always reaped.
//!
//! What it is asked to do is not known here; see `package::head` for the encoder's command line and
//! `source::probe` for the last resort. Its exit status is reported but proves nothing: ffmpeg ends
//! with 0 after a full disk or a truncated source (reliability measurements, 0.4), so callers judge
//! what came out of the pipe.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::{Signal, killpg},
    },
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    runtime::Handle,
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::error::{Code, Error, Result};

/// Bytes of stderr that are kept for the log; older ones are dropped. A damaged source makes ffmpeg repeat itself.
const TAIL: usize = 1024;

/// Descriptors that an ffmpeg may have open: its pipes, its source and its libraries while they load.
const FILES: u64 = 64;

/// How much lower than the broker an ffmpeg is scheduled: a segment that is ready goes out first.
const NICE: i32 = 5;

/// An installed ffmpeg, and the bounds within which it may run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    program: Arc<Path>,
    version: Arc<str>,
    /// The options that it was built with.
    configuration: Arc<str>,
    memory: u64,
    spawner: Spawner,
    /// How many processes are not reaped.
    running: Arc<watch::Sender<usize>>,
}

impl Ffmpeg {
    /// Finds `program` on the path, or takes it as a path, and asks its version. Processes started from it may
    /// take `memory` bytes of address space.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when it is missing or does not start.
    pub async fn find(program: &str, memory: u64) -> Result<Self> {
        let missing = |why: &str| {
            let advice = "install ffmpeg, or say where it is with packager.ffmpeg";
            Error::new(Code::Unavailable, format!("{program}: {why}; {advice}"))
        };
        let path = search(program).ok_or_else(|| missing("not found"))?;
        let run =
            Command::new(&path).arg("-version").stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(Duration::from_secs(20), run)
            .await
            .map_err(|_| missing("does not answer -version within 20 s"))?
            .map_err(|e| missing(&e.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().next().filter(|line| !line.is_empty());
        let version = version.ok_or_else(|| missing("says nothing to -version"))?.into();
        let options = |line: &str| line.trim().strip_prefix("configuration:").map(Arc::from);
        let configuration = text.lines().find_map(options).unwrap_or_default();
        let running = Arc::new(watch::Sender::new(0));
        let spawner = Spawner::start()?;
        Ok(Self { program: path.into(), version, configuration, memory, spawner, running })
    }

    /// Whether the program is still where it was found.
    pub fn is_there(&self) -> bool {
        self.program.is_file()
    }

    /// The first line that it prints of itself: another build may encode other bytes.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it was built with this library: `libzimg`.
    pub fn has(&self, library: &str) -> bool {
        let mut options = self.configuration.split_whitespace();
        options.any(|option| option.strip_prefix("--enable-") == Some(library))
    }

    /// Starts a process of at most `cpu` seconds of processor time. With `stdin`, its standard input is a pipe.
    pub async fn spawn(&self, args: Vec<String>, stdin: bool, cpu: u64) -> io::Result<Process> {
        let args = args.into_iter().map(OsString::from).collect();
        let order = Order { program: self.program.clone(), args, stdin, memory: self.memory, cpu };
        let child = self.spawner.spawn(order).await?;
        Ok(Process::new(child, Counted::new(&self.running)))
    }

    /// Waits until every process that was started has been reaped.
    pub async fn all_reaped(&self) {
        // The sender lives in self, so the channel cannot close.
        let _ = self.running.subscribe().wait_for(|&running| running == 0).await;
    }

    /// As [`Ffmpeg::spawn`], but the `ffprobe` beside it.
    pub async fn spawn_probe(
        &self,
        args: Vec<String>,
        stdin: bool,
        cpu: u64,
    ) -> io::Result<Process> {
        let program = self.program.with_file_name("ffprobe").into();
        Self { program, ..self.clone() }.spawn(args, stdin, cpu).await
    }
}

/// `program` as an absolute path: as given when it holds a slash, else the first on `PATH`.
fn search(program: &str) -> Option<PathBuf> {
    let is_file = |path: PathBuf| path.is_file().then_some(path);
    if program.contains('/') {
        return is_file(std::path::absolute(program).ok()?);
    }
    std::env::split_paths(&std::env::var_os("PATH")?).find_map(|dir| is_file(dir.join(program)))
}

/// A running ffmpeg. Dropping it kills its process group and reaps it.
#[derive(Debug)]
pub struct Process {
    /// Where the source goes, when it was asked for.
    pub stdin: Option<ChildStdin>,
    /// What it produces. None once taken.
    pub stdout: Option<ChildStdout>,
    child: Option<(Child, Counted)>,
    complaints: Option<JoinHandle<String>>,
}

/// One in the number of processes that are not reaped.
#[derive(Debug)]
struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn new(running: &Arc<watch::Sender<usize>>) -> Self {
        running.send_modify(|running| *running += 1);
        Self(running.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

/// How a process ended.
#[derive(Debug)]
pub struct Exit {
    /// What the system says; proves nothing by itself.
    pub status: ExitStatus,
    /// The end of its stderr.
    pub complaints: String,
}

impl Process {
    fn new(mut child: Child, counted: Counted) -> Self {
        let complaints = child.stderr.take().map(|pipe| tokio::spawn(tail(pipe)));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Self { stdin, stdout, child: Some((child, counted)), complaints }
    }

    /// Ends it if it still runs, and reaps it.
    pub async fn end(mut self) -> io::Result<Exit> {
        self.kill();
        self.wait().await
    }

    /// Waits for its own end. The caller bounds the time.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        self.stdin = None;
        self.stdout = None;
        let (child, _) = self.child.as_mut().ok_or_else(|| io::Error::other("already reaped"))?;
        let status = child.wait().await?;
        self.child = None;
        let complaints = match self.complaints.take() {
            Some(task) => task.await.unwrap_or_default(),
            None => String::new(),
        };
        Ok(Exit { status, complaints })
    }

    fn kill(&self) {
        // The group's id is the child's: it was made leader of its own group.
        if let Some(id) = self.child.as_ref().and_then(|(child, _)| child.id()) {
            let _ = killpg(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let (Some((mut child, counted)), Ok(runtime)) =
            (self.child.take(), Handle::try_current())
        {
            runtime.spawn(async move {
                // Killed a moment ago; there is nobody to tell how it ended.
                let _ = child.wait().await;
                drop(counted);
            });
        }
    }
}

/// Reads to the end and keeps the last [`TAIL`] bytes: a full stderr pipe would block the process.
async fn tail(mut pipe: impl AsyncRead + Unpin) -> String {
    let mut kept = VecDeque::with_capacity(TAIL);
    let mut chunk = [0; 1024];
    while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
        let excess = (kept.len() + n).saturating_sub(TAIL);
        kept.drain(..excess.min(kept.len()));
        kept.extend(&chunk[..n]);
    }
    String::from_utf8_lossy(kept.make_contiguous()).trim().to_owned()
}

/// What to start.
#[derive(Debug)]
struct Order {
    program: Arc<Path>,
    args: Vec<OsString>,
    stdin: bool,
    memory: u64,
    cpu: u64,
}

impl Order {
    fn command(self) -> Command {
        let mut command = Command::new(&*self.program);
        command
            .args(self.args)
            .stdin(if self.stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/")
            .env_clear()
            .envs(std::env::vars_os().filter(|(key, _)| key == "PATH" || key == "LD_LIBRARY_PATH"))
            .process_group(0)
            .kill_on_drop(true);
        let (memory, cpu) = (self.memory, self.cpu);
        let broker = Pid::this();
        // SAFETY: the closure runs between fork and exec and makes only system calls that are
        // async-signal-safe; it neither allocates nor touches a lock.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || {
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                if Pid::parent() != broker {
                    // It died before the line above: nobody would ever end us.
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                setrlimit(Resource::RLIMIT_AS, memory, memory)?;
                setrlimit(Resource::RLIMIT_CPU, cpu, cpu)?;
                setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES)?;
                setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
                setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                nix::libc::setpriority(nix::libc::PRIO_PROCESS, 0, NICE);
                Ok(())
            });
        }
        command
    }
}

type Job = (Order, Handle, oneshot::Sender<io::Result<Child>>);

/// A thread that starts processes and outlives them all.
///
/// The kernel sends the parent-death signal when the *thread* that started a child ends (prctl(2)), and
/// runtime threads may end while the process lives on.
#[derive(Clone, Debug)]
struct Spawner(Arc<Mutex<mpsc::Sender<Job>>>);

impl Spawner {
    fn start() -> Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (order, runtime, reply) in jobs {
                    let _runtime = runtime.enter();
                    // A caller that left drops the child with the reply, which kills and reaps it.
                    let _ = reply.send(order.command().spawn());
                }
            })
            .map_err(|e| Error::io("starting a thread", &e))?;
        Ok(Self(Arc::new(Mutex::new(sender))))
    }

    async fn spawn(&self, order: Order) -> io::Result<Child> {
        let gone = || io::Error::other("the spawner thread has ended");
        let (reply, child) = oneshot::channel();
        let job = (order, Handle::current(), reply);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).send(job).map_err(|_| gone())?;
        child.await.map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell() -> Ffmpeg {
        let mut found = Ffmpeg::find("ffmpeg", 1 << 30).await.expect("ffmpeg is installed");
        found.program = Path::new("/bin/sh").into();
        found
    }

    fn script(text: &str) -> Vec<String> {
        vec!["-c".into(), text.into()]
    }

    #[tokio::test]
    async fn says_what_is_missing() {
        let error = Ffmpeg::find("no-such-ffmpeg", 1).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
        assert!(error.to_string().contains("no-such-ffmpeg: not found"), "{error}");
    }

    #[tokio::test]
    async fn a_flood_on_stderr_neither_blocks_nor_piles_up() {
        let sh = shell().await;
        let flood = script("i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done");
        let exit = sh.spawn(flood, false, 60).await.unwrap().wait().await.unwrap();
        assert!(exit.status.success());
        assert!(exit.complaints.ends_with("line 19999") && exit.complaints.len() <= TAIL);
    }

    #[tokio::test]
    async fn dropping_kills_the_whole_group() {
        let sh = shell().await;
        let mut process =
            sh.spawn(script("sleep 1000 & echo started; wait"), false, 60).await.unwrap();
        let mut stdout = process.stdout.take().unwrap();
        let mut line = [0; 16];
        assert_ne!(stdout.read(&mut line).await.unwrap(), 0);
        drop(process);
        // The grandchild holds the pipe's other end: end of file means that it is gone.
        assert_eq!(stdout.read(&mut line).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn limits_hold_inside() {
        let sh = shell().await;
        let text = script("ulimit -v; ulimit -n; ulimit -f; ulimit -c; ulimit -t");
        let mut process = sh.spawn(text, false, 77).await.unwrap();
        let mut out = String::new();
        process.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
        assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["1048576", "64", "0", "0", "77"]);
    }
}
