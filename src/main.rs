//! The command line.
mod args;
mod exit;
mod shield;
mod output;
mod progress;
mod interrupt;
mod seed_base;
mod verdict;
fn main() {}
