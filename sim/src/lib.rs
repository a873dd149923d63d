//! The world: nodes, network, disks, clocks, faults, applications, history and judgement.
//!
//! The one function is [`run`]: a [`RunSpec`] in, a [`RunResult`] out, nothing else.
//!
//! - [`spec`] what a run is made from; [`result`] what comes out
//! - [`fault`] fault plans and their drawing
//! - [`event`] the one stream of events
//! - [`kernel`] nodes, network, disks, clocks; [`host`] runs it on madsim; [`world`] brings
//!   kernel and applications together
//! - [`application`] what an application is given, and the registry of applications
//! - [`cluster`] which machines and processes a run has; [`inject`] does what the plan says
//! - [`history`] what became of every message; [`check`] what must hold of a run
//! - [`attribution`] why a message was lost; [`marks`] points worth reaching; [`story`] in words
//! - [`mechanism`] the names of the ways to lose a message
//! - [`parts`] which part of the program is at work, for the benchmark

#[cfg(not(madsim))]
compile_error!(
    "everyack's world runs on madsim: build from the workspace root, whose .cargo/config.toml \
     passes `--cfg madsim`; a RUSTFLAGS variable in the environment replaces those flags, so add \
     `--cfg madsim` to it"
);

pub mod application;
pub mod attribution;
pub mod check;
pub mod cluster;
pub mod event;
pub mod fault;
pub mod history;
pub mod host;
pub mod inject;
pub mod kernel;
pub mod marks;
pub mod mechanism;
pub mod node;
pub mod parts;
pub mod result;
pub mod run;
pub mod spec;
pub mod story;
pub mod world;

pub use result::RunResult;
pub use run::run;
pub use spec::RunSpec;
