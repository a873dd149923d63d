//! The command line: everyack tells whether every acknowledged message is eventually consumed.
//!
//! - [`args`] the grammar; [`exit`] how a command ends; [`shield`] no panic reaches the user
//! - [`list`] what can be named

mod args;
mod exit;
mod interrupt;
mod list;
mod output;
mod progress;
mod seed_base;
mod shield;
mod verdict;

use args::{Arguments, Command};
use std::process::ExitCode;

/// The runs allocate and free small values all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(ended) => return exit::finish(ended).into(),
    };
    let outcome = shield::shielded(|| match &arguments.command {
        Command::List(arguments) => list::list(arguments),
        _ => Ok(exit::Status::AsPromised),
    });
    exit::finish(outcome).into()
}
