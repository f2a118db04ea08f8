//! What the staff say is sold out.

use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use posmesh_kit::time;
use posmesh_proto::catalog::v1::{
    Availability, AvailabilitySource, ListAvailabilityRequest, PosTold, SetAvailabilityRequest, SetAvailabilityResponse,
};

use super::{Client, Person, StoreName, refused, report::at, soon};
use crate::operate::table::table;

/// An item or a choice, by the ids that `posmesh menu show` prints.
#[derive(Args)]
pub(super) struct Thing {
    #[command(flatten)]
    store: StoreName,
    /// The item; with --group the choice.
    #[arg(value_name = "ITEM")]
    id: String,
    /// The question that the choice answers.
    #[arg(long, value_name = "GROUP", default_value = "")]
    group: String,
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Until(Timestamp);

impl FromStr for Until {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self(time));
        }
        match text.parse::<SignedDuration>() {
            Ok(span) => Ok(Self(Timestamp::now().checked_add(span).context("that is too far ahead")?)),
            Err(_) => bail!("is neither a time (2026-11-23T18:00+09:00) nor how long from now (2h)"),
        }
    }
}

impl Thing {
    fn request(&self, available: bool, person: &Person) -> SetAvailabilityRequest {
        let (item_id, modifier_id) =
            if self.group.is_empty() { (self.id.clone(), String::new()) } else { (String::new(), self.id.clone()) };
        SetAvailabilityRequest {
            store_id: self.store.store_id.clone(),
            item_id,
            group_id: self.group.clone(),
            modifier_id,
            available,
            available_again_time: None,
            by: person.by.clone(),
            note: person.note.clone(),
        }
    }
}

pub(super) async fn sold_out(
    mut client: Client,
    thing: &Thing,
    until: Option<Until>,
    person: &Person,
) -> anyhow::Result<String> {
    let available_again_time = until.map(|until| time::from_unix_ms(until.0.as_millisecond()));
    let request = SetAvailabilityRequest { available_again_time, ..thing.request(false, person) };
    let answer = client.set_availability(soon(request)).await.map_err(refused)?.into_inner();
    let until = match at(available_again_time.as_ref()).as_str() {
        "" => "until somebody says that it is back".to_owned(),
        at => format!("until {at} UTC"),
    };
    Ok(format!("{} sells no {}, {until}. {}\n", thing.store.store_id, thing.id, told(&answer)))
}

pub(super) async fn back(mut client: Client, thing: &Thing, person: &Person) -> anyhow::Result<String> {
    let answer = client.set_availability(soon(thing.request(true, person))).await.map_err(refused)?.into_inner();
    let (store_id, id) = (&thing.store.store_id, &thing.id);
    Ok(if answer.available {
        format!("{store_id} sells {id} again. {}\n", told(&answer))
    } else {
        format!("{store_id} still sells no {id}: the POS says that it is sold out. Mark it as available there.\n")
    })
}

/// Whether the POS knows.
fn told(answer: &SetAvailabilityResponse) -> String {
    let because = if answer.pos_note.is_empty() { String::new() } else { format!(": {}", answer.pos_note) };
    match answer.pos() {
        PosTold::Done => "The POS was told.".to_owned(),
        PosTold::Failed => format!("The POS could not be told{because}."),
        PosTold::NotTold | PosTold::Unspecified => format!("The POS is not told{because}."),
    }
}

pub(super) async fn list(mut client: Client, store: &StoreName) -> anyhow::Result<String> {
    let request = ListAvailabilityRequest { store_id: store.store_id.clone() };
    let words = client.list_availability(soon(request)).await.map_err(refused)?.into_inner().availability;
    Ok(listed(&words))
}

fn listed(words: &[Availability]) -> String {
    if words.is_empty() {
        return "Nobody says anything; the menu is as the POS has it.\n".to_owned();
    }
    let row = |word: &Availability| {
        let thing = match word.item_id.as_str() {
            "" => format!("{} of {}", word.modifier_id, word.group_id),
            item_id => item_id.to_owned(),
        };
        let who = match word.source() {
            AvailabilitySource::Pos => "the POS".to_owned(),
            AvailabilitySource::Staff | AvailabilitySource::Unspecified => word.by.clone(),
        };
        [
            thing,
            match word.remaining {
                _ if !word.available => "sold out".to_owned(),
                Some(left) => format!("{left} left"),
                None => "available".to_owned(),
            },
            at(word.time.as_ref()),
            at(word.available_again_time.as_ref()),
            who,
            word.note.clone(),
        ]
    };
    table(["WHAT", "IS", "SINCE (UTC)", "BACK (UTC)", "WHO", "WHY"], &words.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_sold_out_is_listed_with_who_said_so_and_when_it_is_back() {
        let word = Availability {
            item_id: "eel".into(),
            by: "Aiko".into(),
            note: "none at the market".into(),
            time: Some(time::from_unix_ms(1_795_000_000_000)),
            available_again_time: Some(time::from_unix_ms(1_795_003_600_000)),
            ..Default::default()
        };
        let choice = Availability {
            group_id: "sauce".into(),
            modifier_id: "tare".into(),
            by: "Ben".into(),
            time: word.time,
            ..Default::default()
        };
        let expected = "\
WHAT           IS        SINCE (UTC)          BACK (UTC)           WHO   WHY
eel            sold out  2026-11-18 11:06:40  2026-11-18 12:06:40  Aiko  none at the market
tare of sauce  sold out  2026-11-18 11:06:40                       Ben
";
        assert_eq!(listed(&[word.clone(), choice]), expected);
        let of_pos =
            Availability { available: true, remaining: Some(3), source: AvailabilitySource::Pos.into(), ..word };
        assert!(listed(&[of_pos]).contains("eel   3 left"), "what the POS counts");
        assert!(listed(&[]).starts_with("Nobody"));
    }

    #[test]
    fn the_time_of_return_is_a_moment_or_a_span_from_now() {
        let moment: Until = "2026-11-23T18:00:00+09:00".parse().unwrap();
        assert_eq!(moment, Until("2026-11-23T09:00:00Z".parse().unwrap()));
        let from_now = |text: &str| text.parse::<Until>().unwrap().0.duration_since(Timestamp::now()).as_secs();
        assert!((7_190..=7_200).contains(&from_now("2h")));
        assert!((5_390..=5_400).contains(&from_now("PT90M")));
        assert!("tomorrow".parse::<Until>().is_err());
    }
}
