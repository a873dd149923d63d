//! Disks that do not keep what they were given.

use super::*;
use crate::event::Damage;

const POWER_LOST: FaultEvent = FaultEvent::PowerLost {
    unsynced_bytes: 1,
    kept_bytes: 0,
};

fn damaged(first: Offset) -> FaultEvent {
    FaultEvent::StoredDamaged {
        partition: 0,
        first,
        last: first,
        how: Damage::FlippedBits,
    }
}

impl Tale {
    fn flushed(self, broker: BrokerId, offset: Offset) -> Tale {
        let partition = partition();
        self.fact(node(broker), Fact::Flushed { partition, offset })
    }

    fn hidden(&self) -> Option<Mechanism> {
        self.explain(LossVerdict::Hidden, Some(ACKED_OFFSET))
    }

    /// Its machine loses power, and it leads again with as many records.
    fn leads_again(self, broker: BrokerId, log_end: Offset) -> Tale {
        self.fault(broker, POWER_LOST)
            .fenced(broker)
            .decides(-1, 1, &[broker])
            .recovers(broker, log_end)
            .decides(broker, 2, &[broker])
            .leads(broker, 2, log_end)
    }
}

/// Three replicas that all lost their power, and the first of them its record.
fn power_loss(flushed: bool, lies: bool) -> Option<Mechanism> {
    let mut tale = Tale::of(&[1, 2, 3]);
    if lies {
        tale = tale.fault(1, FaultEvent::DiskLies);
    }
    tale = tale.appended(1, 0);
    if flushed {
        tale = tale.flushed(1, ACKED_OFFSET + 1);
    }
    tale.leads_again(1, ACKED_OFFSET).lost()
}

#[test]
fn s12_the_disk_had_said_that_the_record_was_durable() {
    assert_eq!(power_loss(true, true), Some(Mechanism::S12));
    // What nobody had called durable needs no lie to be lost.
    assert_eq!(power_loss(false, true), Some(Mechanism::S02));
}

#[test]
fn a_record_that_an_honest_disk_had_synced_is_not_put_down_to_a_lie() {
    assert_ne!(power_loss(true, false), Some(Mechanism::S12));
    let before = Tale::of(&[1])
        .fault(1, FaultEvent::DiskLies)
        .fault(1, FaultEvent::DiskHealed)
        .appended(1, 0)
        .flushed(1, ACKED_OFFSET + 1)
        .leads_again(1, ACKED_OFFSET);
    assert_eq!(before.lost(), Some(Mechanism::S01));
    // The sync that was lied about was of what came before.
    let earlier = Tale::of(&[1])
        .fault(1, FaultEvent::DiskLies)
        .flushed(1, ACKED_OFFSET)
        .appended(1, 0)
        .flushed(1, ACKED_OFFSET)
        .leads_again(1, ACKED_OFFSET);
    assert_eq!(earlier.lost(), Some(Mechanism::S01));
}

#[test]
fn s08_a_recovery_cuts_the_log_at_a_damaged_batch() {
    let cut = |first| {
        Tale::of(&[1])
            .appended(1, 0)
            .fault(1, damaged(first))
            .fault(1, KILLED)
            .fenced(1)
            .decides(-1, 1, &[1])
            .recovers(1, first)
            .decides(1, 2, &[1])
            .leads(1, 2, first)
    };
    assert_eq!(cut(ACKED_OFFSET).lost(), Some(Mechanism::S08));
    assert_eq!(cut(ACKED_OFFSET - 4).lost(), Some(Mechanism::S08));
    // Damage behind the record explains nothing.
    let behind = Tale::of(&[1])
        .appended(1, 0)
        .fault(1, damaged(ACKED_OFFSET + 1))
        .fault(1, KILLED)
        .recovers(1, ACKED_OFFSET)
        .decides(1, 2, &[1])
        .leads(1, 2, ACKED_OFFSET);
    assert_ne!(behind.lost(), Some(Mechanism::S08));
}

#[test]
fn s09_the_leader_serves_a_damaged_batch_and_what_is_behind_it() {
    let served = |first| {
        Tale::of(&[1, 2, 3])
            .leads(1, 0, 0)
            .appended(1, 0)
            .copied(2, 0, false)
            .fault(1, damaged(first))
    };
    for first in [ACKED_OFFSET, ACKED_OFFSET - 7] {
        assert_eq!(served(first).hidden(), Some(Mechanism::S09));
        assert_eq!(served(first).lost(), Some(Mechanism::S09));
        let on_disk = served(first).explain(LossVerdict::LostOnDisk, None);
        assert_eq!(on_disk, Some(Mechanism::S09));
    }
    assert_ne!(served(ACKED_OFFSET + 1).hidden(), Some(Mechanism::S09));
}

#[test]
fn damage_that_was_cut_off_or_that_no_leader_serves_hides_nothing() {
    let tale = || Tale::of(&[1, 2, 3]).leads(1, 0, 0).appended(1, 0);
    let of_a_follower = tale().copied(2, 0, false).fault(2, damaged(ACKED_OFFSET));
    assert_ne!(of_a_follower.hidden(), Some(Mechanism::S09));
    // Nobody has met it.
    let deposed = tale()
        .copied(2, 0, false)
        .fault(1, damaged(ACKED_OFFSET))
        .decides(2, 1, &[2])
        .leads(2, 1, ACKED_OFFSET + 1);
    assert_ne!(deposed.hidden(), Some(Mechanism::S09));
    let copied_again = tale()
        .fault(1, damaged(ACKED_OFFSET))
        .recovers(1, ACKED_OFFSET)
        .copied(1, 0, false)
        .leads(1, 2, ACKED_OFFSET + 1);
    assert_ne!(copied_again.hidden(), Some(Mechanism::S09));
}

#[test]
fn s09_a_reader_in_front_of_a_damaged_batch_does_not_get_to_its_other_partitions() {
    let tale = |fails: bool, reads_on: bool| {
        let mut tale = Tale::of(&[1, 2]).leads(1, 0, 0).appended(1, 0);
        tale.replicas.push(vec![2, 1]);
        let other = Fact::BecameLeader {
            partition: TopicPartition::new(ID, 1),
            leader_epoch: 0,
            log_end: 0,
        };
        let damaged = FaultEvent::StoredDamaged {
            partition: 1,
            first: 40,
            last: 41,
            how: Damage::MisdirectedWrite,
        };
        let tale = tale.fact(node(2), other).fault(2, damaged);
        let failed = ClientEvent::PollFailed("corrupt".into());
        let delivered = ClientEvent::Delivered {
            message: MESSAGE,
            offset: ACKED_OFFSET,
        };
        let client = [(fails, failed), (reads_on, delivered)].into_iter();
        client.fold(tale, |tale, (happens, event)| match happens {
            true => tale.event(CONSUMER, EventKind::Client(event)),
            false => tale,
        })
    };
    let stuck = tale(true, false);
    assert_eq!(stuck.hidden(), Some(Mechanism::S09));
    assert_ne!(stuck.lost(), Some(Mechanism::S09), "it is gone");
    // Another leader has the batch whole; what was fetched before stays.
    let elsewhere = Fact::BecameLeader {
        partition: TopicPartition::new(ID, 1),
        leader_epoch: 1,
        log_end: 42,
    };
    assert_eq!(
        stuck.fact(node(1), elsewhere).hidden(),
        Some(Mechanism::S09)
    );
    assert_ne!(tale(false, false).hidden(), Some(Mechanism::S09));
    assert_ne!(tale(true, true).hidden(), Some(Mechanism::S09));
}
