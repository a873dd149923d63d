//! How connections end together: their process dies, their machine loses power, the network resets
//! them.

use super::*;

impl Network {
    fn ids_of(&self, concerns: impl Fn(&Conn) -> bool) -> Vec<ConnId> {
        let mut ids: Vec<ConnId> = self
            .conns
            .iter()
            .flatten()
            .filter(|conn| concerns(conn))
            .map(|conn| conn.id)
            .collect();
        ids.sort();
        ids
    }

    /// The process of a node is gone; its machine's kernel closes the connections.
    pub fn process_died(&mut self, agenda: &mut Agenda, node: u32) {
        let ids = self.ids_of(|conn| conn.ends.iter().any(|end| end.node == node));
        for id in ids {
            let Some((conn, links)) = self.split(id) else {
                continue;
            };
            let side = Self::side(conn, node);
            match conn.ends[side].state {
                EndState::Connecting => self.release(id),
                EndState::Open => {
                    conn.ends[side].state = EndState::Gone;
                    Self::enqueue(agenda, conn, links, side, Payload::Killed, 0);
                    self.release_if_gone(id);
                }
                EndState::Embryonic => {
                    conn.ends[side].state = EndState::Gone;
                    self.release_if_gone(id);
                }
                EndState::Absent | EndState::Gone => {}
            }
        }
    }

    /// The machine of a node lost power: only what is on the wire still arrives.
    pub fn power_lost(&mut self, node: u32) {
        let ids = self.ids_of(|conn| conn.ends.iter().any(|end| end.node == node));
        for id in ids {
            let Some(conn) = self.conn(id) else { continue };
            let side = Self::side(conn, node);
            if conn.ends[side].state == EndState::Connecting {
                self.release(id);
                continue;
            }
            if conn.ends[side].state == EndState::Absent {
                continue;
            }
            conn.ends[side].state = EndState::Gone;
            let pipe = &mut conn.pipes[side];
            pipe.queue.truncate(pipe.in_flight as usize);
            pipe.abandoned = true;
            pipe.timer += 1;
            pipe.timer_runs = false;
            self.release_if_gone(id);
        }
    }

    /// The network resets the connections between two nodes: both ends learn it at once, what is in
    /// flight is dropped. Answers how many there were.
    pub fn reset_between(&mut self, agenda: &mut Agenda, a: u32, b: u32) -> usize {
        let ids = self.ids_of(|conn| {
            let ends = (conn.ends[0].node, conn.ends[1].node);
            ends == (a, b) || ends == (b, a)
        });
        let mut established = 0;
        for id in ids {
            let Some(conn) = self.conn(id) else { continue };
            if conn.ends[0].state == EndState::Connecting {
                continue;
            }
            established += 1;
            let now = agenda.now();
            for side in 0..2 {
                conn.pipes[side].clear();
                match conn.ends[side].state {
                    EndState::Open => agenda.put(now, Due::Aborted(id, side as u8)),
                    _ => conn.ends[side].state = EndState::Gone,
                }
            }
            self.release_if_gone(id);
        }
        established
    }
}
