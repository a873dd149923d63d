//! Families that are several faults, of which later ones wait for what earlier ones bring about.

use super::*;

impl Drawing<'_> {
    pub(super) fn compound(&mut self, family: Family, when: When) {
        match family {
            Family::RollingCrash | Family::RollingPowerLoss => self.rolling(family, when),
            Family::MixedRestart => self.mixed_restart(when),
            Family::RollingRestart => self.rolling_restart(when),
            Family::ShrunkIsrCrash
            | Family::ShrunkIsrPowerLoss
            | Family::ShrunkIsrDiskDestroyed => self.shrunk_isr(family, when),
            Family::LastIsrCrash | Family::LastIsrPowerLoss => self.last_isr(family, when),
            Family::LyingDisk => self.lying_disk(when),
            Family::LateMessages => self.late_messages(when),
            _ => panic!("{family} is one fault"),
        }
    }

    /// Replicas of a partition, with one replica the leader twice.
    fn in_turn(&self) -> usize {
        self.context.replication_factor.max(2) as usize
    }

    /// A short while behind an event: mostly within a few round trips, sometimes seconds.
    fn soon_us(&mut self) -> u64 {
        match self.stream.below(4) {
            0 => self.stream.range(20_000, 2_000_000),
            _ => self.delay_us(),
        }
    }

    /// One leader after the other, each right after its election, so that the former can have fetched
    /// nothing from it. Whoever lost its power comes back once all have lost it.
    fn rolling(&mut self, family: Family, when: When) {
        let first = self.faults.len();
        let last = first + self.in_turn() - 1;
        for index in first..=last {
            let when = match index - first {
                0 => when.clone(),
                _ => When::Then {
                    fault: index - 1,
                    event: Trigger::LeaderElected,
                    nth: 1,
                    delay_us: match family {
                        // A former leader that was only killed may be back already, and catches up
                        // within a few round trips.
                        Family::RollingCrash => self.delay_us(),
                        _ => self.soon_us(),
                    },
                },
            };
            let what = match family {
                Family::RollingCrash => What::Crash,
                _ => What::PowerLoss {
                    unsynced: self.unsynced(),
                },
            };
            let for_ms = self.outage_ms(family);
            let mut fault = Fault::new(when, what, Whom::LeaderOf(0), for_ms);
            if family == Family::RollingPowerLoss && index < last && self.is_replicated() {
                fault.counted_from = Some(last);
            }
            self.faults.push(fault);
        }
    }

    /// The disks lie until the power goes: afterwards there is nothing left that a lie could take.
    fn lying_disk(&mut self, when: When) {
        let first = self.faults.len();
        let lie = Fault::new(When::AtUs(0), What::LieAboutSyncs, Whom::AllBrokers, 1);
        self.faults.push(Fault {
            counted_from: Some(first + 1),
            ..lie
        });
        let unsynced = self.unsynced();
        let for_ms = self.outage_ms(Family::LyingDisk);
        let power = What::PowerLoss { unsynced };
        self.faults
            .push(Fault::new(when, power, Whom::AllBrokers, for_ms));
    }

    fn is_replicated(&self) -> bool {
        self.context.replication_factor > 1
    }

    /// Each replica once, in a drawn order, the outages of all overlapping the first; at least one kill
    /// and one power loss.
    fn mixed_restart(&mut self, when: When) {
        let first = self.faults.len();
        let replicas = (self.in_turn() as u32).min(self.context.brokers);
        let mut order: Vec<u32> = (0..replicas).collect();
        let mut kills = self.stream.chance(1, 2);
        let mut overlap_ms = 0;
        for index in first..first + replicas as usize {
            let n = self.stream.below(order.len() as u64) as usize;
            let whom = Whom::ReplicaOf(0, order.swap_remove(n));
            let what = match kills {
                true => What::Crash,
                false => What::PowerLoss {
                    unsynced: self.unsynced(),
                },
            };
            let for_ms = self.outage_ms(Family::MixedRestart);
            let when = match index - first {
                0 => {
                    overlap_ms = for_ms;
                    when.clone()
                }
                _ => When::AfterFault {
                    fault: first,
                    delay_ms: self.stream.range(0, overlap_ms),
                },
            };
            self.faults.push(Fault::new(when, what, whom, for_ms));
            kills = match index - first {
                0 => !kills,
                _ => self.stream.chance(1, 2),
            };
        }
    }

    /// Each broker in a drawn order; the next is shut down once the one before runs again, at once or
    /// after the time that a broker needs to be back.
    fn rolling_restart(&mut self, when: When) {
        let first = self.faults.len();
        let mut order: Vec<u32> = (1..=self.context.brokers).collect();
        for index in first..first + order.len() {
            let n = self.stream.below(order.len() as u64) as usize;
            let whom = Whom::Broker(order.swap_remove(n) as i32);
            let back_ms = self.context.timeouts.broker_return_ms();
            let when = match index - first {
                0 => when.clone(),
                _ => When::AfterOutage {
                    fault: index - 1,
                    delay_ms: self.stream.range(0, back_ms),
                },
            };
            let for_ms = self.outage_ms(Family::RollingRestart);
            let fault = Fault::new(when, What::ShutDown, whom, for_ms);
            self.faults.push(fault);
        }
    }

    /// The followers are cut off from the leader, or their disks stall; once the ISR is the leader
    /// alone, the leader fails. The followers get through again before or after it is back.
    fn shrunk_isr(&mut self, family: Family, when: When) {
        let first = self.faults.len();
        let lag = self.context.timeouts.replica_lag_time_max_ms;
        let preparations = match self.stream.below(3) {
            0 if self.is_replicated() => {
                let stall_ms = self
                    .stream
                    .range(lag.saturating_mul(2), lag.saturating_mul(3));
                let followers = 0..self.context.replication_factor - 1;
                let slow = |n| (What::SlowDisk { stall_ms }, Whom::FollowerOf(0, n));
                followers.map(slow).collect()
            }
            _ => {
                let direction = self.direction();
                vec![(What::CutFromFollowers { direction }, Whom::LeaderOf(0))]
            }
        };
        let main = first + preparations.len();
        let (_, longest) = self.context.timeouts.outage_ms(family);
        let for_ms = self.stream.range(0, longest);
        for (what, whom) in preparations {
            let when = match self.faults.len() - first {
                0 => when.clone(),
                _ => When::AfterFault {
                    fault: first,
                    delay_ms: 0,
                },
            };
            let mut fault = Fault::new(when, what, whom, for_ms);
            fault.counted_from = Some(main);
            self.faults.push(fault);
        }
        let what = match family {
            Family::ShrunkIsrCrash => What::Crash,
            Family::ShrunkIsrDiskDestroyed => What::DestroyDisk,
            _ => What::PowerLoss {
                unsynced: self.unsynced(),
            },
        };
        self.once_alone(family, main - 1, what);
    }

    /// The others are killed one after the other; once the ISR is the leader alone, it fails, and comes
    /// back after the others.
    fn last_isr(&mut self, family: Family, when: When) {
        let first = self.faults.len();
        let others = match self.context.replication_factor {
            1 => self.context.brokers - 1,
            replicas => replicas - 1,
        };
        let main = first + others as usize;
        let session = self.context.timeouts.broker_session_timeout_ms;
        for n in 0..others {
            let when = match n {
                0 => when.clone(),
                _ => When::AfterFault {
                    fault: self.faults.len() - 1,
                    delay_ms: self.stream.range(0, session),
                },
            };
            let fault = Fault::new(when, What::Crash, Whom::FollowerOf(0, n), 0);
            self.faults.push(fault);
        }
        let what = match family {
            Family::LastIsrCrash => What::Crash,
            _ => What::PowerLoss {
                unsynced: self.unsynced(),
            },
        };
        if others == 0 {
            let for_ms = self.outage_ms(family);
            let fault = Fault::new(when, what, Whom::LeaderOf(0), for_ms);
            return self.faults.push(fault);
        }
        self.once_alone(family, main - 1, what);
        let back_ms = self.faults[main].for_ms;
        for index in first..main {
            self.faults[index].for_ms = self.stream.range(0, back_ms.saturating_sub(1));
            self.faults[index].counted_from = Some(main);
        }
    }

    /// The fault that waits until the leader is alone in its ISR.
    fn once_alone(&mut self, family: Family, preparation: usize, what: What) {
        let when = When::Then {
            fault: preparation,
            event: Trigger::IsrIsLeader,
            nth: 1,
            delay_us: self.soon_us(),
        };
        let for_ms = self.outage_ms(family);
        let fault = Fault::new(when, what, Whom::LeaderOf(0), for_ms);
        self.faults.push(fault);
    }
}
