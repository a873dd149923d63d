//! `run`: a suite, bundled or one's own.

use crate::args::RunArguments;
use crate::exit::{Error, Status};
use crate::{campaign, input};
use everyack_scenarios::report::shell_word;

/// Runs the suite that is named.
pub fn run(arguments: &RunArguments) -> Result<Status, Error> {
    let suite = input::suite(&arguments.suite)?;
    let command = format!("everyack run {}", shell_word(&arguments.suite));
    campaign::judge(&suite, command, &arguments.campaign)
}
