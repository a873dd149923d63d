//! Where the seeds of a campaign begin, when the user says `git`.

use crate::args::{SeedBase, seed};
use crate::exit::Error;
use std::process::Command;

/// The number that the seeds begin at.
///
/// # Errors
/// `git` outside a repository, or in one without a commit.
pub fn resolve(base: SeedBase) -> Result<u64, Error> {
    match base {
        SeedBase::Number(number) => Ok(number),
        SeedBase::Git => of_head(head().as_deref()),
    }
}

/// The first 64 bits of a commit's id.
fn of_head(head: Option<&str>) -> Result<u64, Error> {
    head.and_then(|head| head.get(..16))
        .and_then(|digits| seed(&format!("0x{digits}")).ok())
        .ok_or_else(|| {
            let allowed = "a number, 0x..., or git inside a repository that has a commit";
            Error::Input(format!(
                "--seed-base git: found no commit here; allowed is {allowed}"
            ))
        })
}

fn head() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--verify", "HEAD"])
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_gives_its_first_64_bits_and_no_commit_is_an_input_error() {
        let head = "00000000000000ff0123456789abcdef01234567";
        assert_eq!(of_head(Some(head)), Ok(255));
        assert!(
            matches!(of_head(None), Err(Error::Input(line)) if line.contains("--seed-base git"))
        );
        assert_eq!(resolve(SeedBase::Number(7)), Ok(7));
    }
}
