//! How far something has come: in words, and as a bar where it is known how far there is to go.

use std::time::Duration;

use crate::plan::{Count, Phase, Time};
use crate::view::words::{bytes, clean, count};

/// The columns that a bar takes with its brackets.
pub(super) const BAR: usize = 16;

/// The detail that changes while something is done: `weights 3/4, 45 s of about 2 min`. Empty where
/// nothing is known but that it is done.
pub(super) fn detail(phase: &Phase) -> String {
    let part = clean(&phase.part.name);
    // What pieces are of is said before them, as in `weights 3/4`; the rest speaks for itself.
    let (part, counted) = match phase.part.count {
        Some(Count::Pieces { done, of }) => (format!("{part} {done}/{of}").trim().to_owned(), None),
        counted => (part, counted.map(in_words)),
    };
    let time = phase.time.map(|Time { elapsed, expected }| {
        format!("{} of about {}", rough(elapsed), rough(expected))
    });
    let said = [Some(part), counted, time].into_iter().flatten();
    let said: Vec<String> = said.filter(|it| !it.is_empty()).collect();
    said.join(", ")
}

fn in_words(counted: Count) -> String {
    match counted {
        Count::Requests {
            done,
            of: 0,
            failed: 0,
        } => format!("{done} done"),
        Count::Pieces { done, of }
        | Count::Requests {
            done,
            of,
            failed: 0,
        } => {
            format!("{done}/{of}")
        }
        Count::Requests {
            done,
            of: 0,
            failed,
        } => format!("{done} done, {failed} failed"),
        Count::Requests { done, of, failed } => format!("{done}/{of}, {failed} failed"),
        Count::Copied {
            done,
            of,
            per_second,
        } => format!("{} of {}, {}/s", bytes(done), bytes(of), bytes(per_second)),
        Count::Written(written) => format!("{} written", bytes(written)),
        Count::InFlight(requests) => {
            let requests = usize::try_from(requests).unwrap_or(usize::MAX);
            format!("{} in flight", count(requests, "request"))
        }
        Count::Running(processes) => format!("{processes} still running"),
    }
}

/// A time as one says it.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

/// A bar for a share between 0 and 1: `[=======>      ]`.
pub(super) fn bar(share: f64) -> String {
    let inside = BAR - 2;
    let full = ((share * inside as f64) as usize).min(inside);
    let head = usize::from(full < inside);
    let rest = " ".repeat(inside - full - head);
    format!("[{}{}{rest}]", "=".repeat(full), ">".repeat(head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Part;

    fn counted(name: &str, count: Count) -> Phase {
        Phase::new("working").at(name).counted(count)
    }

    #[test]
    fn counts_come_in_their_units() {
        let said = |name, count| detail(&counted(name, count));
        let requests = |failed| Count::Requests {
            done: 3,
            of: 5,
            failed,
        };
        let copied = Count::Copied {
            done: 1_200_000_000,
            of: 16_060_000_000,
            per_second: 830_000_000,
        };
        let weights = said("weights", Count::Pieces { done: 3, of: 4 });
        assert_eq!(weights, "weights 3/4");
        assert_eq!(said("", Count::Pieces { done: 3, of: 4 }), "3/4");
        assert_eq!(said("", requests(0)), "3/5");
        assert_eq!(said("", requests(2)), "3/5, 2 failed");
        assert_eq!(said("", copied), "1.2 GB of 16.1 GB, 830.0 MB/s");
        let written = said("fetching torch", Count::Written(312_000_000));
        assert_eq!(written, "fetching torch, 312.0 MB written");
        let drains = said("`a` drains", Count::InFlight(1));
        assert_eq!(drains, "`a` drains, 1 request in flight");
        assert_eq!(said("", Count::Running(2)), "2 still running");
        assert_eq!(detail(&Phase::new("starting")), "");
        let moving = Phase::new("working").at("one\x1b[2Jtwo");
        assert_eq!(detail(&moving), r"one\x1b[2Jtwo");
    }

    #[test]
    fn times_are_said_roughly() {
        let loading = |elapsed, part: Part| Phase {
            time: Some(Time {
                elapsed: Duration::from_secs(elapsed),
                expected: Duration::from_secs(130),
            }),
            ..Phase::new("loading").at(part)
        };
        assert_eq!(
            detail(&loading(45, Count::Pieces { done: 3, of: 4 }.into())),
            "3/4, 45 s of about 2 min"
        );
        assert_eq!(
            detail(&loading(215, Part::default())),
            "4 min of about 2 min"
        );
    }

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        assert_eq!(bar(0.0), "[>             ]");
        assert_eq!(bar(0.5), "[=======>      ]");
        assert_eq!(bar(0.99), "[=============>]");
        assert_eq!(bar(1.0), "[==============]");
        assert!([0.0, 0.3, 0.99, 1.0].iter().all(|it| bar(*it).len() == BAR));
    }
}
