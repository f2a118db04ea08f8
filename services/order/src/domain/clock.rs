//! Whether the clocks can be trusted: they shall go on as this process's own time does, the machine's and the database's.

/// What the clocks say at one moment, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// The wall clock, since the Unix epoch.
    pub(crate) wall_ms: i64,
    /// The process's own time, since it began.
    pub(crate) elapsed_ms: i64,
    /// How far the database's clock is ahead of the wall clock, if it was asked.
    pub(crate) database_ahead_ms: Option<i64>,
}

/// What is wrong with a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// The wall clock was set, forward or back by so much.
    Jumped(i64),
    /// The database's clock was set, likewise.
    DatabaseJumped(i64),
}

/// A clock that was set and not set back: after so long it is believed all the same, or nothing would ever be due again.
pub(crate) const BELIEVED_AFTER_MS: i64 = 10 * 60 * 1000;

/// Watches the clocks. After a jump they are not trusted until they were steady for a while, and differ no more than they
/// did before it. That they differ does no harm by itself: what is due is counted from now on each of them.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    tolerance_ms: i64,
    calm_ms: i64,
    last: Option<Reading>,
    /// When the clock could be trusted last.
    trusted: Option<Reading>,
    database_ahead_ms: Option<i64>,
    /// Likewise, while the clocks were last trusted.
    trusted_ahead_ms: Option<i64>,
    disturbed_ms: Option<i64>,
}

impl ClockWatch {
    /// Tolerates differences up to `tolerance_ms`; trusts a clock again that was steady for `calm_ms`.
    pub(crate) fn new(tolerance_ms: i64, calm_ms: i64) -> Self {
        Self {
            tolerance_ms,
            calm_ms,
            last: None,
            trusted: None,
            database_ahead_ms: None,
            trusted_ahead_ms: None,
            disturbed_ms: None,
        }
    }

    /// Notes a reading, and tells what is wrong with it.
    pub(crate) fn note(&mut self, now: Reading) -> Option<Disturbance> {
        let jumped_ms = self.last.map_or(0, |last| (now.wall_ms - last.wall_ms) - (now.elapsed_ms - last.elapsed_ms));
        self.last = Some(now);
        // Where the wall clock was set, the difference says nothing about the database's.
        if let Some(ahead_ms) = &mut self.database_ahead_ms {
            *ahead_ms -= jumped_ms;
        }
        let before_ms = self.database_ahead_ms.or(now.database_ahead_ms);
        self.database_ahead_ms = now.database_ahead_ms.or(self.database_ahead_ms);
        let database_ms = self.database_ahead_ms.zip(before_ms).map_or(0, |(now_ms, before_ms)| now_ms - before_ms);
        let disturbance = if jumped_ms.abs() > self.tolerance_ms {
            Some(Disturbance::Jumped(jumped_ms))
        } else {
            (database_ms.abs() > self.tolerance_ms).then_some(Disturbance::DatabaseJumped(database_ms))
        };
        if disturbance.is_some() {
            self.disturbed_ms = Some(now.elapsed_ms);
        } else if self.has_calmed(now.elapsed_ms) {
            self.disturbed_ms = None;
            self.trusted_ahead_ms = self.database_ahead_ms;
        }
        if self.is_steady() {
            self.trusted = Some(now);
        }
        disturbance
    }

    /// The time at a reading that was noted: by the wall clock; while that cannot be trusted, as the process's own time has
    /// gone on since it could.
    pub(crate) fn time_ms(&self, now: Reading) -> i64 {
        match self.trusted {
            Some(then) if !self.is_steady() => then.wall_ms + (now.elapsed_ms - then.elapsed_ms),
            _ => now.wall_ms,
        }
    }

    fn has_calmed(&self, elapsed_ms: i64) -> bool {
        let Some(disturbed_ms) = self.disturbed_ms else { return true };
        let agrees = match (self.database_ahead_ms, self.trusted_ahead_ms) {
            (Some(now_ms), Some(before_ms)) => {
                (now_ms - before_ms).abs() <= self.tolerance_ms || now_ms.abs() <= self.tolerance_ms
            }
            _ => true,
        };
        let calm_ms = if agrees { self.calm_ms } else { self.calm_ms.max(BELIEVED_AFTER_MS) };
        elapsed_ms - disturbed_ms >= calm_ms
    }

    /// Whether the clocks can be trusted at the moment of the last reading.
    pub(crate) fn is_steady(&self) -> bool {
        self.disturbed_ms.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn watch() -> ClockWatch {
        ClockWatch::new(500, 35_000)
    }

    fn at(wall_ms: i64, elapsed_ms: i64) -> Reading {
        Reading { wall_ms, elapsed_ms, database_ahead_ms: None }
    }

    #[test]
    fn a_clock_that_goes_on_with_the_own_time_is_trusted_however_rarely_it_is_read() {
        let mut watch = watch();
        for (wall_ms, elapsed_ms) in [(HOUR_MS, 0), (HOUR_MS + 2_000, 2_000), (9 * HOUR_MS + 400, 8 * HOUR_MS)] {
            assert_eq!(watch.note(at(wall_ms, elapsed_ms)), None);
            assert!(watch.is_steady());
        }
    }

    #[test]
    fn a_clock_that_was_set_is_not_trusted_until_it_was_steady_for_a_while() {
        for jump_ms in [HOUR_MS, -HOUR_MS, 501, -501] {
            let mut watch = watch();
            watch.note(at(HOUR_MS, 0));
            assert_eq!(watch.note(at(HOUR_MS + 1_000 + jump_ms, 1_000)), Some(Disturbance::Jumped(jump_ms)));
            assert!(!watch.is_steady());
            assert_eq!(watch.note(at(HOUR_MS + 35_999 + jump_ms, 35_999)), None);
            assert!(!watch.is_steady());
            watch.note(at(HOUR_MS + 36_000 + jump_ms, 36_000));
            assert!(watch.is_steady());
        }
    }

    #[test]
    fn a_clock_that_is_set_again_and_again_is_not_trusted() {
        let mut watch = watch();
        watch.note(at(0, 0));
        for second in 1..100 {
            watch.note(at(second * 1_000 + (second / 30) * HOUR_MS, second * 1_000));
        }
        assert!(!watch.is_steady(), "the last jump was ten seconds ago");
    }

    #[test]
    fn a_database_whose_clock_was_set_is_noticed_and_one_that_only_differs_is_not() {
        let reading =
            |second: i64, ahead_ms| Reading { database_ahead_ms: Some(ahead_ms), ..at(second * 1_000, second * 1_000) };
        let mut watch = watch();
        for second in 0..10 {
            assert_eq!(watch.note(reading(second, 7_000)), None);
            assert_eq!(watch.note(at(second * 1_000, second * 1_000)), None, "it was not asked");
        }
        assert_eq!(watch.note(reading(10, 7_000 - HOUR_MS)), Some(Disturbance::DatabaseJumped(-HOUR_MS)));
        assert_eq!(watch.note(reading(20, 7_000)), Some(Disturbance::DatabaseJumped(HOUR_MS)), "it is set back");
        watch.note(reading(54, 7_000));
        assert!(!watch.is_steady());
        watch.note(reading(55, 7_000));
        assert!(watch.is_steady());
    }

    #[test]
    fn a_clock_that_was_set_alone_is_not_trusted_until_it_is_set_back_or_nobody_does() {
        let jumped = || {
            let mut watch = watch();
            watch.note(Reading { database_ahead_ms: Some(0), ..at(0, 0) });
            watch.note(at(HOUR_MS, 0));
            watch
        };
        let stays =
            |second: i64| Reading { database_ahead_ms: Some(-HOUR_MS), ..at(HOUR_MS + second * 1_000, second * 1_000) };
        let mut alone = jumped();
        for second in [40, 599] {
            alone.note(stays(second));
            assert!(!alone.is_steady(), "after {second} s");
        }
        alone.note(stays(600));
        assert!(alone.is_steady(), "nobody sets it back");

        let mut with_the_database = jumped();
        let together = Reading { database_ahead_ms: Some(0), ..at(HOUR_MS + 1_000, 1_000) };
        with_the_database.note(together);
        with_the_database.note(at(HOUR_MS + 40_000, 40_000));
        assert!(with_the_database.is_steady(), "both were set: that is the time now");
    }

    #[test]
    fn where_the_machines_clock_was_set_the_databases_is_not_blamed() {
        let mut watch = watch();
        watch.note(Reading { database_ahead_ms: Some(0), ..at(0, 0) });
        assert_eq!(watch.note(at(HOUR_MS, 0)), Some(Disturbance::Jumped(HOUR_MS)));
        assert_eq!(watch.note(Reading { database_ahead_ms: Some(-HOUR_MS), ..at(HOUR_MS, 0) }), None);
    }

    #[test]
    fn while_the_clock_cannot_be_trusted_time_goes_on_as_the_own_time_does() {
        let mut watch = watch();
        watch.note(at(HOUR_MS, 0));
        for (wall_ms, elapsed_ms, time_ms) in
            [(5 * HOUR_MS, 1_000, HOUR_MS + 1_000), (5 * HOUR_MS + 9_000, 10_000, HOUR_MS + 10_000)]
        {
            watch.note(at(wall_ms, elapsed_ms));
            assert_eq!(watch.time_ms(at(wall_ms, elapsed_ms)), time_ms);
        }
        let calm = at(5 * HOUR_MS + 40_000, 41_000);
        watch.note(calm);
        assert_eq!((watch.is_steady(), watch.time_ms(calm)), (true, calm.wall_ms));
    }
}
