//! What the broker's speed is, beside what others need for the same work: `cargo bench --bench broker [-- names]`.
//!
//! Everything is measured from outside, against the release binary, on loopback. A figure of ours always stands beside a
//! reference that ran in turns with it, so that what counts is the ratio of two neighbours in time and not the machine.
//! What comes out is a Markdown table, ready for RESULTS.md.

#[path = "../tests/support/mod.rs"]
mod support;

mod cold;
mod connections;
mod copy;
mod delivery;
mod fan_in;
mod film;
mod library;
mod load;
mod memory;
mod nginx;
mod report;
mod rung;
mod seek;
mod slow;
mod song;
mod whole;

use std::{env, process::ExitCode};

use report::Report;

/// How often each measurement is repeated, unless `--runs` says otherwise.
const RUNS: usize = 7;

/// One benchmark.
struct Bench {
    name: &'static str,
    /// What is measured and how, in one line.
    about: &'static str,
    run: fn(&mut Report, usize),
}

/// All of them, in the order of a stream's life.
const BENCHES: [Bench; 11] = [
    Bench { name: "cold", about: cold::ABOUT, run: cold::run },
    Bench { name: "slow", about: slow::ABOUT, run: slow::run },
    Bench { name: "seek", about: seek::ABOUT, run: seek::run },
    Bench { name: "whole", about: whole::ABOUT, run: whole::run },
    Bench { name: "copy", about: copy::ABOUT, run: copy::run },
    Bench { name: "rung", about: rung::ABOUT, run: rung::run },
    Bench { name: "library", about: library::ABOUT, run: library::run },
    Bench { name: "fan-in", about: fan_in::ABOUT, run: fan_in::run },
    Bench { name: "delivery", about: delivery::ABOUT, run: delivery::run },
    Bench { name: "memory", about: memory::ABOUT, run: memory::run },
    Bench { name: "connections", about: connections::ABOUT, run: connections::run },
];

/// What the command line asks for.
struct Choice {
    names: Vec<String>,
    runs: usize,
}

impl Choice {
    /// Reads the arguments; `None` if they make no sense.
    fn read(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut choice = Self { names: Vec::new(), runs: RUNS };
        // cargo says --bench to every bench target.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--runs" => {
                    choice.runs = arguments.next()?.parse().ok().filter(|runs| *runs > 0)?;
                }
                name if BENCHES.iter().any(|bench| bench.name == name) => {
                    choice.names.push(argument);
                }
                _ => return None,
            }
        }
        Some(choice)
    }

    fn wants(&self, bench: &Bench) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name == bench.name)
    }
}

fn main() -> ExitCode {
    let Some(choice) = Choice::read(env::args().skip(1)) else {
        let names: Vec<_> = BENCHES.iter().map(|bench| bench.name).collect();
        eprintln!("usage: cargo bench --bench broker [-- [--runs N] [{}]...]", names.join("|"));
        return ExitCode::from(64);
    };
    let mut report = Report::new(choice.runs);
    for bench in BENCHES.iter().filter(|bench| choice.wants(bench)) {
        eprintln!("{}: {}", bench.name, bench.about);
        (bench.run)(&mut report, choice.runs);
    }
    print!("{report}");
    ExitCode::SUCCESS
}
