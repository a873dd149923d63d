//! The command line: everyack tells whether every acknowledged message is eventually consumed.
//!
//! - [`args`] the grammar; [`exit`] how a command ends; [`shield`] no panic reaches the user
//! - [`run`] a suite; [`check`] one's own configuration; both are a [`campaign`]
//! - [`serve`] the same brokers for real clients
//! - [`report`] what several of them found, merged and rendered again
//! - [`replay`] one run again; [`shrink`] the smallest that fails alike; [`bench_bugs`] planted bugs;
//!   [`list`] what can be named; [`trace_hashes`] for the determinism gate
//! - [`input`] what is read; [`output`] where results go; [`stories`] of the runs that are saved;
//!   [`github`] what GitHub shows; [`progress`] what is told meanwhile; [`interrupt`] SIGINT;
//!   [`seed_base`] seeds from a commit

mod args;
mod bench_bugs;
mod campaign;
mod check;
mod exit;
mod github;
mod input;
mod interrupt;
mod list;
mod output;
mod progress;
mod replay;
mod report;
mod run;
mod seed_base;
mod serve;
mod shield;
mod shrink;
mod stories;
mod trace_hashes;

use args::{Arguments, Command};
use std::process::ExitCode;

/// Runs allocate and free small values all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(ended) => return exit::finish(ended).into(),
    };
    let outcome = shield::shielded(|| match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::check(arguments),
        Command::Replay(arguments) => replay::replay(arguments),
        Command::Shrink(arguments) => shrink::shrink(arguments),
        Command::BenchBugs(arguments) => bench_bugs::bench_bugs(arguments),
        Command::Report(arguments) => report::report(arguments),
        Command::List(arguments) => list::list(arguments),
        Command::Serve(arguments) => serve::serve(arguments),
        Command::TraceHashes(arguments) => trace_hashes::trace_hashes(arguments),
    });
    exit::finish(outcome).into()
}
