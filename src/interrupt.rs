//! SIGINT: the first one asks the runner to stop, so that finished runs are reported; the second
//! ends the process at once.

use crate::exit::{Error, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that turns true with the first SIGINT.
pub fn on_interrupt() -> Result<Arc<AtomicBool>, Error> {
    let asked = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&asked);
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(Status::Interrupted.code()));
        }
        eprintln!("everyack: interrupted; finishing the runs under way (once more: stop at once)");
    })
    .map_err(|error| Error::Testbed(format!("installing the handler of SIGINT failed: {error}")))?;
    Ok(asked)
}
