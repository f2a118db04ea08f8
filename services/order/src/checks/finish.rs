//! The rounds of a check that is over: what is at the POS is completed, what was never sent is refused, and what is in
//! doubt is waited for. The check stays due until each of them has ended.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use posmesh_kit::time;
use posmesh_proto::order::v1::{Check, CheckState, Order, OrderState};

use super::Checks;
use crate::{
    domain::{
        lifecycle::{self, Event, Why},
        visit::{ended, is_open},
    },
    error::Error,
    ledger::Applied,
    storage::{CheckChange, OrderFilter},
};

const PAGE: usize = 100;
/// How many checks a check may have been joined into, one after the other.
const MAX_MERGES: usize = 16;

/// How the rounds of a check that takes none any more end.
struct Ending {
    /// Those that are not at the POS.
    unsent: Why,
    /// Those that are; `None` while the check that they were joined into is open.
    placed: Option<Why>,
}

impl Checks {
    /// Ends the rounds of a check that has ended, in a task of its own. Should that not come to its end, the sweep of any
    /// replica does it.
    pub(super) fn finish_soon(&self, tenant_id: &Arc<str>, check: &Check) {
        if is_open(check) {
            return;
        }
        let (checks, tenant_id, check) = (self.clone(), Arc::clone(tenant_id), check.clone());
        self.tasks.spawn(async move { checks.finish(&tenant_id, &check).await });
    }

    /// Ends what can be ended of a check's rounds, and lets the check fall due again while anything is left.
    pub(crate) async fn finish(&self, tenant_id: &Arc<str>, check: &Check) {
        let due_in = match self.finish_rounds(tenant_id, check).await {
            Ok(0) => None,
            Ok(_) => Some(self.interval),
            Err(error) => {
                tracing::warn!(%error, check.id = %check.check_id, "the rounds of a check could not be ended yet");
                Some(self.interval.min(Duration::from_secs(5)))
            }
        };
        let seen = [(check.check_id.as_str(), check.version)];
        if let Err(error) = self.storage().put_off_checks(tenant_id, &seen, due_in).await {
            tracing::warn!(%error, check.id = %check.check_id, "a check could not be put off; its lease will end");
        }
    }

    /// Whether a round of the check is on its way, or at the POS.
    pub(super) async fn has_unfinished_round(&self, tenant_id: &str, check: &Check) -> Result<bool, Error> {
        let filter = OrderFilter {
            store_id: check.store_id.clone(),
            check_id: check.check_id.clone(),
            states: UNFINISHED.to_vec(),
            limit: 1,
            ..OrderFilter::default()
        };
        Ok(!self.storage().orders(tenant_id, &filter).await.map_err(Error::Read)?.is_empty())
    }

    /// Returns how many rounds have not ended.
    async fn finish_rounds(&self, tenant_id: &Arc<str>, check: &Check) -> Result<usize, Error> {
        let ending = self.ending(tenant_id, check).await?;
        let mut filter = OrderFilter {
            store_id: check.store_id.clone(),
            check_id: check.check_id.clone(),
            states: UNFINISHED.to_vec(),
            limit: PAGE,
            ..OrderFilter::default()
        };
        let mut left = 0;
        loop {
            let rounds = self.storage().orders(tenant_id, &filter).await.map_err(Error::Read)?;
            let is_last = rounds.len() < PAGE;
            filter.after =
                rounds.last().map(|o| (o.create_time.as_ref().map_or(0, time::to_unix_ms), o.order_id.clone()));
            // Together, so that they share a commit.
            let ended = join_all(rounds.into_iter().map(|round| self.finish_round(tenant_id, round, &ending))).await;
            for has_ended in ended {
                left += usize::from(!has_ended?);
            }
            if is_last {
                return Ok(left);
            }
        }
    }

    /// Returns whether it has ended.
    async fn finish_round(&self, tenant_id: &Arc<str>, round: Order, ending: &Ending) -> Result<bool, Error> {
        use OrderState as S;
        let event = match (round.state(), &ending.placed) {
            (S::Pending | S::Held, _) => Event::CheckEnded(ending.unsent.clone()),
            (S::Placed | S::InPreparation | S::Ready, Some(why)) => Event::Over(why.clone()),
            _ => return Ok(false),
        };
        // Somebody may have wished it back, or the POS must still be told of it: that goes on.
        let due = |order: &Order| (!lifecycle::needs_no_look(order)).then_some(Duration::ZERO);
        let (Applied::Changed { order, .. } | Applied::Unchanged(order)) =
            self.ledger.apply(tenant_id, round, event, CheckChange::default(), due).await?;
        Ok(lifecycle::has_ended(order.state()))
    }

    async fn ending(&self, tenant_id: &str, check: &Check) -> Result<Ending, Error> {
        let unsent = match check.state() {
            CheckState::Merged => {
                Why::new("CHECK_MERGED", format!("the staff joined the check into {}", check.merged_into))
            }
            _ => Why::new("CHECK_CLOSED", "the check was closed before the round was sent"),
        };
        let mut last = check.clone();
        for _ in 0..MAX_MERGES {
            if last.state() != CheckState::Merged {
                break;
            }
            last = self.find(tenant_id, &last.merged_into).await?;
        }
        let over = |cause: &str| Why::new(cause, format!("the check ended: {}", last.cause));
        let placed = match (last.state(), last.cause.as_str()) {
            (CheckState::Closed, ended::BUSINESS_DAY_ENDED) => Some(over(ended::BUSINESS_DAY_ENDED)),
            (CheckState::Closed, _) => Some(over("CHECK_CLOSED")),
            _ => None,
        };
        Ok(Ending { unsent, placed })
    }
}

const UNFINISHED: [OrderState; 7] = [
    OrderState::Pending,
    OrderState::Held,
    OrderState::Sending,
    OrderState::InDoubt,
    OrderState::Placed,
    OrderState::InPreparation,
    OrderState::Ready,
];
