//! Applications that sleep.

use crate::world::ApplicationId;
use std::task::Waker;

struct Sleeper {
    id: u64,
    application: ApplicationId,
    fired: bool,
    waker: Option<Waker>,
}

/// Everyone who sleeps. An application mostly sleeps once at a time, so that there are a few.
#[derive(Default)]
pub(super) struct Sleepers {
    next_id: u64,
    sleeping: Vec<Sleeper>,
}

impl Sleepers {
    /// A new number. Nobody will wake it where no application is named.
    pub fn add(&mut self, application: Option<ApplicationId>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if let Some(application) = application {
            self.sleeping.push(Sleeper {
                id,
                application,
                fired: false,
                waker: None,
            });
        }
        id
    }

    /// Its time has come: whom to wake, if somebody waits for it.
    pub fn fire(&mut self, id: u64) -> Option<(ApplicationId, Waker)> {
        let sleeper = self.sleeping.iter_mut().find(|s| s.id == id)?;
        sleeper.fired = true;
        Some((sleeper.application, sleeper.waker.take()?))
    }

    /// Whether its time has come; else this waker is kept.
    pub fn has_slept(&mut self, id: u64, waker: &Waker) -> bool {
        let Some(at) = self.sleeping.iter().position(|s| s.id == id) else {
            return false;
        };
        let sleeper = &mut self.sleeping[at];
        let fired = sleeper.fired;
        if fired {
            self.sleeping.swap_remove(at);
        } else {
            sleeper.waker = Some(waker.clone());
        }
        fired
    }

    /// Forgets those of an application that is gone.
    pub fn forget(&mut self, application: ApplicationId) {
        self.sleeping.retain(|s| s.application != application);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_woken_once_and_those_of_a_dead_application_never() {
        let mut sleepers = Sleepers::default();
        let [one, other] = [1, 2].map(|n| sleepers.add(Some(ApplicationId(n))));
        let nobody = sleepers.add(None);
        for id in [one, other, nobody] {
            assert!(!sleepers.has_slept(id, Waker::noop()));
        }
        assert_eq!(sleepers.fire(one).unwrap().0, ApplicationId(1));
        assert!(sleepers.fire(one).is_none());
        assert!(sleepers.has_slept(one, Waker::noop()));
        assert!(!sleepers.has_slept(one, Waker::noop()));
        sleepers.forget(ApplicationId(2));
        assert!(sleepers.fire(other).is_none() && sleepers.fire(nobody).is_none());
    }
}
