//! Arguments, command, exit code.

use std::process::ExitCode;

/// Arenas of the C library's heap. Segments come and go on many threads; with the default of eight for each core, what one
/// thread freed stayed with it (2,000 streams and 20,000 random reads: 165 MB, and 118 MB with two).
#[cfg(target_env = "gnu")]
const ARENAS: nix::libc::c_int = 2;

fn main() -> ExitCode {
    // SAFETY: called before there is a second thread, with a parameter that mallopt(3) names.
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code)]
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, ARENAS);
    }
    hls_broker::cli::main()
}
