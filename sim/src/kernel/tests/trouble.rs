//! Stopped processes, failing and stalling disks, replaced disks, wrong clocks.

use super::*;
use crate::event::FaultEvent;
use crate::fault::DiskOperation;
use crate::kernel::disk::Rule;
use everyack_broker::disk::DiskError;

fn fails(operation: DiskOperation, error: DiskError, nth: u32, lasting: bool) -> Rule {
    Rule {
        operation,
        files: None,
        error,
        nth,
        lasting,
    }
}

fn disk_failures(kernel: &Kernel<Toy>) -> Vec<(DiskOperation, DiskError)> {
    let failures = kernel.events.iter().filter_map(|event| match event.kind {
        EventKind::Fault(FaultEvent::DiskFailed { operation, error }) => Some((operation, error)),
        _ => None,
    });
    failures.collect()
}

#[test]
fn a_stopped_process_takes_no_input_and_takes_all_of_it_in_order_when_it_goes_on() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    act(&mut kernel, B, |env| {
        env.timer_in(20 * MILLIS, TimerToken(3));
        env.serve(Queue::RequestHandler, MILLIS);
        let file = env.disk.open("log").unwrap();
        env.disk.append(file, b"bytes").unwrap();
        env.disk.sync(file, SyncToken(5));
    });
    assert!(kernel.pause(B) && kernel.is_paused(B));
    assert!(!kernel.pause(B), "it is stopped already");
    send(&mut kernel, A, conn, 7);
    run_for(&mut kernel, 30 * SECONDS);
    assert!(kernel.is_alive(B));
    assert_eq!(lines(&kernel, B).last().unwrap(), "accepted broker 1");
    let resumed_at = kernel.now();
    assert!(kernel.resume(B));
    assert!(!kernel.resume(B), "it goes on already");
    let taken = &lines(&kernel, B)[2..];
    assert_eq!(taken.last().unwrap(), "timer 3", "{taken:?}");
    for line in ["request 7", "serve RequestHandler", "synced 5", "timer 3"] {
        assert_eq!(time_of(&kernel, B, line), Some(resumed_at), "{line}");
    }
}

#[test]
fn the_machine_of_a_stopped_process_keeps_connections_and_accepts_new_ones() {
    let mut kernel = pair(1);
    let old = connected(&mut kernel);
    kernel.pause(B);
    let new = connect(&mut kernel);
    run_for(&mut kernel, SYN_TIMEOUT);
    assert_eq!(lines(&kernel, A)[1..], ["connected", "connected"]);
    for (conn, correlation) in [(old, 1), (new, 2)] {
        send(&mut kernel, A, conn, correlation);
    }
    run_for(&mut kernel, SECONDS);
    kernel.resume(B);
    let mut taken = lines(&kernel, B)[2..].to_vec();
    // Two connections keep no order between them.
    taken[1..].sort();
    assert_eq!(taken, ["accepted broker 1", "request 1", "request 2"]);
}

#[test]
fn a_stopped_process_that_is_killed_has_taken_nothing() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.pause(B);
    send(&mut kernel, A, conn, 7);
    run_for(&mut kernel, SECONDS);
    assert!(kernel.kill(B));
    assert!(!kernel.is_paused(B) && !kernel.resume(B));
    kernel.start(B, Toy::default());
    run_for(&mut kernel, SECONDS);
    assert_eq!(lines(&kernel, B), ["start"]);
    assert_eq!(lines(&kernel, A).last().unwrap(), "closed Reset");
}

#[test]
fn the_clocks_of_a_stopped_process_go_on() {
    let mut kernel = pair(1);
    kernel.pause(B);
    run_until(&mut kernel, 5 * SECONDS);
    kernel.resume(B);
    let wall = act(&mut kernel, B, |env| env.wall_ms);
    assert_eq!(wall, WALL_CLOCK_START_MS + 5_000);
}

#[test]
fn the_nth_write_of_a_full_disk_fails_and_all_that_follow_until_it_is_mended() {
    let mut kernel = pair(1);
    let machine = MachineId(1);
    kernel.fail_disk(
        machine,
        fails(DiskOperation::Write, DiskError::NoSpace, 3, true),
    );
    let outcomes = act(&mut kernel, A, |env| {
        let file = env.disk.open("log").unwrap();
        let mut append = || env.disk.append(file, b"bytes");
        [append(), append(), append()]
    });
    assert_eq!(
        outcomes,
        [Ok(()), Err(DiskError::NoSpace), Err(DiskError::NoSpace)]
    );
    let cuts = act(&mut kernel, A, |env| {
        let file = env.disk.open("log").unwrap();
        (env.disk.truncate(file, 1), env.disk.rename("log", "old"))
    });
    assert_eq!(cuts, (Ok(()), Ok(())), "neither takes space");
    assert_eq!(
        disk_failures(&kernel),
        [(DiskOperation::Append, DiskError::NoSpace); 2]
    );
    kernel.mend_disk(machine);
    act(&mut kernel, A, |env| env.disk.open("new").map(|_| ())).unwrap();
    assert_eq!(disk_failures(&kernel).len(), 2);
}

#[test]
fn a_passing_error_hits_one_write_and_a_broken_disk_fails_names_too() {
    let mut kernel = pair(1);
    let machine = MachineId(1);
    kernel.fail_disk(
        machine,
        fails(DiskOperation::Write, DiskError::Io, 1, false),
    );
    let outcomes = act(&mut kernel, A, |env| {
        [
            env.disk.open("log").map(|_| ()),
            env.disk.open("log").map(|_| ()),
        ]
    });
    assert_eq!(outcomes, [Err(DiskError::Io), Ok(())]);
    kernel.fail_disk(machine, fails(DiskOperation::Write, DiskError::Io, 1, true));
    let outcomes = act(&mut kernel, A, |env| {
        let file = env.disk.open("log").unwrap();
        [env.disk.truncate(file, 0), env.disk.rename("log", "old")]
    });
    assert_eq!(outcomes, [Err(DiskError::Io); 2]);
}

#[test]
fn a_failed_sync_is_told_and_drops_what_it_should_have_made_durable() {
    let mut kernel = pair(1);
    let machine = MachineId(1);
    kernel.fail_disk(machine, fails(DiskOperation::Sync, DiskError::Io, 1, false));
    act(&mut kernel, A, |env| {
        let file = env.disk.open("log").unwrap();
        env.disk.append(file, b"bytes").unwrap();
        env.disk.sync(file, SyncToken(5));
    });
    run_for(&mut kernel, SECONDS);
    assert_eq!(
        lines(&kernel, A).last().unwrap(),
        "synced 5: input/output error"
    );
    assert_eq!(
        disk_failures(&kernel),
        [(DiskOperation::Sync, DiskError::Io)]
    );
    assert_eq!(kernel.disk(machine).content("log"), Some(&b""[..]));
}

#[test]
fn a_stalling_disk_holds_up_queues_that_use_it_and_syncs_and_nothing_else() {
    let mut kernel = pair(1);
    kernel.stall_disk(MachineId(1), 40 * SECONDS);
    act(&mut kernel, A, |env| {
        for queue in [
            Queue::RequestHandler,
            Queue::ReplicaFetcher(2),
            Queue::Scheduler,
        ] {
            env.serve(queue, MILLIS);
        }
        let file = env.disk.open("log").unwrap();
        env.disk.append(file, b"bytes").unwrap();
        env.disk.sync(file, SyncToken(5));
    });
    run_for(&mut kernel, 39 * SECONDS);
    assert_eq!(lines(&kernel, A)[1..], ["serve Scheduler"]);
    run_for(&mut kernel, 2 * SECONDS);
    let late = lines(&kernel, A)[2..].to_vec();
    for line in [
        "serve RequestHandler",
        "serve ReplicaFetcher(2)",
        "synced 5",
    ] {
        assert!(late.iter().any(|l| l == line), "{line} in {late:?}");
    }
}

#[test]
fn a_mended_disk_lets_go_what_it_held_up_once() {
    let mut kernel = pair(1);
    kernel.stall_disk(MachineId(1), 3_600 * SECONDS);
    act(&mut kernel, A, |env| {
        env.serve(Queue::RequestHandler, MILLIS);
        let file = env.disk.open("log").unwrap();
        env.disk.append(file, b"bytes").unwrap();
        env.disk.sync(file, SyncToken(5));
    });
    run_for(&mut kernel, 10 * SECONDS);
    kernel.mend_disk(MachineId(1));
    run_for(&mut kernel, SECONDS);
    assert_eq!(lines(&kernel, A)[1..], ["serve RequestHandler", "synced 5"]);
    run_for(&mut kernel, 4_000 * SECONDS);
    assert_eq!(lines(&kernel, A).len(), 3, "nothing comes twice");
}

#[test]
fn a_replaced_disk_is_empty_and_healthy_and_old_completions_reach_nobody() {
    let mut kernel = pair(1);
    let machine = MachineId(1);
    kernel.fail_disk(machine, fails(DiskOperation::Write, DiskError::Io, 3, true));
    act(&mut kernel, A, |env| {
        let file = env.disk.open("log").unwrap();
        env.disk.append(file, b"bytes").unwrap();
        env.disk.sync(file, SyncToken(5));
    });
    kernel.kill(A);
    kernel.replace_disk(machine);
    assert_eq!(kernel.disk(machine).paths().count(), 0);
    kernel.start(A, Toy::default());
    act(&mut kernel, A, |env| {
        let file = env.disk.open("log").unwrap();
        env.disk.append(file, b"new").unwrap();
    });
    run_for(&mut kernel, SECONDS);
    assert_eq!(lines(&kernel, A), ["start"]);
    assert_eq!(kernel.disk(machine).content("log"), Some(&b"new"[..]));
    assert_eq!(kernel.disk(machine).unsynced_bytes(), 3);
}

#[test]
#[should_panic(expected = "under a running process")]
fn a_disk_is_not_replaced_under_a_process_that_has_files_open() {
    let mut kernel = pair(1);
    act(&mut kernel, A, |env| env.disk.open("log").map(|_| ())).unwrap();
    kernel.replace_disk(MachineId(1));
}

#[test]
fn a_wall_clock_drifts_from_when_it_is_told_to_and_can_be_set_right() {
    let mut kernel = pair(1);
    let (a, b) = (MachineId(1), MachineId(2));
    run_until(&mut kernel, 10 * SECONDS);
    kernel.drift_clock(a, 50_000);
    kernel.drift_clock(b, -100_000);
    run_until(&mut kernel, 30 * SECONDS);
    assert_eq!(kernel.wall_ms(a), WALL_CLOCK_START_MS + 31_000);
    assert_eq!(kernel.wall_ms(b), WALL_CLOCK_START_MS + 28_000);
    // Another drift keeps what the first has made.
    kernel.drift_clock(a, 0);
    kernel.set_clock(b);
    run_until(&mut kernel, 40 * SECONDS);
    assert_eq!(kernel.wall_ms(a), WALL_CLOCK_START_MS + 41_000);
    assert_eq!(kernel.wall_ms(b), WALL_CLOCK_START_MS + 40_000);
}
