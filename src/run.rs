//! `run`: a suite, bundled or one's own.

use crate::args::RunArguments;
use crate::exit::{Error, Status};
use crate::{campaign, input};

/// Runs the suite that is named.
pub fn run(arguments: &RunArguments) -> Result<Status, Error> {
    let suite = input::suite(&arguments.suite)?;
    campaign::judge(&suite, &arguments.campaign)
}
