//! How a connection comes to be: SYN, SYN-ACK, and what a machine without a listener, or without
//! power, answers.

use super::*;

impl Network {
    /// `Output::Connect`.
    pub fn connect(
        &mut self,
        agenda: &mut Agenda,
        hosts: &[Host],
        conn: ConnId,
        from: u32,
        to: u32,
    ) {
        assert_ne!(from, to, "{} connects to itself", hosts[from as usize].id);
        let links = [self.link(hosts, from, to), self.link(hosts, to, from)];
        let end = |node: u32, state| End {
            node,
            incarnation: hosts[node as usize].incarnation,
            state,
        };
        let connection = Conn {
            id: conn,
            ends: [end(from, EndState::Connecting), end(to, EndState::Absent)],
            pipes: [Pipe::default(), Pipe::default()],
            links,
            syn_attempt: 0,
            syn_sent_at: agenda.now(),
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.conns[slot as usize] = Some(connection);
                slot
            }
            None => {
                self.conns.push(Some(connection));
                (self.conns.len() - 1) as u32
            }
        };
        let index = conn.0 as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, NO_SLOT);
        }
        assert_eq!(self.slots[index], NO_SLOT, "{conn:?} is used twice");
        self.slots[index] = slot;
        self.send_syn(agenda, conn);
    }

    fn send_syn(&mut self, agenda: &mut Agenda, id: ConnId) {
        let Some((conn, links)) = self.split(id) else {
            return;
        };
        conn.syn_sent_at = agenda.now();
        let link = &mut links[conn.links[0] as usize];
        if link.cut {
            Self::syn_lost(agenda, conn);
        } else {
            agenda.put(link.arrival(agenda.now(), 0), Due::Syn(id));
        }
    }

    fn syn_lost(agenda: &mut Agenda, conn: &mut Conn) {
        let at = conn.syn_sent_at + (SYN_TIMEOUT << conn.syn_attempt);
        conn.syn_attempt += 1;
        agenda.put(at, Due::SynRetry(conn.id));
    }

    /// The client's SYN timer fired.
    pub fn syn_retry(&mut self, agenda: &mut Agenda, id: ConnId) -> Delivery {
        let conn = self.conn(id)?;
        if conn.ends[0].state != EndState::Connecting {
            return None;
        }
        if conn.syn_attempt > SYN_RETRIES {
            // ETIMEDOUT. Kafka's clients have closed it long before (KIP-601).
            let node = conn.ends[0].node;
            self.release(id);
            return Some((node, Input::Closed(id, CloseReason::Reset), 0));
        }
        self.send_syn(agenda, id);
        None
    }

    /// A SYN reaches the server's machine.
    pub fn syn(&mut self, agenda: &mut Agenda, hosts: &[Host], id: ConnId) {
        let Some((conn, links)) = self.split(id) else {
            return;
        };
        let server = &hosts[conn.ends[1].node as usize];
        let back = conn.links[1] as usize;
        if links[conn.links[0] as usize].cut || !server.powered || links[back].cut {
            return Self::syn_lost(agenda, conn);
        }
        let answer_at = links[back].arrival(agenda.now(), 0);
        if server.alive {
            conn.ends[1].incarnation = server.incarnation;
            conn.ends[1].state = EndState::Embryonic;
            conn.pipes[1].abandoned = false;
            agenda.put(answer_at, Due::SynAck(id));
        } else {
            agenda.put(answer_at, Due::Refusal(id));
        }
    }

    /// The RST of a machine where nobody listens reaches the client.
    pub fn refusal(&mut self, agenda: &mut Agenda, id: ConnId) -> Delivery {
        let (conn, links) = self.split(id)?;
        if links[conn.links[1] as usize].cut {
            Self::syn_lost(agenda, conn);
            return None;
        }
        let node = conn.ends[0].node;
        self.release(id);
        Some((node, Input::Closed(id, CloseReason::Refused), 0))
    }

    /// The SYN-ACK reaches the client.
    pub fn syn_ack(&mut self, agenda: &mut Agenda, id: ConnId) -> Delivery {
        let (conn, links) = self.split(id)?;
        if links[conn.links[1] as usize].cut {
            Self::syn_lost(agenda, conn);
            return None;
        }
        conn.ends[0].state = EndState::Open;
        let node = conn.ends[0].node;
        Self::enqueue(agenda, conn, links, 0, Payload::Open, 0);
        Some((node, Input::Connected(id), 0))
    }
}
