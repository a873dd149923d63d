//! `shrink`: the smallest run that still fails in the same way as a failure file's.

use crate::args::ShrinkArguments;
use crate::campaign::build;
use crate::exit::{Error, Status};
use crate::input;
use crate::interrupt::on_interrupt;
use crate::output;
use crate::progress::Progress;
use everyack_reports::{json, shrunk, story, terminal};
use everyack_scenarios::report::shell_word;
use everyack_sim::RunSpec;
use everyack_sim::spec::Record;
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Shrinks a failure, writes what is left and tells its story. 0 when it still fails in the same way,
/// 1 when it does not fail at all.
pub fn shrink(arguments: &ShrinkArguments) -> Result<Status, Error> {
    let failure = input::failure(&arguments.file)?;
    let file = arguments.out.clone().unwrap_or_else(|| {
        let mut name = arguments.file.clone().into_os_string();
        name.push(".shrunk.json");
        PathBuf::from(name)
    });
    output::may_write(&file)?;
    let stop = on_interrupt()?;
    let progress = Progress::new(arguments.quiet, None);
    let runs = Cell::new(0);
    let shrunk = everyack_scenarios::shrink::shrink(
        &failure,
        &build(),
        &everyack_sim::run,
        &mut |_, smallest| {
            runs.set(runs.get() + 1);
            progress.stands(runs.get(), &|| shrunk::in_short(smallest));
            let in_time = arguments
                .budget
                .is_none_or(|budget| progress.elapsed() < budget);
            in_time && !stop.load(Ordering::Relaxed)
        },
    );
    progress.end();
    let Some(mut shrunk) = shrunk else {
        let (file, way) = (arguments.file.display(), &failure.mechanism);
        output::print(&format!("{file} does not fail by {way} in this build.\n"))?;
        return Ok(Status::Broken);
    };
    let spec = RunSpec {
        record: Record::Story,
        ..shrunk.failure.spec.clone()
    };
    let result = everyack_sim::run(&spec);
    shrunk.failure.story = result.story.clone();
    output::write(&file, &json::failure(&shrunk.failure))?;
    let story = story::render(&spec, &result, terminal::WIDTH);
    let what_went = shrunk::render(&shrunk, progress.elapsed().as_secs_f64());
    let replay = shell_word(&file.display().to_string());
    output::print(&format!("{story}\n{what_went}\neveryack replay {replay}\n"))?;
    Ok(match stop.load(Ordering::Relaxed) {
        true => Status::Interrupted,
        false => Status::AsPromised,
    })
}
