//! How a command ends: its exit status, and the one line that says why there is no verdict.

use std::process::ExitCode;
use thiserror::Error;

/// The exit status, as scripts rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Everything as promised.
    AsPromised,
    /// A promise was broken, or what was demanded is missing.
    Broken,
    /// The input is wrong; nothing was run.
    BadInput,
    /// The testbed itself failed.
    TestbedFailed,
    /// SIGINT; what had finished was reported.
    Interrupted,
}

impl Status {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Status::AsPromised => 0,
            Status::Broken => 1,
            Status::BadInput => 2,
            Status::TestbedFailed => 3,
            Status::Interrupted => 130,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> ExitCode {
        ExitCode::from(status.code())
    }
}

/// Why a command ended without a verdict, in one line that names the way out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// Something that the user gave is wrong: file, line, key, what was found, what is allowed.
    #[error("{0}")]
    Input(String),
    /// The testbed itself is at fault, or the machine that it runs on.
    #[error("{0}")]
    Testbed(String),
}

impl Error {
    /// The exit status that goes with it.
    pub fn status(&self) -> Status {
        match self {
            Error::Input(_) => Status::BadInput,
            Error::Testbed(_) => Status::TestbedFailed,
        }
    }
}

/// Ends a command: prints the one line of an error, and gives the status.
pub fn finish(outcome: Result<Status, Error>) -> Status {
    match outcome {
        Ok(status) => status,
        Err(error) => {
            let line = error
                .to_string()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            eprintln!("everyack: {line}");
            error.status()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_the_numbers_that_scripts_rely_on() {
        let all = [
            Status::AsPromised,
            Status::Broken,
            Status::BadInput,
            Status::TestbedFailed,
            Status::Interrupted,
        ];
        assert_eq!(all.map(Status::code), [0, 1, 2, 3, 130]);
        assert_eq!(Error::Input(String::new()).status().code(), 2);
        assert_eq!(Error::Testbed(String::new()).status().code(), 3);
    }
}
