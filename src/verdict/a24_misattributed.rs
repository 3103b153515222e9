//! A24: requests that another replica served than the one that is said to have, or answers that are
//! others' than those who got them. Every number by replica is then of a mixture.
//!
//! Three witnesses are heard. The client reads a name in each answer. Every engine counts what it
//! ended: where that and the names do not agree, though all of it together does, the names are wrong.
//! And vLLM makes the id of an answer of the `X-Request-Id` that came with the request: an answer with
//! the id of another request is not ours, and one replica of which some answers do so and others do
//! not is more than one server. Where none does, nothing is said: other servers make ids up.

use serde_json::json;

use super::a13_foreign_traffic::in_all;
use super::{Case, Finding, Rule};
use crate::results::{Anomaly, Both, Echo, Severity};

pub(super) const RULE: Rule = Rule {
    id: "A24",
    name: "misattributed",
    check,
};

/// How the ids of all requests of `replica` begin.
const OURS: &str = "replica-";

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    if let Some(found) = of_others(case).or_else(|| of_several_servers(case)) {
        return vec![found];
    }
    by_counts(case)
}

/// An answer that bears the id of another request: of this load, or of any that `replica` sends.
fn of_others(case: &Case<'_>) -> Option<Anomaly> {
    let of_another = case.records.iter().filter_map(|record| match &record.echo {
        Some(Echo::Other(id)) if id.contains(OURS) => Some((record, id)),
        _ => None,
    });
    let all: Vec<_> = of_another.collect();
    let (first, id) = all.first()?;
    let of = match &first.instance {
        Some(name) => format!(" of `{name}`"),
        None => String::new(),
    };
    let s = if all.len() == 1 { "" } else { "s" };
    let finding = Finding {
        message: format!(
            "{} answer{s}{of} came with the id of another request: `{}` was answered as `{id}`",
            all.len(),
            first.id
        ),
        evidence: json!({"answers": all.len(), "request": first.id, "answered_as": id}),
        cause: "what stands between mixes up answers, or keeps them and gives them out again"
            .to_owned(),
        hint:
            "measure each replica directly, and switch off what caches or multiplexes before them"
                .to_owned(),
    };
    let anomaly = RULE.speak(Severity::Error, finding);
    Some(match &first.instance {
        Some(name) => anomaly.of_replica(name),
        None => anomaly,
    })
}

/// One replica of which some answers bear the ids of their requests, and others do not.
fn of_several_servers(case: &Case<'_>) -> Option<Anomaly> {
    case.by_replica().into_iter().find_map(|(name, records)| {
        let echoes = |own: bool| {
            let told = records.iter().filter_map(|it| it.echo.as_ref());
            told.filter(|it| (**it == Echo::Own) == own).count()
        };
        let (own, other) = (echoes(true), echoes(false));
        (own > 0 && other > 0).then(|| {
            let finding = Finding {
                message: format!(
                    "{own} answers that are said to be of `{name}` bear the ids of their requests, and \
                     {other} do not: more than one server answered"
                ),
                evidence: json!({"with_own_id": own, "with_another": other}),
                cause: "something else listens beside it, or stands before it and answers itself"
                    .to_owned(),
                hint: format!("look at who listens on the port of `{name}`, and measure it directly"),
            };
            RULE.speak(Severity::Error, finding).of_replica(name)
        })
    })
}

/// The names in the answers beside what the engines counted.
fn by_counts(case: &Case<'_>) -> Vec<Anomaly> {
    let Some(reconcile) = &case.point.reconcile else {
        return Vec::new();
    };
    let all_count = reconcile.by_instance.len() == case.job.instances.len();
    if reconcile.failed > 0 || !all_count || !agree(&in_all(reconcile)) {
        return Vec::new();
    }
    let servers = reconcile.by_instance.iter();
    servers
        .filter(|(_, both)| !agree(both))
        .take(1)
        .map(|(name, both)| spoken(name, both))
        .collect()
}

fn agree(both: &Both) -> bool {
    let counted = both.server_requests;
    counted.is_none_or(|counted| counted == both.client_requests)
}

fn spoken(name: &str, both: &Both) -> Anomaly {
    let counted = both.server_requests.unwrap_or_default();
    let finding = Finding {
        message: format!(
            "{} answers are said to be of `{name}`, which ended {counted} requests",
            both.client_requests
        ),
        evidence: json!(both),
        cause: "what stands before the replicas names another than the one that serves".to_owned(),
        hint: "measure each replica directly, and look at who sets `x-replica-instance`".to_owned(),
    };
    RULE.speak(Severity::Error, finding).of_replica(name)
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, batch, scene};
    use crate::results::{Echo, Severity};

    /// Eight answers, four a replica, with the ids that they bear.
    fn answered(ids: impl Fn(usize, &str) -> Option<Echo>) -> Scene {
        let mut records = batch([1000.0; 4], [1000.0; 4]);
        for (place, record) in records.iter_mut().enumerate() {
            record.id = format!("replica-00ff-0.0.{place}");
            record.echo = ids(place, &record.id);
        }
        scene(records)
    }

    fn of(answer: &str, request: &str) -> Option<Echo> {
        Echo::of(request, &[answer.to_owned()])
    }

    fn said(scene: &Scene) -> Vec<String> {
        let anomalies = scene.judge().into_iter().filter(|it| it.id == "A24");
        anomalies
            .map(|it| {
                assert_eq!(it.severity, Severity::Error);
                it.message
            })
            .collect()
    }

    #[test]
    fn who_echoes_always_or_never_is_believed() {
        assert!(said(&answered(|_, id| of(&format!("cmpl-{id}"), id))).is_empty());
        assert!(said(&answered(|_, id| of(&format!("chatcmpl-{id}-0"), id))).is_empty());
        assert!(said(&answered(|place, id| of(&format!("cmpl-8c{place}"), id))).is_empty());
        assert!(said(&answered(|_, _| None)).is_empty());
        // Two sorts of servers, each by its own name.
        let two = answered(|place, id| match place {
            0..4 => of(&format!("cmpl-{id}"), id),
            _ => of("cmpl-8c6e", id),
        });
        assert!(said(&two).is_empty());
    }

    #[test]
    fn one_name_with_two_sorts_of_ids_is_more_than_one_server() {
        let mixed = answered(|place, id| match place {
            5 => of("cmpl-8c6e", id),
            _ => of(&format!("cmpl-{id}"), id),
        });
        let text = "3 answers that are said to be of `b` bear the ids of their requests, and 1 do not: \
                    more than one server answered";
        assert_eq!(said(&mixed), [text]);
    }

    #[test]
    fn an_answer_with_anothers_id_is_not_ours() {
        let swapped = answered(|place, id| {
            let other = match place {
                2 => "cmpl-replica-00ff-0.0.20",
                _ => return of(&format!("cmpl-{id}"), id),
            };
            of(other, id)
        });
        let text = "1 answer of `a` came with the id of another request: `replica-00ff-0.0.2` was \
                    answered as `cmpl-replica-00ff-0.0.20`";
        assert_eq!(said(&swapped), [text]);
    }

    #[test]
    fn a_stream_with_two_names_is_anothers_in_part() {
        let ids = ["cmpl-r-1".to_owned(), "cmpl-r-2".to_owned()];
        assert_eq!(Echo::of("r-1", &ids), Some(Echo::Other(ids[1].clone())));
        assert_eq!(Echo::of("r-1", &ids[..1]), Some(Echo::Own));
        assert_eq!(Echo::of("r-1", &[]), None);
    }
}
