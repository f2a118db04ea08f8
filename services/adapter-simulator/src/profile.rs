//! What this simulator can do. The default is all that simpos can; whoever tests how a platform gets along with a poorer
//! POS runs another adapter process with another vendor id and less in it. The descriptor tells what is left.

use std::time::Duration;

use posmesh_kit::config::ConfigError;
use serde::Deserialize;

use crate::descriptor::VENDOR;

/// The default profile as a section of the process's configuration, with comments.
pub const PROFILE_DEFAULTS: &str = include_str!("profile.toml");

/// What a simulator can do: the section `adapter` of its process's configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The vendor's id in connections and registrations. A poorer simulator has its own, lest the router takes the
    /// descriptor of one for that of another.
    pub vendor: String,
    /// What stands at the other end.
    pub device: Device,
    /// How orders are found again.
    pub find: FindProfile,
    /// What a submit does that the POS has seen before.
    pub idempotency: IdempotencyProfile,
    /// For how long a submit is recognized, with `idempotency = "window"`.
    #[serde(with = "humantime_serde")]
    pub idempotency_window: Duration,
    /// Whether orders are cancelled.
    pub cancel_order: bool,
    /// Whether lines are made void.
    pub void_lines: bool,
    /// How orders are listed.
    pub list_orders: ListProfile,
    /// Whether events are polled.
    pub poll_events: bool,
    /// Whether checks are split. Never by a printer.
    pub split_check: bool,
    /// Whether orders are recorded without a kitchen ticket. Never by a printer.
    pub submit_without_ticket: bool,
    /// How long after `not_after` the POS may still carry out what it was handed.
    #[serde(with = "humantime_serde")]
    pub max_apply_delay: Duration,
    /// As in the descriptor's limits; 0: none.
    pub max_concurrent_calls: i32,
    /// As in the descriptor's limits; 0: none.
    pub max_calls_per_second: f64,
    /// As in the descriptor's limits; 0: none.
    pub max_calls_per_second_in_all: f64,
}

/// What a simpos is to its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// Its POS.
    Pos,
    /// A printer in its kitchen, beside the POS: it proves that a slip was printed and nothing else, and has neither menu
    /// nor checks nor prices.
    Printer,
}

/// How orders are found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindProfile {
    /// By reference; absence is proof.
    Authoritative,
    /// By reference; absence is none.
    NotAuthoritative,
    /// Not at all.
    None,
}

/// What a submit does that the POS has seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdempotencyProfile {
    /// Answers the order.
    Forever,
    /// Answers it for a while, then makes another one.
    Window,
    /// Makes another one.
    None,
}

/// How orders are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListProfile {
    /// By when the POS took them.
    ByTime,
    /// By the POS's day of business.
    ByBusinessDate,
    /// Not at all.
    None,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            vendor: VENDOR.to_owned(),
            device: Device::Pos,
            find: FindProfile::Authoritative,
            idempotency: IdempotencyProfile::Forever,
            idempotency_window: Duration::from_secs(300),
            cancel_order: true,
            void_lines: true,
            list_orders: ListProfile::ByTime,
            poll_events: true,
            split_check: true,
            submit_without_ticket: true,
            max_apply_delay: Duration::ZERO,
            // simpos serves as many connections at once; further ones would wait unseen.
            max_concurrent_calls: 1024,
            max_calls_per_second: 0.0,
            max_calls_per_second_in_all: 0.0,
        }
    }
}

impl Profile {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let is_rich = Self { vendor: self.vendor.clone(), ..Self::default() }.can() == self.can();
        if self.vendor == VENDOR && !is_rich {
            let message = format!("give a simulator that can do less than {VENDOR:?} a vendor id of its own");
            return Err(ConfigError::invalid("adapter.vendor", message));
        }
        Ok(())
    }

    /// What steers the platform.
    fn can(&self) -> (Device, FindProfile, IdempotencyProfile, ListProfile, [bool; 5], Duration) {
        let without_ticket = self.submit_without_ticket;
        let can = [self.cancel_order, self.void_lines, self.poll_events, self.split_check, without_ticket];
        (self.device, self.find, self.idempotency, self.list_orders, can, self.max_apply_delay)
    }

    /// Whether an order can be recorded for which no slip is printed.
    pub(crate) fn submits_without_ticket(&self) -> bool {
        self.device == Device::Pos && self.submit_without_ticket
    }

    /// Whether checks are split.
    pub(crate) fn splits_checks(&self) -> bool {
        self.device == Device::Pos && self.split_check
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_adapter_kit::program::{Config, DEFAULTS};
    use posmesh_kit::config;

    use super::*;

    #[test]
    fn the_documented_defaults_are_the_rich_simulator() {
        let config: Config<Profile> = config::load(&format!("{DEFAULTS}{PROFILE_DEFAULTS}"), None).unwrap();
        assert_eq!(config.adapter, Profile::default());
    }
}
