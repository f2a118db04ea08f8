//! The kitchen: works on what the POS has, and lets the POS report how far it is.

use std::time::Duration;

use posmesh_kit::time;
use posmesh_proto::{
    adapter::v1::{PosEvent, PosOrderProgress},
    order::v1::{RecordOrderEventsRequest, order_service_client::OrderServiceClient},
};
use posmesh_simpos::api::Progress;
use tonic::Request;

use super::{Guests, operator};
use crate::{chance::Dice, pos::Entry, trace::short};

/// How often it looks for new tickets.
const LOOK: Duration = Duration::from_millis(20);
/// A vendor gives up reporting after so many tries.
const TRIES: u64 = 8;
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// Works on everything that comes, for ever.
pub(super) async fn cook(guests: Guests) {
    let mut seen = 0;
    loop {
        let new: Vec<Entry> = guests.pos.book().entries[seen..].to_vec();
        seen += new.len();
        for entry in new {
            guests.begin(make(guests.clone(), entry));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Makes one order, until it is handed out or somebody took it out of the POS.
async fn make(guests: Guests, entry: Entry) {
    let (reference, number) = (entry.reference().to_owned(), entry.recorded.order_number);
    let mut dice = guests.dice("kitchen", number.into());
    let steps = [
        (Progress::Accepted, PosOrderProgress::Accepted),
        (Progress::InPreparation, PosOrderProgress::InPreparation),
        (Progress::Ready, PosOrderProgress::Ready),
        (Progress::Completed, PosOrderProgress::Completed),
    ];
    let last = dice.between(0, 3) as usize;
    // Where nobody expects it any more, whatever comes first tells of it.
    let steps = if entry.breaks_promise { &steps[last..=last] } else { &steps[..=last] };
    for (done, told) in steps {
        let most_ms = if entry.breaks_promise { 10 } else { *dice.pick(&[10, 100, 1_000, 4_000]) };
        tokio::time::sleep(Duration::from_millis(dice.between(0, most_ms))).await;
        let is_gone = guests.pos.book().entries.iter().any(|e| e.recorded.order_number == number && e.gone.is_some());
        if is_gone {
            if dice.one_in(2) {
                report(&guests, &mut dice, &reference, number, PosOrderProgress::Cancelled).await;
            }
            return;
        }
        guests.pos.book().advance(number, *done);
        match dice.between(if entry.breaks_promise { 2 } else { 0 }, 5) {
            // Not everybody presses every button.
            0 => {}
            // Reported late: what comes after it overtakes it.
            1 => {
                let (guests, mut dice, reference, told) =
                    (guests.clone(), Dice::new(&[dice.next()]), reference.clone(), *told);
                guests.clone().begin(async move {
                    tokio::time::sleep(Duration::from_millis(dice.between(0, 4_000))).await;
                    report(&guests, &mut dice, &reference, number, told).await;
                });
            }
            _ => report(&guests, &mut dice, &reference, number, *told).await,
        }
    }
}

async fn report(guests: &Guests, dice: &mut Dice, reference: &str, number: u32, progress: PosOrderProgress) {
    let now = time::from_unix_ms(guests.now.unix_ms());
    let event = PosEvent {
        event_id: format!("{reference}-{}", progress.as_str_name()),
        time: Some(now),
        reference: reference.to_owned(),
        pos_order_reference: number.to_string(),
        progress: progress.into(),
        evidence: Vec::new(),
    };
    let events = vec![event; if dice.one_in(5) { 2 } else { 1 }];
    for _ in 0..TRIES {
        let message =
            RecordOrderEventsRequest { connection_id: operator::CONNECTION.to_owned(), events: events.clone() };
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        guests.trace.tell("kitchen", || format!("reports {} {}", short(reference), progress.as_str_name()));
        match OrderServiceClient::new(guests.any_replica.clone()).record_order_events(request).await {
            Ok(_) => return,
            Err(status) => guests.told.refused("kitchen", "report", &status),
        }
        tokio::time::sleep(Duration::from_millis(dice.between(100, 1_500))).await;
    }
}
