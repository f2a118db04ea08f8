//! simpos: a small POS (point of sale) to test against, with a durable journal and injectable faults.
//!
//! It behaves like a plausible vendor's POS in an izakaya: one restaurant, HTTP/JSON, API key, its own menu, tables,
//! checks, kitchen tickets. What it answered with success is in its journal, on disk, before the answer leaves; so
//! after any test its journal is the truth to compare with. What nothing has changed for long is forgotten
//! ([`Config::keep_entries`]), and the POS says so (`complete_since`), so that it may run for ever.
//!
//! # API for clients (types in [`api`])
//!
//! Every request carries `Authorization: Bearer KEY`. Success is 200 with JSON; everything else is
//! [`api::RefusalBody`] with a cause of [`api::cause`] and means that nothing was recorded (except `STOPPING`).
//! `Server-Timing: pos;dur=MS` tells the POS's own time, injected delays included.
//!
//! | call | does |
//! |---|---|
//! | `POST /api/orders` | [`api::SubmitOrder`] → [`api::OrderAnswer`]; unique by `reference` for ever |
//! | `GET /api/orders/{reference}` | [`api::OrderAnswer`]; authoritative: 404 `ORDER_NOT_FOUND` means not recorded |
//! | `GET /api/orders?since=MS&before=MS&business_date=&after=N&limit=N` | [`api::OrderList`], oldest first |
//! | `POST /api/orders/{reference}/cancel` | [`api::CancelOrder`] → [`api::OrderAnswer`]; once per `change_reference` |
//! | `POST /api/orders/{reference}/void` | [`api::VoidLines`] → [`api::OrderAnswer`]; once per `change_reference` |
//! | `GET /api/events?after=N&limit=N` | [`api::EventList`]: what happened to orders; without `after` where to begin |
//! | `POST /api/checks` | [`api::OpenCheck`] → [`api::OpenCheckAnswer`]; joins the table's open check |
//! | `GET /api/checks?table=&state=&after=N&limit=N` | [`api::CheckList`]; without `state` all that are not closed |
//! | `GET /api/checks/{number}` | [`api::Check`] with all lines, whoever entered them |
//! | `POST /api/checks/{number}/bill` | prints the bill → [`api::Check`] |
//! | `POST /api/checks/{number}/split` | [`api::SplitCheck`] → [`api::SplitAnswer`]; once per `change_reference` |
//! | `POST /api/checks/{number}/close` | [`api::CloseCheck`] → [`api::Check`]; closing twice is harmless |
//! | `POST /api/staff/checks/{number}/lines` | [`api::StaffLines`] → [`api::Check`] |
//! | `GET /api/menu` | [`api::Menu`] |
//! | `PUT /api/items/{id}/availability` | [`api::SetAvailability`] → [`api::AvailabilityAnswer`] |
//! | `GET /api/tickets?after=N&limit=N` | [`api::TicketList`]: printed slips after number N |
//! | `GET /api/tickets/stream?after=N` | the same as server-sent events `ticket`, id = number; `Last-Event-ID` too |
//! | `POST /api/tickets/{number}/reprint` | a new slip marked REPRINT → [`api::Ticket`] |
//! | `GET /api/status` | [`api::Status`] |
//!
//! Prices include tax. Tax is found per rate in the receipt's sum and rounded down; the receipt is the check. Food
//! is 10 % here and 8 % taken away, alcohol always 10 %. A menu may add an [`api::ServiceCharge`] to what is eaten here.
//!
//! Every kitchen slip bears an [`api::TicketMark`]: to be cooked are those marked `normal` alone.
//!
//! # Control (types in [`api::control`]), which no vendor would have
//!
//! | call | does |
//! |---|---|
//! | `POST /control/faults` | [`api::control::FaultRule`] → [`api::control::ActiveFault`] |
//! | `GET`, `DELETE /control/faults`, `DELETE /control/faults/{id}` | list, delete |
//! | `GET`, `PUT /control/settings` | [`api::control::Settings`]: until when orders are cancelled, how the kitchen goes on |
//! | `POST /control/staff` | [`api::StaffRequest`]: what the staff do at the till, past what the API is refused |
//! | `GET /control/journal?after=SEQ&limit=N` | [`api::control::JournalPage`] |
//! | `POST /control/master` | replaces the menu by an [`api::Menu`], unchecked: break it at will |
//! | `DELETE /control/master` | back to the built-in menu |
//!
//! # Journal
//!
//! One JSON object a line: [`journal::Entry`]. An entry is one whole change (an order with its ticket and the check
//! it opened), so that a torn last line, which is dropped at start, loses nothing that was answered. Entries that
//! arrive together share one `fdatasync`. A file that has grown beyond [`Config::max_journal_bytes`] is moved to
//! `NAME.old`, in place of the one before, and a new one begins with all that is known.

pub mod api;
pub mod journal;

mod app;
mod clock;
mod faults;
mod http;
mod menu;
mod pricing;
mod rules;
mod server;
mod state;
mod stock;
mod ticket;
mod writer;

pub use menu::builtin_menu;
pub use server::{Config, RunError, Simpos, run};
