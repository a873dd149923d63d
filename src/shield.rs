//! No panic and no backtrace reaches the user: a panic becomes one line and exit status 3.

use crate::exit::Error;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

/// Calls a command. Panics of the threads that carry a seed are the runner's to catch and to save;
/// they print nothing here. One that reaches this place ends the command.
pub fn shielded<T>(command: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let last_place = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&last_place);
    panic::set_hook(Box::new(move |info| {
        let place = info
            .location()
            .map(|place| format!("{}:{}", place.file(), place.line()));
        if let Ok(mut last) = noted.lock() {
            *last = place;
        }
    }));
    let caught = panic::catch_unwind(AssertUnwindSafe(command));
    drop(panic::take_hook());
    caught.unwrap_or_else(|payload| {
        let place = last_place.lock().ok().and_then(|last| last.clone());
        let place = place.unwrap_or_else(|| "an unknown place".to_string());
        let message = message(payload.as_ref());
        Err(Error::Testbed(format!(
            "internal failure at {place}: {message}; this is a bug in everyack"
        )))
    })
}

/// What a panic said.
pub fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Status;

    #[test]
    fn a_panic_becomes_one_line_with_its_place_and_status_3() {
        let outcome: Result<Status, Error> = shielded(|| panic!("the log end went back"));
        let error = outcome.unwrap_err();
        assert_eq!(error.status(), Status::TestbedFailed);
        let line = error.to_string();
        assert!(
            line.contains("src/shield.rs:") && line.contains("the log end went back"),
            "{line}"
        );
        assert!(!line.contains('\n'));
    }
}
