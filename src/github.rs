//! `--github`: a job summary and annotations for GitHub Actions.

use crate::exit::Error;
use everyack_reports::github::{SUMMARY_BYTES, annotations, summary};
use everyack_scenarios::report::Report;
use std::fs;
use std::io::Write;
use std::path::Path;

/// Appends the summary to the file that `GITHUB_STEP_SUMMARY` names, and prints the annotations to
/// stderr, where the runner reads workflow commands as it does on stdout: `--format json` stays JSON.
#[allow(clippy::disallowed_methods)] // the environment says where GitHub wants the summary
pub fn tell(report: &Report) -> Result<(), Error> {
    match std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        Some(path) => append(Path::new(&path), report)?,
        None => eprintln!(
            "warning: --github: GITHUB_STEP_SUMMARY is not set, so there is no job summary"
        ),
    }
    eprint!("{}", annotations(report));
    Ok(())
}

/// Other commands of the step may have written there: what is left of its room is this one's.
fn append(path: &Path, report: &Report) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        let path = path.display();
        Error::Testbed(format!("--github: appending to {path} failed: {error}"))
    };
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(failed)?;
    let used = usize::try_from(file.metadata().map_err(failed)?.len()).unwrap_or(usize::MAX);
    let text = summary(report, SUMMARY_BYTES.saturating_sub(used));
    file.write_all(text.as_bytes()).map_err(failed)
}
