//! Calls at once: slots that are taken before the upstream sees a byte and given back when the answer has ended.
//!
//! The count is exact at every moment, also while a limit changes. Who waits is served in order; a slot that falls free
//! goes to the first in the queue and not to whoever comes by. An entry lives only while something of it is in use, so
//! that names which nobody uses any more cost nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Scope;
use crate::metrics::{InFlight, SlotGauges};

/// The most calls that wait for one scope's slots. Each holds its request in memory; a longer queue would only be
/// refused later.
const MAX_WAITING: usize = 1024;

/// All slots in use, by what they are counted for.
#[derive(Debug, Default)]
pub(super) struct Slots(DashMap<Scope, Slot>);

#[derive(Debug, Default)]
struct Slot {
    limit: usize,
    in_use: usize,
    waiting: VecDeque<Waiting>,
    arrived: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    gauges: SlotGauges,
    permit: oneshot::Sender<Permit>,
}

/// There was no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Busy {
    /// How many there are.
    pub(super) limit: usize,
    /// How long was waited for one.
    pub(super) waited: Duration,
    /// Whether the queue was full, so that there was no waiting.
    pub(super) queue_full: bool,
}

impl Slots {
    /// Takes a slot, or waits for one in turn; `limit` is asked for under the lock, so that it is the newest.
    ///
    /// Dropping the future leaves the queue.
    pub(super) async fn acquire(
        slots: &Arc<Self>,
        scope: Scope,
        gauges: SlotGauges,
        limit: impl FnOnce(&Scope) -> usize,
        max_wait: Duration,
    ) -> Result<Permit, Busy> {
        let (number, permit, limit) = {
            let mut slot = slots.0.entry(scope.clone()).or_default();
            slot.limit = limit(&scope);
            if scope.key.is_none() {
                gauges.set_limit(slot.limit);
            }
            if slot.in_use < slot.limit && slot.waiting.is_empty() {
                return Ok(slot.take(slots, scope, &gauges));
            }
            let queue_full = slot.waiting.len() >= MAX_WAITING;
            if max_wait.is_zero() || queue_full {
                return Err(Busy {
                    limit: slot.limit,
                    waited: Duration::ZERO,
                    queue_full: queue_full && !max_wait.is_zero(),
                });
            }
            slot.arrived += 1;
            let (sender, permit) = oneshot::channel();
            let number = slot.arrived;
            slot.waiting.push_back(Waiting {
                number,
                gauges,
                permit: sender,
            });
            (number, permit, slot.limit)
        };
        let began = Instant::now();
        let _place = Place {
            slots,
            scope: &scope,
            number,
        };
        match tokio::time::timeout(max_wait, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            // The sender lives in the queue for as long as the place does, so only the time can be over.
            Ok(Err(_)) | Err(_) => Err(Busy {
                limit,
                waited: began.elapsed(),
                queue_full: false,
            }),
        }
    }

    /// Sets every limit anew, and lets in who fits below a raised one.
    pub(super) fn adjust(self: &Arc<Self>, limit: impl Fn(&Scope) -> usize) {
        for mut entry in self.0.iter_mut() {
            let limit = limit(entry.key());
            let scope = entry.key().clone();
            entry.limit = limit;
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
    fn is_idle(&self) -> bool {
        self.in_use == 0 && self.waiting.is_empty()
    }

    fn take(&mut self, slots: &Arc<Slots>, scope: Scope, gauges: &SlotGauges) -> Permit {
        self.in_use += 1;
        Permit {
            limit: self.limit,
            remaining: self.limit.saturating_sub(self.in_use),
            held: Some(Held {
                slots: Arc::clone(slots),
                scope,
                _counted: gauges.take(),
            }),
        }
    }

    /// Gives free slots to the first in the queue.
    fn serve(&mut self, slots: &Arc<Slots>, scope: &Scope) {
        while self.in_use < self.limit {
            let Some(next) = self.waiting.pop_front() else {
                return;
            };
            let permit = self.take(slots, scope.clone(), &next.gauges);
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
