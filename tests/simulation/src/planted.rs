//! Bugs on purpose, to prove that the simulation finds such: each sits in a wrapper around real code.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use posmesh_kit::{Channel, time};
use posmesh_proto::adapter::v1::{FindOrderRequest, SubmitOrderRequest};

use crate::heard::{Answer, Call, framed, message};

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Planted {
    /// A submit that failed is sent again at once.
    BlindRetry,
    /// Who takes an order over sends it, without asking the POS first.
    TakeoverSends,
    /// The time after which nobody may write is not kept.
    NotAfterIgnored,
    /// An order is confirmed before it is durable.
    AckBeforeCommit,
    /// A change does not look at the version that it replaces.
    MissingFence,
    /// A submit in doubt is sent again even when the vendor does not recognize it any more.
    ReplayOutsideWindow,
    /// An answer that comes when somebody else has the order is thrown away.
    LateAnswerDropped,
    /// A round does not wait for the one before it.
    RoundOvertakes,
    /// What is in doubt at the POS counts as never sent: it is diverted, too.
    DivertsInDoubt,
    /// What is in doubt at the printer counts as never sent: it goes to the POS, too.
    SendsBesideDivert,
    /// What the printer printed is entered with a second ticket.
    EntersWithTicket,
    /// What the printer printed is entered twice.
    EntersTwice,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::BlindRetry,
        Self::TakeoverSends,
        Self::NotAfterIgnored,
        Self::AckBeforeCommit,
        Self::MissingFence,
        Self::ReplayOutsideWindow,
        Self::LateAnswerDropped,
        Self::RoundOvertakes,
        Self::DivertsInDoubt,
        Self::SendsBesideDivert,
        Self::EntersWithTicket,
        Self::EntersTwice,
    ];

    /// Carries a call of the order service to the router and back, with this bug in it if it belongs there.
    pub(crate) async fn pass(self, router: &Channel, submits: &Submits, call: Call) -> Answer {
        let mut call = call;
        match self {
            Self::NotAfterIgnored if call.submits() => call.body = without_end(&call.body),
            Self::ReplayOutsideWindow if call.submits() => submits.remember(&call),
            Self::ReplayOutsideWindow if call.finds() => submits.replay(router, &call).await,
            Self::EntersWithTicket if call.enters() => call.body = with_ticket(&call.body),
            _ => {}
        }
        let answer = call.clone().go(router).await;
        let is_in_doubt = call.submits() && !answer.is_certain();
        match self {
            Self::BlindRetry if is_in_doubt => call.go(router).await,
            Self::EntersTwice if call.enters() => call.go(router).await,
            Self::DivertsInDoubt if is_in_doubt && !call.is_diverted() => Answer::never_sent(),
            Self::SendsBesideDivert if is_in_doubt && call.is_diverted() => Answer::never_sent(),
            _ => answer,
        }
    }
}

fn with_ticket(body: &Bytes) -> Bytes {
    let mut submit: SubmitOrderRequest = message(body);
    submit.order.iter_mut().for_each(|order| order.without_ticket = false);
    framed(&submit)
}

fn without_end(body: &Bytes) -> Bytes {
    let mut submit: SubmitOrderRequest = message(body);
    submit.not_after = Some(time::from_unix_ms(time::now_unix_ms() + 3_600_000));
    framed(&submit)
}

/// What was submitted last for each order.
#[derive(Clone, Default)]
pub(crate) struct Submits(Arc<Mutex<BTreeMap<String, Call>>>);

impl Submits {
    fn remember(&self, call: &Call) {
        let reference = message::<SubmitOrderRequest>(&call.body).order.unwrap_or_default().reference;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(reference, call.clone());
    }

    async fn replay(&self, router: &Channel, find: &Call) {
        let reference = message::<FindOrderRequest>(&find.body).reference;
        let submit = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&reference).cloned();
        if let Some(submit) = submit {
            let mut again = submit;
            again.body = without_end(&again.body);
            // Whatever comes of it.
            let _ = tokio::time::timeout(Duration::from_secs(2), again.go(router)).await;
        }
    }
}
