//! The command line as types.

use std::{ffi::OsString, fmt, net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args as Arguments, Parser, Subcommand, error::ErrorKind};

use crate::{config, error::Code};

const AFTER_HELP: &str = "\
Settings come from hls.yaml, over it the environment (HLS__CACHE__SIZE=1GB, PORT, HANDSHAKE), over both the options.

Exit codes: 0 clean, 64 usage, 69 unavailable (no ffmpeg, port taken), 70 bug, 74 I/O, 75 watchdog, 78 configuration.

Example: hls-broker serve --config /etc/hls.yaml --port 8080";

/// Token-gated HLS from media that a backend owns: one POST, a playable URL in milliseconds
#[derive(Parser)]
#[command(name = "hls-broker", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub struct Args {
    /// What overrides hls.yaml.
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Options that stand before or after the command.
#[derive(Arguments)]
pub struct Options {
    /// The settings [default: ./hls.yaml, ./.hls.yaml or ~/.hls.yaml]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The port to listen on; 0 takes a free one
    #[arg(long, short, global = true, value_name = "N")]
    port: Option<u16>,

    /// The address to listen on
    #[arg(long, global = true, value_name = "ADDRESS")]
    host: Option<IpAddr>,

    /// Sets any key of hls.yaml, as in cache.size=1GB; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Runs the broker; this is the default
    #[command(after_help = "Example: hls-broker serve --config /etc/hls.yaml")]
    Serve,

    /// Packages one file as HLS that any web server can serve
    #[command(
        allow_missing_positional = true,
        after_help = "Example: hls-broker transcode talk.mp3 talk.vtt ./public/talk"
    )]
    Transcode {
        /// Audio or video
        audio: PathBuf,
        /// Captions, if there are any
        vtt: Option<PathBuf>,
        /// The directory to write to
        out_dir: PathBuf,
    },

    /// Validates the settings, warns of what does not fit together, and prints them with secrets masked
    #[command(after_help = "Example: hls-broker check --config /etc/hls.yaml")]
    Check,

    /// Plays through everything: an upstream with sample media, a broker, a token, and the lines to copy
    #[command(after_help = "Example: hls-broker demo --port 7000")]
    Demo,

    /// Asks a running broker whether it is well: exit 0 or 1, for container checks
    #[command(after_help = "Example: hls-broker health --url http://127.0.0.1:7000")]
    Health {
        /// Where the broker is [default: the port in hls.yaml, on this machine]
        #[arg(long)]
        url: Option<String>,
    },

    /// Makes and explains tokens
    #[command(subcommand)]
    Token(Token),
}

/// What to do with a token.
#[derive(Clone, PartialEq, Eq, Subcommand)]
pub enum Token {
    /// Signs a token for a stream
    #[command(
        after_help = "Example: hls-broker token mint 0b9c7a52-6d1e-4f39-9a55-0d3f7c1be001 --for 10m"
    )]
    Mint {
        /// The stream
        rid: String,
        /// How long the token lives, as in 10m or 1.5h
        #[arg(long = "for", value_name = "DURATION", value_parser = config::duration)]
        life: Duration,
    },

    /// Shows what a token opens, until when, and whether its signature holds
    #[command(after_help = "Example: hls-broker token inspect eyJ0eXAi...")]
    Inspect {
        /// The token
        token: String,
    },
}

/// Shows no token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mint { rid, life } => {
                f.debug_struct("Mint").field("rid", rid).field("life", life).finish()
            }
            Self::Inspect { .. } => f.debug_struct("Inspect").finish_non_exhaustive(),
        }
    }
}

/// Text to print, and the exit code: 0 for help and version, which go to stdout, 64 for a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Ends with a line break.
    pub text: String,
    /// The process's exit code.
    pub exit: u8,
}

/// Reads a command line, the program's name first.
pub fn parse<T: Into<OsString> + Clone>(
    line: impl IntoIterator<Item = T>,
) -> Result<Args, Farewell> {
    let args = Args::try_parse_from(line).map_err(|error| Farewell {
        text: error.render().to_string(),
        exit: if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            0
        } else {
            Code::Usage.exit()
        },
    })?;
    // Not in clap, which would repeat the value, and that may be a secret.
    if args.options.set.iter().any(|pair| split(pair).is_none()) {
        let text = "error: --set takes KEY=VALUE, as in --set cache.size=1GB\n".into();
        return Err(Farewell { text, exit: Code::Usage.exit() });
    }
    Ok(args)
}

impl Args {
    /// What to do; `serve` if the line does not say.
    pub fn command(&self) -> &Command {
        self.command.as_ref().unwrap_or(&Command::Serve)
    }
}

impl Options {
    /// The (key, value) pairs for [`config::load`]. `--port` and `--host` win over `--set`, and a later `--set` over an
    /// earlier one.
    pub fn overrides(&self) -> Vec<(String, String)> {
        let set = self.set.iter().filter_map(|pair| split(pair));
        let port = self.port.map(|port| ("port".into(), port.to_string()));
        let host = self.host.map(|host| ("host".into(), host.to_string()));
        set.chain(port).chain(host).collect()
    }
}

fn split(pair: &str) -> Option<(String, String)> {
    let (key, value) = pair.split_once('=').filter(|(key, _)| !key.is_empty())?;
    Some((key.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, Farewell> {
        parse(["hls-broker"].into_iter().chain(line.split_whitespace()))
    }

    fn command(line: &str) -> Command {
        read(line).map_or_else(
            |farewell| panic!("{line}: {}", farewell.text),
            |args| args.command().clone(),
        )
    }

    #[test]
    fn the_definitions_hold_together() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn commands() {
        assert_eq!(command(""), Command::Serve);
        assert_eq!(command("serve"), Command::Serve);
        assert_eq!(command("check"), Command::Check);
        assert_eq!(command("demo"), Command::Demo);
        assert_eq!(command("health"), Command::Health { url: None });
        assert_eq!(
            command("health --url http://x"),
            Command::Health { url: Some("http://x".into()) }
        );
        let transcode = |vtt: Option<&str>| Command::Transcode {
            audio: "a.mp3".into(),
            vtt: vtt.map(PathBuf::from),
            out_dir: "out".into(),
        };
        assert_eq!(command("transcode a.mp3 out"), transcode(None));
        assert_eq!(command("transcode a.mp3 a.vtt out"), transcode(Some("a.vtt")));
        let life = Duration::from_mins(90);
        assert_eq!(
            command("token mint abc --for 1.5h"),
            Command::Token(Token::Mint { rid: "abc".into(), life })
        );
        assert_eq!(
            command("token inspect abc"),
            Command::Token(Token::Inspect { token: "abc".into() })
        );
    }

    #[test]
    fn options_stand_before_or_after_the_command() {
        for line in [
            "--config f.yaml --port 0 --host ::1 --set log.level=debug --set cache.size=1GB check",
            "check --config f.yaml --port 0 --host ::1 --set log.level=debug --set cache.size=1GB",
            "--config f.yaml check --port 0 --host=::1 --set log.level=debug --set=cache.size=1GB",
        ] {
            let args = read(line).ok().unwrap();
            assert_eq!(args.command(), &Command::Check);
            assert_eq!(args.options.config, Some("f.yaml".into()));
            let pairs =
                [("log.level", "debug"), ("cache.size", "1GB"), ("port", "0"), ("host", "::1")];
            assert_eq!(
                args.options.overrides(),
                pairs.map(|(key, value)| (key.into(), value.into())),
                "{line}"
            );
        }
    }

    #[test]
    fn a_value_may_hold_equals_signs() {
        let args = read("--set url.audio=http://up/?id={id}").ok().unwrap();
        assert_eq!(args.options.overrides(), [("url.audio".into(), "http://up/?id={id}".into())]);
    }

    #[test]
    fn mistakes_end_with_64_and_a_text() {
        for line in [
            "sing",
            "--sing",
            "--port 70000",
            "--port",
            "--host nowhere",
            "--set cache.size",
            "--set =5",
            "transcode",
            "transcode a.mp3",
            "transcode a b c d",
            "token",
            "token mint",
            "token mint abc",
            "token mint abc --for ever",
            "health http://x",
        ] {
            let farewell = read(line).err().unwrap_or_else(|| panic!("{line}"));
            assert_eq!(farewell.exit, 64, "{line}");
            assert!(
                farewell.text.starts_with("error: ") || farewell.text.contains("Usage:"),
                "{}",
                farewell.text
            );
        }
    }

    #[test]
    fn help_and_version_end_with_0_and_each_help_has_an_example() {
        let version = read("--version").err().unwrap();
        assert_eq!(
            (version.exit, version.text),
            (0, format!("hls-broker {}\n", env!("CARGO_PKG_VERSION")))
        );
        for command in
            ["", "serve", "transcode", "check", "demo", "health", "token mint", "token inspect"]
        {
            let help = read(&format!("{command} --help")).err().unwrap();
            assert_eq!(help.exit, 0);
            assert!(
                help.text.contains(&format!("Example: hls-broker {command}").trim_end().to_owned()),
                "{}",
                help.text
            );
        }
    }

    #[test]
    fn a_secret_does_not_come_back() {
        let farewell = read("--set handshake:hunter2").err().unwrap();
        assert!(!farewell.text.contains("hunter2"));
        assert!(!format!("{:?}", command("token inspect hunter2")).contains("hunter2"));
    }
}
