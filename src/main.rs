//! Arguments, command, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    hls_broker::cli::main()
}
