//! `replay`: one run again, from its failure file; its story, and whether it is the same run.

use crate::args::{ReplayArguments, RunWire};
use crate::campaign::build;
use crate::exit::{Error, Status};
use crate::trace_hashes::step_lines;
use crate::{input, output};
use everyack_reports::{story, terminal};
use everyack_scenarios::failure::{Build, Failure};
use everyack_sim::RunResult;
use everyack_sim::spec::{Record, RunSpec, WireMode};

/// Runs the file's spec and tells its story. 0 when the run ends with the verdict that the file
/// records, 1 when it ends otherwise, 3 when the build that wrote the file gives another hash.
pub fn replay(arguments: &ReplayArguments) -> Result<Status, Error> {
    let failure = input::failure(&arguments.file)?;
    let here = build();
    if failure.build != here {
        let (file, differs) = (arguments.file.display(), differs(&failure.build, &here));
        eprintln!(
            "warning: {file} was written by another build ({differs}): judged without its trace hash"
        );
    }
    let spec = spec(&failure, arguments);
    let result = everyack_sim::run(&spec);
    let mut text = if arguments.trace {
        step_lines(&result) + "\n"
    } else {
        String::new()
    };
    text += &story::render(&spec, &result, terminal::WIDTH);
    let (status, conclusion) = compare(&failure, &result, failure.build == here);
    output::print(&format!("{text}{conclusion}\n"))?;
    Ok(status)
}

fn spec(failure: &Failure, arguments: &ReplayArguments) -> RunSpec {
    RunSpec {
        record: if arguments.trace {
            Record::Full
        } else {
            Record::Story
        },
        wire: match arguments.wire {
            None => failure.spec.wire,
            Some(RunWire::Typed) => WireMode::Typed,
            Some(RunWire::Bytes) => WireMode::Bytes,
        },
        ..failure.spec.clone()
    }
}

/// Whether this is the run that the file records, and one line that says so. Another build is held
/// to the kind of failure only: its runs may differ in every detail.
fn compare(failure: &Failure, result: &RunResult, same_build: bool) -> (Status, String) {
    let hash = format!("0x{:016x}", result.trace_hash);
    let kind = &failure.mechanism;
    if same_build && hash != failure.trace_hash {
        let recorded = &failure.trace_hash;
        let line = format!(
            "DIVERGED: this build gave trace hash {hash}, the file records {recorded}. Unless the \
             code was changed without a commit, the testbed is not deterministic."
        );
        return (Status::TestbedFailed, line);
    }
    let again = match same_build {
        true => failure.shows_again(result),
        false => failure.fails_in_the_same_way(result),
    };
    match (again, same_build) {
        (true, true) => (
            Status::AsPromised,
            format!("As recorded: {kind}, trace hash {hash}."),
        ),
        (true, false) => (
            Status::AsPromised,
            format!("It fails in the same way as recorded: {kind}."),
        ),
        (false, _) => (
            Status::Broken,
            format!("NOT as recorded: the file records {kind}."),
        ),
    }
}

/// What tells two builds apart: `commit a, here b`.
fn differs(wrote: &Build, here: &Build) -> String {
    let fields = [
        ("version", &wrote.everyack, &here.everyack),
        ("commit", &wrote.commit, &here.commit),
        ("rustc", &wrote.rustc, &here.rustc),
        ("target", &wrote.target, &here.target),
    ];
    let differing = fields.iter().filter(|(_, wrote, here)| wrote != here);
    let told: Vec<String> = differing
        .map(|(field, wrote, here)| format!("{field} {wrote}, here {here}"))
        .collect();
    told.join("; ")
}
