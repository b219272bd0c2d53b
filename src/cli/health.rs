//! `health`: asks a running broker whether it is well, for container checks.

use std::{process::ExitCode, time::Duration};

use crate::{
    config::Settings,
    error::{Code, Error, Result},
};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Exit code 0 when the broker at `url`, or on this machine by its settings, answers that it is well; else 1.
pub fn run(url: Option<&str>, settings: impl FnOnce() -> Result<Settings>) -> Result<ExitCode> {
    let base = match url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => here(&settings()?),
    };
    match super::runtime()?.block_on(ask(&format!("{base}/api/health"))) {
        Ok(()) => {
            println!("ok");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("hls-broker: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Where the API listens; an address that means "any" is reached over loopback.
fn here(settings: &Settings) -> String {
    let (host, port) = match settings.listen.api {
        Some(api) => (api.ip(), api.port()),
        None => (settings.host, settings.port),
    };
    let host = match host {
        any if any.is_unspecified() && any.is_ipv6() => "[::1]".into(),
        any if any.is_unspecified() => "127.0.0.1".into(),
        std::net::IpAddr::V6(host) => format!("[{host}]"),
        std::net::IpAddr::V4(host) => host.to_string(),
    };
    format!("http://{host}:{port}")
}

async fn ask(url: &str) -> Result<()> {
    let failed = |e: &reqwest::Error| Error::new(Code::Unavailable, format!("{url}: {e}"));
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let reply = client.map_err(|e| failed(&e))?.get(url).send().await.map_err(|e| failed(&e))?;
    if reply.status().is_success() {
        return Ok(());
    }
    Err(Error::new(Code::Unavailable, format!("{url}: status {}", reply.status().as_u16())))
}
