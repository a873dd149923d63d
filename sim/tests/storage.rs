//! The log on a disk that dies: whatever is appended, rolled, flushed, cut, expired and interrupted, what
//! was synced is there afterwards, nothing is invented, and epochs, indexes and producers agree with the
//! batches.

mod storage {
    pub mod host;
    pub mod interrupted;
}

use proptest::prelude::*;
use storage::host::{Death, Host, Step, script};
use storage::interrupted::Budget;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..3u8, 1..5u8).prop_map(|(producer, records)| Step::Append { producer, records }),
        4 => Just(Step::Flush),
        3 => Just(Step::FlushWithoutWaiting),
        3 => Just(Step::CompleteOne),
        2 => Just(Step::CheckpointRecoveryPoint),
        2 => (0..12u8).prop_map(|back| Step::Truncate { back }),
        2 => Just(Step::NewEpoch),
        1 => Just(Step::Retain),
        1 => (0..6u8).prop_map(|forward| Step::MoveLogStart { forward }),
        1 => Just(Step::DeleteFiles),
        1 => any::<bool>().prop_map(|drawn| Step::Die(Death::Power { drawn })),
        1 => Just(Step::Die(Death::Process)),
        1 => Just(Step::ShutDown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Every recovery in between is checked too; a part of them is interrupted itself.
    #[test]
    fn whatever_happens_the_log_recovers_what_was_synced(
        steps in prop::collection::vec(step(), 1..60),
        deaths in prop::collection::vec((any::<bool>(), 0..40u32), 0..3),
        seed in any::<u64>(),
    ) {
        let mut host = Host::new(seed);
        for step in steps {
            host.take(step, &mut Budget::unlimited());
        }
        host.die(Death::Power { drawn: true });
        for (power, operations) in deaths {
            // It dies again while it recovers.
            let death = if power { Death::Power { drawn: true } } else { Death::Process };
            if host.start(false, &mut Budget::of(operations)) {
                host.check();
            }
            host.die(death);
        }
        prop_assert!(host.start(false, &mut Budget::unlimited()));
        host.check();
    }
}

/// Runs the script until that many writes and syncs were asked for, then lets the process die; whether
/// the script was over before.
fn run_up_to(point: u32, death: Death) -> bool {
    let mut host = Host::new(u64::from(point));
    let mut budget = Budget::of(point);
    for step in script(200) {
        host.take(step, &mut budget);
        if budget.is_spent() {
            break;
        }
    }
    host.die(death);
    assert!(host.start(false, &mut Budget::unlimited()), "point {point}");
    host.check();
    !budget.is_spent()
}

#[test]
fn every_write_and_every_sync_is_a_crash_point() {
    let deaths = [
        Death::Process,
        Death::Power { drawn: false },
        Death::Power { drawn: true },
    ];
    let mut points = 0;
    while !deaths.map(|death| run_up_to(points, death)).contains(&true) {
        points += 1;
    }
    println!("{points} crash points, {} recoveries", 3 * points);
    assert!(points > 600, "{points} points are few for 200 operations");
}

/// The checks above would see it if a recovery lost or invented something.
#[test]
fn what_is_lost_or_invented_is_noticed() {
    let caught = |damage: fn(&mut Host)| {
        let mut host = Host::new(1);
        for step in script(60) {
            host.take(step, &mut Budget::unlimited());
        }
        host.take(Step::Flush, &mut Budget::unlimited());
        damage(&mut host);
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.check()));
        broken.is_err()
    };
    assert!(!caught(|_| ()));
    assert!(caught(Host::drop_last_batch), "something synced is gone");
    assert!(caught(Host::change_the_epochs), "epochs are wrong");
    assert!(caught(Host::forget_the_producers), "producers are gone");
    assert!(caught(Host::damage_an_index), "an index is wrong");
    assert!(
        caught(Host::append_in_secret),
        "a batch that nobody appended"
    );
}
