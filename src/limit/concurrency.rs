//! Calls at once: slots that are taken before the upstream sees a byte and given back when the answer has ended.
//!
//! The count is exact at every moment, also while a limit changes. Who waits is served in order; a slot that falls free
//! goes to the first in the queue and not to whoever comes by. An entry lives only while something of it is in use, so
//! that names which nobody uses any more cost nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Scope;
use crate::metrics::{InFlight, SlotGauges};
use crate::types::KeyName;

/// The most calls that wait for one scope's slots. Each holds its request in memory; a longer queue would only be
/// refused later.
const MAX_WAITING: usize = 1024;

/// All slots in use, by what they are counted for.
#[derive(Debug, Default)]
pub(super) struct Slots(DashMap<Scope, Slot, RandomState>);

#[derive(Debug)]
struct Slot {
    limit: usize,
    in_use: usize,
    waiting: VecDeque<Waiting>,
    arrived: u64,
    gauges: SlotGauges,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    key: KeyName,
    permit: oneshot::Sender<Permit>,
}

/// There was no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// All are in use.
    Busy {
        /// How many there are.
        limit: usize,
        /// Whether the queue was full, so that there was no waiting.
        queue_full: bool,
    },
    /// By rules that have changed, the call counts elsewhere now.
    Moved,
}

/// Which slots there are, by the rules of this moment.
pub(super) trait Allotment {
    /// The slots of `scope`; `None` if no rule has it counted apart any more.
    fn limit_of(&self, scope: &Scope) -> Option<usize>;
    /// Whether the calls with `key` count for `scope`.
    fn has(&self, scope: &Scope, key: &KeyName) -> bool;
}

impl Slots {
    /// Takes a slot for a call with `key`, or waits for one in turn until `deadline`. The allotment is asked under the
    /// lock, so that it is the newest.
    ///
    /// Dropping the future leaves the queue.
    pub(super) async fn acquire(
        slots: &Arc<Self>,
        (scope, key): (Scope, &KeyName),
        gauges: SlotGauges,
        allotment: &impl Allotment,
        deadline: Instant,
    ) -> Result<Permit, NoSlot> {
        let (number, permit, limit) = {
            let mut slot = slots.0.entry(scope.clone()).or_insert_with(|| Slot::new(gauges));
            let limit = allotment.limit_of(&scope).filter(|_| allotment.has(&scope, key));
            let Some(limit) = limit else {
                drop(slot);
                slots.forget(&scope);
                return Err(NoSlot::Moved);
            };
            slot.set_limit(&scope, limit);
            if slot.in_use < slot.limit && slot.waiting.is_empty() {
                return Ok(slot.take(slots, scope));
            }
            let (may_wait, queue_full) = (Instant::now() < deadline, slot.waiting.len() >= MAX_WAITING);
            if !may_wait || queue_full {
                let queue_full = may_wait && queue_full;
                return Err(NoSlot::Busy { limit, queue_full });
            }
            let (number, permit) = slot.queue(key);
            (number, permit, limit)
        };
        let _place = Place {
            slots,
            scope: &scope,
            number,
        };
        match tokio::time::timeout_at(deadline, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_sent_away)) => Err(NoSlot::Moved),
            Err(_elapsed) => Err(NoSlot::Busy {
                limit,
                queue_full: false,
            }),
        }
    }

    /// Sets every limit anew, lets in who fits below a raised one, and sends away who counts elsewhere now.
    pub(super) fn adjust(self: &Arc<Self>, allotment: &impl Allotment) {
        for mut entry in self.0.iter_mut() {
            let scope = entry.key().clone();
            // What no rule counts apart any more lets nobody in, and goes when its last call ends.
            let limit = allotment.limit_of(&scope).unwrap_or(0);
            entry.set_limit(&scope, limit);
            entry
                .waiting
                .retain(|waiting| allotment.has(&scope, &waiting.key));
            entry.serve(self, &scope);
        }
    }

    /// Gives memory of the map back that nothing is in.
    pub(super) fn shrink(&self) {
        self.0.shrink_to_fit();
    }

    /// Gives one slot back: to the first in the queue, or to all.
    fn release(self: &Arc<Self>, scope: Scope) {
        if let Entry::Occupied(mut entry) = self.0.entry(scope) {
            let scope = entry.key().clone();
            let slot = entry.get_mut();
            slot.in_use = slot.in_use.saturating_sub(1);
            slot.serve(self, &scope);
            if slot.is_idle() {
                entry.remove();
            }
        }
    }

    fn leave(&self, scope: &Scope, number: u64) {
        if let Some(mut slot) = self.0.get_mut(scope) {
            slot.waiting.retain(|waiting| waiting.number != number);
        }
        self.forget(scope);
    }

    /// Removes an entry that nothing uses.
    fn forget(&self, scope: &Scope) {
        self.0.remove_if(scope, |_, slot| slot.is_idle());
    }

    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.0.iter().map(|slot| slot.in_use).sum()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Slot {
    fn new(gauges: SlotGauges) -> Self {
        Self {
            limit: 0,
            in_use: 0,
            waiting: VecDeque::new(),
            arrived: 0,
            gauges,
        }
    }

    /// The series shows the limit that an account's calls have in common.
    fn set_limit(&mut self, scope: &Scope, limit: usize) {
        self.limit = limit;
        if scope.key.is_none() {
            self.gauges.set_limit(limit);
        }
    }

    fn queue(&mut self, key: &KeyName) -> (u64, oneshot::Receiver<Permit>) {
        self.arrived += 1;
        let (sender, permit) = oneshot::channel();
        self.waiting.push_back(Waiting {
            number: self.arrived,
            key: key.clone(),
            permit: sender,
        });
        (self.arrived, permit)
    }

    fn is_idle(&self) -> bool {
        self.in_use == 0 && self.waiting.is_empty()
    }

    fn take(&mut self, slots: &Arc<Slots>, scope: Scope) -> Permit {
        self.in_use += 1;
        Permit {
            limit: self.limit,
            remaining: self.limit.saturating_sub(self.in_use),
            held: Some(Held {
                slots: Arc::clone(slots),
                scope,
                _counted: self.gauges.take(),
            }),
        }
    }

    /// Gives free slots to the first in the queue.
    fn serve(&mut self, slots: &Arc<Slots>, scope: &Scope) {
        while self.in_use < self.limit {
            let Some(next) = self.waiting.pop_front() else {
                return;
            };
            let permit = self.take(slots, scope.clone());
            if let Err(permit) = next.permit.send(permit) {
                // It has just left. The permit must not fall here: the entry is locked.
                permit.disarm();
                self.in_use -= 1;
            }
        }
    }
}

/// A place in the queue, left when it falls.
struct Place<'a> {
    slots: &'a Slots,
    scope: &'a Scope,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.slots.leave(self.scope, self.number);
    }
}

/// One call's slot, given back when it falls, in whichever task that is.
#[must_use = "dropping it gives the slot back"]
#[derive(Debug)]
pub struct Permit {
    limit: usize,
    remaining: usize,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    slots: Arc<Slots>,
    scope: Scope,
    _counted: InFlight,
}

impl Permit {
    /// The most calls at once when this one was let in.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many more there was room for then.
    pub(super) fn remaining(&self) -> usize {
        self.remaining
    }

    /// Falls without giving anything back.
    fn disarm(mut self) {
        self.held = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.slots.release(held.scope);
        }
    }
}
