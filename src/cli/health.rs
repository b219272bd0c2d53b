//! `health`: asks a running broker whether it is well, for container checks.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

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

/// Where the API listens.
fn here(settings: &Settings) -> String {
    let main = SocketAddr::new(settings.host, settings.port);
    origin(settings.listen.api.unwrap_or(main))
}

/// How this machine reaches what listens on `address`; one that means "any" is reached over loopback.
pub fn origin(mut address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_reached_over_loopback() {
        for (listener, expected) in [
            ("0.0.0.0:7000", "http://127.0.0.1:7000"),
            ("[::]:7000", "http://[::1]:7000"),
            ("10.1.2.3:80", "http://10.1.2.3:80"),
            ("[fd00::1]:80", "http://[fd00::1]:80"),
        ] {
            assert_eq!(origin(listener.parse().unwrap()), expected);
        }
    }
}
