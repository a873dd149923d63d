//! What the replicas ask of the rest of the broker, once their step is done.

use super::{ANSWER_COST, Run, tasks};
use crate::env::{Env, Queue};
use crate::group::OFFSETS_TOPIC;
use crate::ids::*;
use crate::replica::alter_partition::Item;
use crate::replica::manager::Upcall;
use crate::replica::purgatory::Asker;
use crate::wire::Response;
use tasks::Task;

impl Run {
    /// Does it all, and what comes up meanwhile.
    #[inline(never)]
    pub(super) fn take_upcalls(&mut self, env: &mut Env<'_>) {
        while let Some(upcall) = self.replicas.next_upcall() {
            self.upcall(upcall, env);
        }
    }

    fn upcall(&mut self, upcall: Upcall, env: &mut Env<'_>) {
        match upcall {
            Upcall::Respond {
                asker,
                response: Some(response),
                ..
            } => self.send_response(asker, response, env),
            Upcall::Respond { asker, close, .. } if close => {
                self.accepted.remove(asker.conn);
                env.close(asker.conn);
            }
            Upcall::Respond { asker, .. } => self.unmute(asker.conn, true, env),
            Upcall::ProposeIsr(id) => self.propose_isr(id, env),
            Upcall::AnswerProduce(job) => {
                self.appended.push_back(*job);
                env.serve(Queue::RequestHandler, ANSWER_COST);
            }
            Upcall::HighWatermark(id) => {
                if self.offsets_partition(id).is_some() {
                    self.coordinator_high_watermark(id, env);
                }
            }
            Upcall::CoordinatorAppended(id, job, result) => {
                let high_watermark = self.high_watermark(id);
                let failed = self.offsets.appended(job, result, high_watermark);
                self.answer_all(failed, env);
                self.coordinator_high_watermark(id, env);
                let answers = self
                    .offsets
                    .run_stable_fetches(id.partition, high_watermark, env);
                self.answer_all(answers, env);
            }
            Upcall::BecameLeader(id, epoch) => {
                if let Some(partition) = self.offsets_partition(id) {
                    let bytes = self.replicas.partition(id).map_or(0, |p| p.log.size());
                    self.offsets.elected(partition, epoch, bytes, env);
                }
            }
            Upcall::FlushLog(id, offset) => self.enqueue_task(Task::FlushLog(id, offset), env),
            Upcall::CleanAfter(delay) => env.timer_in(delay, tasks::CLEAN),
            Upcall::DeleteFileAfter(delay) => env.timer_in(delay, tasks::DELETE_FILE),
            Upcall::ResignedLeader(id) => {
                if let Some(partition) = self.offsets_partition(id) {
                    let answers = self.offsets.resigned(partition);
                    self.answer_all(answers, env);
                }
            }
        }
    }

    /// `CoordinatorRuntime.HighWatermarkListener`: an event of its own, so behind a write that is not
    /// done.
    fn coordinator_high_watermark(&mut self, id: TopicPartition, env: &mut Env<'_>) {
        let high_watermark = self.high_watermark(id);
        let image = &self.image;
        let topic_id = |name: &str| image.topic_id(name);
        let answers = self
            .offsets
            .high_watermark_is(id.partition, high_watermark, topic_id, env);
        self.answer_all(answers, env);
    }

    pub(crate) fn answer_all(
        &mut self,
        answers: impl IntoIterator<Item = (Asker, Response)>,
        env: &mut Env<'_>,
    ) {
        for (asker, response) in answers {
            self.respond(asker, response, env);
        }
    }

    fn propose_isr(&mut self, id: TopicPartition, env: &mut Env<'_>) {
        let Some(partition) = self.replicas.partition(id) else {
            return;
        };
        let Some(proposal) = partition.pending().cloned() else {
            return;
        };
        let epoch = self.lifecycle.epoch();
        let members = partition.with_broker_epochs(&proposal.isr, epoch);
        let item = Item {
            proposal: proposal.clone(),
            members,
        };
        if !self.alter_partition.submit(id, item, epoch, env) {
            self.replicas
                .isr_not_attempted(id, proposal, &self.image, env);
        }
    }

    fn offsets_partition(&self, id: TopicPartition) -> Option<i32> {
        let topic = self.image.topic(id.topic)?;
        (&*topic.name == OFFSETS_TOPIC).then_some(id.partition)
    }
}
