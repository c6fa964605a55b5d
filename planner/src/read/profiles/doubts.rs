//! Why a profile may no longer hold.

use jiff::civil::Date;

use super::Profile;

/// Days after which a profile is old: drivers and libraries come out several times a year.
const OLD: i32 = 365;

impl Profile {
    /// Why it may no longer hold on that day, on a machine with that driver.
    pub fn doubts(&self, today: Date, driver: Option<&str>) -> Vec<String> {
        let (name, measured) = (&self.name, &self.measured);
        let days =
            measured.date.parse::<Date>().ok().and_then(|date| today.since(date).ok()).map(|span| span.get_days());
        let age = days.filter(|days| *days > OLD).map(|days| format!("the profile {name} is {days} days old"));
        let other = driver.filter(|driver| *driver != measured.driver).map(|driver| {
            format!("the profile {name} was measured with driver {}, here is driver {driver}", measured.driver)
        });
        let again = |line: String| format!("{line}: `memplan calibrate` measures again");
        age.into_iter().chain(other).map(again).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn profile() -> Profile {
        let text = "memplan_profile: 1\nmeasured: {gpu: NVIDIA H200, compute_capability: '9.0', driver: 570.86.15, \
                    cuda: '12.8', date: 2026-01-31, command: memplan calibrate}\n";
        Profile::parse("h200.yaml", text).expect("a profile")
    }

    #[test]
    fn old_profiles_and_other_drivers_are_doubted() {
        let profile = profile();
        assert!(profile.doubts(date(2026, 11, 21), Some("570.86.15")).is_empty());
        assert!(profile.doubts(date(2026, 11, 21), None).is_empty());
        let both = profile.doubts(date(2027, 3, 1), Some("580.65.06"));
        assert_eq!(
            both,
            [
                "the profile h200 is 394 days old: `memplan calibrate` measures again",
                "the profile h200 was measured with driver 570.86.15, here is driver 580.65.06: `memplan calibrate` \
                 measures again"
            ]
        );
    }
}
