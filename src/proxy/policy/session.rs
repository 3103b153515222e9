//! The same instance for each request of a session, within bounds.
//!
//! A session is known by a header, or by the `user` of the body. Each has an order of the instances of its
//! own, by a hash of both names (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
//! IEEE/ACM Transactions on Networking 6(1), 1998), and goes to the first of them that has room. So an
//! instance that comes or goes moves no session but its own, and one that is restarted has its own again:
//! its name is the same.
//!
//! There is room for a little more than an even share of what is in flight (Mirrokni, Thorup and
//! Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018): one session that asks more than all
//! others together is spread over as many instances as it needs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::header::HeaderName;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Charge, LOOKS, Policy, Ready, crowd};
use crate::proxy::backend::Backend;
use crate::proxy::request_view::RequestView;

/// By what a session is known, and how evenly sessions are shared out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSettings {
    /// The header by which a session is known: `x-session-id`. Without it the body's `user` is; what
    /// has neither goes where the fewest requests are in flight.
    #[serde(deserialize_with = "header")]
    #[schemars(pattern(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub header: String,
    /// How many times its even share of the requests in flight an instance may have: from 1, for all the
    /// same, to 100. What is beyond goes to another instance.
    #[serde(deserialize_with = "balance")]
    #[schemars(range(min = 1, max = 100))]
    pub balance: f64,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            header: "x-session-id".to_owned(),
            balance: 1.25,
        }
    }
}

fn header<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name.parse::<HeaderName>() {
        Ok(_) => Ok(name),
        Err(_) => Err(Error::custom(
            "a header has letters, digits and `-` in its name: write one such as `x-session-id`",
        )),
    }
}

fn balance<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let times = f64::deserialize(deserializer)?;
    if (1.0..=100.0).contains(&times) {
        return Ok(times);
    }
    Err(Error::custom(format!(
        "`balance` must be from 1 to 100, and is {times}"
    )))
}

/// Remembers nothing: where a session goes follows from its name.
#[derive(Debug)]
pub(in crate::proxy) struct Session {
    /// A name that was looked at when the settings were read.
    header: Option<HeaderName>,
    balance: f64,
    turn: AtomicUsize,
}

impl Session {
    /// With nothing in flight.
    pub(in crate::proxy) fn new(settings: &SessionSettings) -> Self {
        Self {
            header: settings.header.parse().ok(),
            balance: settings.balance,
            turn: AtomicUsize::default(),
        }
    }

    /// The number of the session that a request is of.
    fn session(&self, request: &RequestView<'_>) -> Option<u64> {
        let header = self.header.as_ref().and_then(|it| request.header(it));
        header.or_else(|| request.keys().user).map(hash)
    }

    /// The first in a session's order that has room, and how many requests it has in flight; nobody while
    /// requests come and go so fast that all seem to be full.
    fn first<'a>(&self, session: u64, ready: &Ready<'a>) -> Option<(&'a Arc<Backend>, u64)> {
        let shares: f64 = ready.iter().map(|it| it.share.now()).sum();
        // What it has failed lately counts as if it were in flight: who fails at once always has room.
        let looked = |it: &'a Arc<Backend>| (it, it.in_flight(), it.history.weight());
        let all: u64 = ready
            .iter()
            .map(looked)
            .map(|(_, own, failed)| own + failed)
            .sum();
        let each = self.balance * (all + 1) as f64 / shares;
        // Rounded up, the rooms of all are one more than all that is in flight: somebody has one.
        let has_room = |own: u64, share: f64| ((own + 1) as f64) <= (each * share).ceil();
        ready
            .iter()
            .map(looked)
            .map(|(it, own, failed)| (it, own, failed, it.share.now()))
            .filter(|(_, own, failed, share)| has_room(own + failed, *share))
            .map(|(it, own, _, share)| (it, own, share))
            .map(|(it, own, share)| (it, own, attraction(session, &it.spec.name, share)))
            .max_by(|one, other| one.2.total_cmp(&other.2))
            .map(|(it, own, _)| (it, own))
    }
}

impl Policy for Session {
    fn choose(&self, request: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        if let Some(session) = self.session(request) {
            for _ in 0..LOOKS {
                let Some((backend, among)) = self.first(session, ready) else {
                    break;
                };
                if let Some(claim) = backend.claim(Some(among)) {
                    return Some(claim.into());
                }
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Some(ready.claim_least(turn, crowd)?.into())
    }
}

/// How much a session is drawn to an instance. In proportion to its share it is the one that draws most
/// (Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005).
fn attraction(session: u64, instance: &str, share: f64) -> f64 {
    // 53 bits, and never 0 or 1.
    let drawn = ((hash((session, instance)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -share / drawn.ln()
}

/// The same in every process: a proxy that is restarted finds sessions where they were.
fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proxy::policy::tests::Fleet;

    fn policy() -> Session {
        Session::new(&SessionSettings::default())
    }

    fn of(session: usize) -> String {
        json!({"prompt": "p", "user": format!("user-{session}")}).to_string()
    }

    fn placed(fleet: &Fleet, sessions: usize) -> Vec<usize> {
        let policy = policy();
        (0..sessions)
            .map(|it| fleet.pick_for(&policy, &of(it)))
            .collect()
    }

    #[test]
    fn a_session_stays_where_it_is_and_sessions_are_spread() {
        let fleet = Fleet::of(4);
        let at = placed(&fleet, 1000);
        assert_eq!(placed(&fleet, 1000), at);
        for place in 0..4 {
            let share = at.iter().filter(|it| **it == place).count();
            assert!((200..300).contains(&share), "{share} at {place}");
        }
    }

    #[test]
    fn who_goes_moves_its_own_sessions_alone_and_has_them_again_in_its_next_epoch() {
        let fleet = Fleet::of(4);
        let before = placed(&fleet, 1000);
        fleet.at(2).eject("refused");
        let without = placed(&fleet, 1000);
        for (old, new) in before.iter().zip(&without) {
            assert!(old == new || *old == 2, "{old} to {new}");
            assert_ne!(*new, 2);
        }
        // Other epochs of instances with the same names.
        assert_eq!(placed(&Fleet::of(4), 1000), before);
    }

    #[test]
    fn who_fails_its_sessions_has_no_room_for_them() {
        let (fleet, policy) = (Fleet::of(3), policy());
        let own = (0..1000).find(|it| fleet.pick_for(&policy, &of(*it)) == 1);
        let own = of(own.unwrap());
        for _ in 0..4 {
            fleet.at(1).history.failed(None);
        }
        assert_ne!(fleet.pick_for(&policy, &own), 1);
    }

    #[test]
    fn who_is_to_have_more_has_more_sessions() {
        let fleet = Fleet::of(2);
        fleet.weigh(&[1, 3]);
        let more = placed(&fleet, 1000)
            .into_iter()
            .filter(|it| *it == 1)
            .count();
        assert!((700..800).contains(&more), "{more}");
    }

    /// The bound of the paper, whatever the sessions: a hot one among others, from all sides at once.
    #[test]
    fn nobody_has_more_than_its_share_times_the_balance() {
        for balance in [1.0, 1.25, 2.0] {
            let fleet = Fleet::of(5);
            let settings = SessionSettings {
                balance,
                ..SessionSettings::default()
            };
            let policy = Session::new(&settings);
            let mut held = Vec::new();
            for turn in 0..400_usize {
                held.push(fleet.choose_for(&policy, &of(turn % 3 * turn)));
                let bound = (balance * (turn + 1) as f64 / 5.0).ceil() as u64;
                let most = fleet.in_flight().into_iter().max().unwrap();
                assert!(most <= bound, "{most} of {turn} at balance {balance}");
            }
        }
    }

    #[test]
    fn the_header_comes_before_the_user_and_neither_out_of_a_prompt() {
        let policy = policy();
        let fleet = Fleet::of(8);
        let at = |header: &str, body: &str| {
            let pick = || fleet.pick_with(&policy, &[("x-session-id", header)], body);
            let first = pick();
            (0..20).all(|_| pick() == first).then_some(first)
        };
        let by_header = at("chat-1", &of(1));
        assert!(by_header.is_some());
        assert_eq!(at("chat-1", &of(2)), by_header);
        assert!(at("", &of(1)).is_some(), "an empty header says nothing");
        // Without a session the idle ones take turns.
        assert_eq!(
            at(
                "",
                r#"{"prompt":"\"user\":\"eve\"","messages":[{"user":"eve"}]}"#
            ),
            None
        );
    }

    #[test]
    fn a_session_without_a_body_is_one_too() {
        let (fleet, policy) = (Fleet::of(8), policy());
        let at = || fleet.pick_with(&policy, &[("x-session-id", "chat-1")], "");
        let first = at();
        assert!((0..20).all(|_| at() == first));
    }

    #[test]
    fn settings_out_of_bounds_say_what_is_allowed() {
        let read = |settings| serde_json::from_value::<SessionSettings>(settings);
        let defaults = SessionSettings::default();
        assert_eq!(read(json!({})).unwrap(), defaults);
        for (settings, why) in [
            (json!({"balance": 0.9}), "from 1 to 100, and is 0.9"),
            (json!({"balance": 101}), "from 1 to 100, and is 101"),
            (json!({"header": "a b"}), "write one such as `x-session-id`"),
            (json!({"header": ""}), "write one such as `x-session-id`"),
            (json!({"key": "a"}), "unknown field `key`"),
        ] {
            let said = read(settings).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
