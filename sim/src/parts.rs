//! Which part of the program is at work, for the shares that the benchmark prints.
//!
//! With the feature `parts` each place where the work of another part begins enters it, and is back in
//! the former one when its guard goes. The benchmark looks at it from another thread, many times a
//! second. Nothing in a run reads it. Without the feature there is nothing of all this.

/// A part of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// The kernel's agenda, steps and trace, the driver, and the runtime that hosts them.
    Events,
    /// Brokers and controllers.
    Broker,
    /// Producer and consumer engines, and the applications that call them.
    Clients,
    /// Links and connections.
    Network,
    /// What brokers do on their disks.
    Disk,
    /// History, marks, triggers, invariants, verdicts and attribution.
    Checkers,
    /// Encoding and decoding of frames, on one seed in sixteen.
    Encoding,
}

impl Part {
    /// Every part.
    pub const ALL: [Part; 7] = [
        Part::Events,
        Part::Broker,
        Part::Clients,
        Part::Network,
        Part::Disk,
        Part::Checkers,
        Part::Encoding,
    ];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Part::Events => "events",
            Part::Broker => "broker",
            Part::Clients => "clients",
            Part::Network => "network",
            Part::Disk => "disk",
            Part::Checkers => "checkers",
            Part::Encoding => "encoding",
        }
    }
}

#[cfg(feature = "parts")]
mod entered {
    use super::Part;
    use std::sync::atomic::{AtomicU8, Ordering};

    static AT_WORK: AtomicU8 = AtomicU8::new(Part::Events as u8);

    /// The part that is at work, in whichever run of the process entered one last: of one run at a time.
    pub fn at_work() -> Part {
        Part::ALL[usize::from(AT_WORK.load(Ordering::Relaxed))]
    }

    /// Goes back to the former part.
    pub(crate) struct Entered(u8);

    #[inline]
    pub(crate) fn enter(part: Part) -> Entered {
        let former = AT_WORK.load(Ordering::Relaxed);
        AT_WORK.store(part as u8, Ordering::Relaxed);
        Entered(former)
    }

    impl Drop for Entered {
        #[inline]
        fn drop(&mut self) {
            AT_WORK.store(self.0, Ordering::Relaxed);
        }
    }
}

#[cfg(not(feature = "parts"))]
mod entered {
    pub(crate) struct Entered;

    #[inline(always)]
    pub(crate) fn enter(_: super::Part) -> Entered {
        Entered
    }
}

#[cfg(feature = "parts")]
pub use entered::at_work;
pub(crate) use entered::enter;
