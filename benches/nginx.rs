//! nginx as a good operator would set it up for the same files behind the same kind of lock.

use std::{
    fs::{self, Permissions},
    io::Read,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::support::until;

/// What only nginx and the backend know.
const SECRET: &str = "secret-of-the-benchmarks";

/// Whether nginx keeps files open between requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OpenFiles {
    /// Its default: each request opens, asks for the size, and closes.
    Forgotten,
    /// `open_file_cache`: cheaper, and a file that was replaced is noticed a minute late.
    Cached,
}

/// A running nginx that serves one folder by links with an end and a signature (`secure_link_md5`).
pub struct Nginx {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Nginx {
    /// Serves these files.
    pub fn serve(files: &[(String, Vec<u8>)], open: OpenFiles) -> Self {
        let dir = TempDir::with_prefix("hls-broker-nginx-").expect("a temporary directory");
        // Workers of a master that is root are somebody else.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("our directory");
        let root = dir.path().join("hls");
        fs::create_dir(&root).expect("a folder");
        for (name, bytes) in files {
            fs::write(root.join(name), bytes).expect("a file");
        }
        let port = free_port();
        let config = dir.path().join("nginx.conf");
        fs::write(&config, Self::config(&dir.path().to_string_lossy(), port, open))
            .expect("a file");
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(dir.path()).arg("-c").arg(&config);
        nginx
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut nginx = Self { child: nginx.spawn().expect("nginx is installed"), port, dir };
        until("nginx listens", || {
            let ended = nginx.child.try_wait().expect("our child");
            assert!(ended.is_none(), "nginx has ended: {}", nginx.complaints());
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        nginx
    }

    // No access log: at its default level the broker logs no file that a player got, either.
    fn config(dir: &str, port: u16, open: OpenFiles) -> String {
        let open = match open {
            OpenFiles::Forgotten => "",
            OpenFiles::Cached => {
                "open_file_cache max=10000 inactive=60s; open_file_cache_valid 60s;"
            }
        };
        format!(
            r#"daemon off;
worker_processes auto;
pid {dir}/pid;
events {{ worker_connections 4096; multi_accept on; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 90s;
    keepalive_requests 1000000;
    {open}
    types {{ application/vnd.apple.mpegurl m3u8; audio/mp4 m4s mp4; }}
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /hls/ {{
            root {dir};
            secure_link $arg_md5,$arg_expires;
            secure_link_md5 "$secure_link_expires$uri {SECRET}";
            if ($secure_link = "") {{ return 403; }}
            if ($secure_link = "0") {{ return 410; }}
        }}
    }}
}}
"#
        )
    }

    /// The master's process id.
    pub fn pid(&self) -> i32 {
        self.child.id().try_into().expect("a process id")
    }

    /// A link to a file that holds for an hour.
    pub fn link(&self, name: &str) -> String {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
            + Duration::from_hours(1);
        let (uri, expires) = (format!("/hls/{name}"), end.as_secs());
        // As nginx's own documentation makes it.
        let recipe = "printf %s \"$0\" | openssl md5 -binary | openssl base64 | tr +/ -_ | tr -d =";
        let output =
            Command::new("sh").args(["-c", recipe, &format!("{expires}{uri} {SECRET}")]).output();
        let md5 = String::from_utf8(output.expect("sh").stdout).expect("base64");
        format!("http://127.0.0.1:{}{uri}?md5={}&expires={expires}", self.port, md5.trim())
    }

    fn complaints(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut text));
        format!("{text} ({})", self.dir.path().display())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers.
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).ok();
        self.child.wait().expect("our child");
    }
}

/// A port that was free a moment ago: nginx cannot say which one it took.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
