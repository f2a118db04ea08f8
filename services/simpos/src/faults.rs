//! Fault rules: which happen to a request, and in what state they put printer and till.

use std::time::{Duration, Instant};

use crate::api::control::{ActiveFault, Endpoint, Fault, FaultRule};
use crate::api::{PrinterState, Refusal, cause};
use crate::journal::Conditions;

/// Rules that may be kept at a time.
const MAX_RULES: usize = 1000;

/// The rules in the order in which they were added.
#[derive(Default)]
pub(crate) struct Faults {
    last_id: u64,
    rules: Vec<Rule>,
}

struct Rule {
    active: ActiveFault,
    /// For rate limits: the running second and what it admitted.
    window: Option<(Instant, u32)>,
}

impl Faults {
    /// Adds a rule.
    pub(crate) fn add(&mut self, rule: FaultRule) -> Result<ActiveFault, Refusal> {
        let invalid = |message: String, field: &str| Refusal::new(400, cause::INVALID_REQUEST, message).at(field);
        if rule.probability.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err(invalid("a probability is 0 to 1".to_owned(), "probability"));
        }
        if self.rules.len() == MAX_RULES {
            return Err(invalid(format!("{MAX_RULES} rules are kept at most: delete some"), "kind"));
        }
        self.last_id += 1;
        let active = ActiveFault { id: self.last_id, happened: 0, rule };
        self.rules.push(Rule { active: active.clone(), window: None });
        Ok(active)
    }

    /// All rules.
    pub(crate) fn list(&self) -> Vec<ActiveFault> {
        self.rules.iter().map(|rule| rule.active.clone()).collect()
    }

    /// Deletes one rule, or all.
    pub(crate) fn delete(&mut self, id: Option<u64>) {
        self.rules.retain(|rule| id.is_some_and(|id| rule.active.id != id));
    }

    /// What happens to a request now, in order; at most the last ends it.
    pub(crate) fn take(&mut self, endpoint: Endpoint) -> Vec<Fault> {
        let mut faults = Vec::new();
        for rule in &mut self.rules {
            if rule.happens(endpoint, Instant::now()) {
                rule.active.happened += 1;
                faults.push(rule.active.rule.fault.clone());
                if ends_request(&rule.active.rule.fault) {
                    break;
                }
            }
        }
        faults
    }

    /// Printer and till as the standing rules have them; of several printer faults the last counts.
    pub(crate) fn conditions(&self) -> Conditions {
        let mut conditions = Conditions::default();
        for rule in &self.rules {
            match rule.active.rule.fault {
                Fault::OutOfPaper => conditions.printer = PrinterState::OutOfPaper,
                Fault::CoverOpen => conditions.printer = PrinterState::CoverOpen,
                Fault::PrinterOffline => conditions.printer = PrinterState::Offline,
                Fault::BusinessDayClosed => conditions.business_day_closed = true,
                Fault::MasterUpdating => conditions.master_updating = true,
                _ => {}
            }
        }
        conditions
    }

    /// How long after a caller has gone a request may still be recorded under the rules.
    pub(crate) fn max_apply_delay_ms(&self) -> u64 {
        let delays = self.rules.iter().filter(|rule| !rule.is_used_up()).map(|rule| match rule.active.rule.fault {
            Fault::RecordLate { delay_ms, .. } | Fault::Delay { delay_ms } => delay_ms,
            _ => 0,
        });
        delays.fold(0, u64::saturating_add)
    }
}

impl Rule {
    fn is_used_up(&self) -> bool {
        self.active.rule.times.is_some_and(|times| self.active.happened >= times)
    }

    fn happens(&mut self, endpoint: Endpoint, now: Instant) -> bool {
        let rule = &self.active.rule;
        let concerned = rule.on == endpoint || rule.on == Endpoint::Any;
        if !concerned || stands(&rule.fault) || self.is_used_up() {
            return false;
        }
        if rule.probability.is_some_and(|chance| !rand::random_bool(chance)) {
            return false;
        }
        let Fault::RateLimit { per_second } = rule.fault else { return true };
        let (start, admitted) = self.window.get_or_insert((now, 0));
        if now.duration_since(*start) >= Duration::from_secs(1) {
            (*start, *admitted) = (now, 0);
        }
        *admitted = admitted.saturating_add(1);
        *admitted > per_second
    }
}

fn stands(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::OutOfPaper | Fault::CoverOpen | Fault::PrinterOffline | Fault::BusinessDayClosed | Fault::MasterUpdating
    )
}

fn ends_request(fault: &Fault) -> bool {
    !matches!(fault, Fault::Delay { .. } | Fault::ChangePrice { .. } | Fault::SoldOut { .. })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rule(fault: Fault, on: Endpoint, times: Option<u32>) -> FaultRule {
        FaultRule { fault, on, times, probability: None }
    }

    #[test]
    fn a_rule_happens_as_often_as_asked_and_only_where_asked() {
        let mut faults = Faults::default();
        faults.add(rule(Fault::CrashAfterRecord, Endpoint::Submit, Some(2))).unwrap();
        assert!(faults.take(Endpoint::Find).is_empty());
        assert_eq!(faults.take(Endpoint::Submit), [Fault::CrashAfterRecord]);
        assert_eq!(faults.take(Endpoint::Submit), [Fault::CrashAfterRecord]);
        assert!(faults.take(Endpoint::Submit).is_empty());
    }

    #[test]
    fn preparing_faults_add_up_and_the_first_that_ends_the_request_is_the_last() {
        let mut faults = Faults::default();
        let delay = Fault::Delay { delay_ms: 5 };
        faults.add(rule(delay.clone(), Endpoint::Any, None)).unwrap();
        faults.add(rule(Fault::CrashBeforeRecord, Endpoint::Submit, Some(1))).unwrap();
        faults.add(rule(Fault::CrashAfterRecord, Endpoint::Submit, Some(1))).unwrap();
        assert_eq!(faults.take(Endpoint::Submit), [delay.clone(), Fault::CrashBeforeRecord]);
        assert_eq!(faults.take(Endpoint::Submit), [delay, Fault::CrashAfterRecord]);
    }

    #[test]
    fn a_rate_limit_admits_so_many_in_each_second() {
        let mut faults = Faults::default();
        faults.add(rule(Fault::RateLimit { per_second: 2 }, Endpoint::Submit, None)).unwrap();
        let limited = |faults: &mut Faults, at| faults.rules[0].happens(Endpoint::Submit, at);
        let start = Instant::now();
        assert_eq!([0, 1, 2].map(|_| limited(&mut faults, start)), [false, false, true]);
        assert!(!limited(&mut faults, start + Duration::from_secs(1)));
    }

    #[test]
    fn impossible_chances_are_refused() {
        let rule = FaultRule { probability: Some(1.5), ..rule(Fault::CoverOpen, Endpoint::Any, None) };
        assert_eq!(Faults::default().add(rule).unwrap_err().field.as_deref(), Some("probability"));
    }
}
