//! Orderly ends, and ends of the disk's making, of brokers in a cluster.

use crate::disk::DiskError;
use crate::env::Queue;
use crate::fact::Fact;
use crate::ids::NodeId;
use crate::log::clean_shutdown::CLEAN_SHUTDOWN_FILE;
use crate::test_cluster::TestCluster;
use crate::time::{MILLIS, SECONDS};
use crate::wire::ErrorCode;

const NONE: ErrorCode = ErrorCode::None;

#[test]
fn a_controlled_shutdown_moves_the_leadership_first_and_then_leaves_the_marker() {
    let mut c = TestCluster::start(&[], None);
    assert_eq!(c.produced(1, -1, "a"), (NONE, 0));
    let epoch = c.broker(1).epoch();
    c.shut_down(1);
    c.until("broker 1 to end", |c| !c.is_alive(1));
    assert_eq!(c.halted, [NodeId(1)]);
    assert_eq!(c.state().leader, 2);
    assert!(!c.state().isr.contains(&1));
    let ended = Fact::ShutDownCleanly {
        broker_epoch: epoch,
    };
    assert!(c.facts_of(1).any(|f| *f == ended));
    let marker = format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}");
    assert_eq!(c.disk(1).bytes(CLEAN_SHUTDOWN_FILE), marker.as_bytes());
    // The leadership had gone before the broker stopped to serve: it followed for a while.
    let followed = c
        .facts_of(1)
        .position(|f| matches!(f, Fact::BecameFollower { leader, .. } if *leader == 2));
    let ended = c.facts_of(1).position(|f| *f == ended);
    assert!(followed.unwrap() < ended.unwrap());
}

#[test]
fn after_an_orderly_end_a_start_is_clean_and_the_marker_is_gone() {
    let mut c = TestCluster::start(&[], None);
    c.produced(1, -1, "a");
    c.shut_down(1);
    c.until("broker 1 to end", |c| !c.is_alive(1));
    c.start_broker(1);
    assert!(
        c.facts_of(1)
            .any(|f| *f == Fact::BrokerStarted { clean: true })
    );
    c.until("broker 1 to be in sync", |c| c.state().isr.len() == 3);
    assert_eq!(c.values(1), ["a"]);
    c.kill(1);
    let before = c.facts_of(1).count();
    c.run(20 * SECONDS);
    c.start_broker(1);
    let unclean = Fact::BrokerStarted { clean: false };
    assert!(c.facts_of(1).skip(before).any(|f| *f == unclean));
}

#[test]
fn everything_is_flushed_and_the_checkpoints_are_written_before_the_marker() {
    let mut c = TestCluster::start(&[], None);
    for n in 0..5 {
        c.produced(1, -1, &n.to_string());
    }
    c.run(SECONDS);
    assert_eq!(
        c.partition(1).log.recovery_point(),
        0,
        "nothing was flushed"
    );
    c.shut_down(1);
    c.until("broker 1 to end", |c| !c.is_alive(1));
    let flushed = |f: &Fact| matches!(f, Fact::Flushed { offset: 5, .. });
    assert!(c.facts_of(1).any(flushed));
    for file in [
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
    ] {
        let text = String::from_utf8(c.disk(1).bytes(file).clone()).unwrap();
        assert!(text.contains("t 0 5"), "{file}: {text}");
    }
}

#[test]
fn a_controller_that_does_not_answer_delays_an_orderly_end_by_five_minutes() {
    let mut c = TestCluster::start(&[], None);
    c.cut_from_controller(1);
    c.shut_down(1);
    c.run(299 * SECONDS);
    assert!(c.is_alive(1));
    c.run(2 * SECONDS);
    assert!(!c.is_alive(1));
    assert!(c.disk(1).bytes(CLEAN_SHUTDOWN_FILE).starts_with(b"{"));
}

#[test]
fn without_controlled_shutdown_the_leadership_goes_with_the_process() {
    let mut c = TestCluster::start(&[("controlled.shutdown.enable", "false")], None);
    c.shut_down(1);
    c.run(100 * MILLIS);
    assert!(!c.is_alive(1));
    assert_eq!(c.state().leader, 1, "its session has not ended");
    assert!(
        c.facts_of(1)
            .any(|f| *f == Fact::ShutdownBegan { controlled: false })
    );
}

#[test]
fn a_broker_that_was_never_unfenced_ends_at_once_and_uncleanly() {
    let mut c = TestCluster::start(&[], None);
    c.kill(1);
    c.start_broker(1);
    c.shut_down(1);
    assert!(!c.is_alive(1));
    assert!(
        !c.facts_of(1)
            .any(|f| matches!(f, Fact::ShutDownCleanly { .. }))
    );
}

#[test]
fn a_broker_that_cannot_register_in_time_ends_by_itself() {
    let mut c = TestCluster::start(&[], None);
    c.kill(3);
    c.cut_from_controller(3);
    c.start_broker(3);
    c.run(59 * SECONDS);
    assert!(c.is_alive(3));
    c.run(2 * SECONDS);
    assert!(!c.is_alive(3));
    assert!(c.facts_of(3).any(|f| *f == Fact::RegistrationTimedOut));
    // One that registers in time stays.
    c.heal();
    c.start_broker(3);
    c.run(61 * SECONDS);
    assert!(c.broker(3).is_running());
}

#[test]
fn a_flush_that_fails_on_the_way_out_leaves_no_marker() {
    let mut c = TestCluster::start(&[], None);
    c.produced(1, -1, "a");
    c.shut_down(1);
    c.until("leader 2", |c| c.state().leader == 2);
    c.failing_syncs.insert(1);
    c.until("broker 1 to end", |c| !c.is_alive(1));
    assert!(
        !c.facts_of(1)
            .any(|f| matches!(f, Fact::ShutDownCleanly { .. }))
    );
    c.failing_syncs.clear();
    c.start_broker(1);
    let clean = Fact::BrokerStarted { clean: true };
    assert!(!c.facts_of(1).any(|f| *f == clean));
}

#[test]
fn an_append_that_fails_is_not_acknowledged_and_the_broker_halts() {
    for (error, acks) in [(DiskError::Io, -1), (DiskError::NoSpace, 1)] {
        let mut c = TestCluster::start(&[], None);
        c.produced(1, -1, "a");
        c.disk(1).fail_next = Some(error);
        let (answered, _) = c.produced(1, acks, "b");
        assert_eq!(answered, ErrorCode::KafkaStorageError);
        c.run(10 * MILLIS);
        assert!(!c.is_alive(1));
        assert!(
            c.facts_of(1)
                .any(|f| *f == Fact::LogDirectoryOffline { error })
        );
        c.until("another leader", |c| c.is_led_by(2));
        assert_eq!(c.values(2), ["a"]);
    }
}

#[test]
fn a_failed_sync_is_not_acknowledged_although_followers_have_the_record() {
    let mut c = TestCluster::start(&[("log.flush.interval.messages", "1")], None);
    c.hold_queue(1, Queue::LogDirFailureHandler);
    c.failing_syncs.insert(1);
    let sent = c.produce(1, -1, "a");
    let behind = c.produce(1, -1, "b");
    c.run(SECONDS);
    let refused = Some((ErrorCode::KafkaStorageError, -1));
    assert_eq!(c.answer(sent), refused);
    assert_eq!(c.answer(behind), refused, "nothing is appended any more");
    assert_eq!(c.values(1), ["a"], "what was appended stays");
    assert_eq!(c.values(2), ["a"], "reads did not wait for the flush");
    c.release();
    assert!(!c.is_alive(1), "the last log directory is gone");
}

#[test]
fn between_a_disk_error_and_the_halt_the_broker_answers() {
    let mut c = TestCluster::start(&[], None);
    c.hold_queue(1, Queue::LogDirFailureHandler);
    c.disk(1).fail_next = Some(DiskError::Io);
    c.produced(1, -1, "a");
    assert_eq!(c.produced(1, 1, "b").0, ErrorCode::KafkaStorageError);
    assert_eq!(c.log_end(1), 0);
    c.release();
    assert!(!c.is_alive(1));
}

#[test]
fn a_checkpoint_that_fails_takes_the_broker_down() {
    let mut c = TestCluster::start(&[], None);
    c.failing_syncs.insert(3);
    c.until("broker 3 to halt", |c| !c.is_alive(3));
    assert_eq!(c.halted, [NodeId(3)]);
    assert_eq!(c.state().leader, 1);
}
