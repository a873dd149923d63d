//! A handler that throws, as family `processing-exception` makes it.

use crate::event::MessageId;
use std::collections::BTreeMap;

/// On which messages a handler still fails. A message that it fails on is bad wherever it turns up
/// again: the application may be given it more than once.
#[derive(Debug)]
pub(super) struct FailingHandler {
    /// Messages that it can still choose.
    left: u32,
    /// How often it fails on each; `u32::MAX` is always.
    times: u32,
    /// Failures left by message.
    bad: BTreeMap<MessageId, u32>,
}

impl FailingHandler {
    pub(super) fn new(records: u32, times: u32) -> FailingHandler {
        FailingHandler {
            left: records,
            times,
            bad: BTreeMap::new(),
        }
    }

    /// An attempt to handle a message: whether it throws.
    pub(super) fn fails_on(&mut self, message: MessageId) -> bool {
        if let Some(failures) = self.bad.get_mut(&message) {
            let fails = *failures > 0;
            if *failures != u32::MAX {
                *failures = failures.saturating_sub(1);
            }
            return fails;
        }
        if self.left == 0 || self.times == 0 {
            return false;
        }
        self.left -= 1;
        let more = match self.times {
            u32::MAX => u32::MAX,
            times => times - 1,
        };
        self.bad.insert(message, more);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u32) -> MessageId {
        MessageId {
            producer: 0,
            sequence,
            partition: 0,
        }
    }

    #[test]
    fn it_fails_so_often_on_each_of_the_next_records_and_on_no_other() {
        let mut handler = FailingHandler::new(2, 2);
        let mut attempt = |sequence| handler.fails_on(message(sequence));
        let outcomes = [1, 1, 1, 1, 2, 3, 2, 2, 3].map(&mut attempt);
        let expected = [true, true, false, false, true, false, true, false, false];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn a_poison_pill_fails_for_ever() {
        let mut handler = FailingHandler::new(1, u32::MAX);
        assert!((0..100).all(|_| handler.fails_on(message(7))));
        assert!(!handler.fails_on(message(8)));
    }
}
