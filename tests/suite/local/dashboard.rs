//! The dashboard, held against what is served.

use std::collections::BTreeSet;

use super::alone::get;
use super::disaggregated::SPLIT;
use crate::suite::support::Workdir;

/// The names of metrics in a question to Prometheus.
fn asked_for(question: &str) -> impl Iterator<Item = &str> {
    let words = question.split(|it: char| !it.is_ascii_alphanumeric() && !"_:".contains(it));
    words.filter(|word| word.starts_with("replica_proxy_") || word.starts_with("vllm:"))
}

/// The names that a page declares; a histogram has three.
fn served(page: &str) -> BTreeSet<String> {
    let declared = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut names = BTreeSet::new();
    for (name, kind) in declared.filter_map(|line| line.split_once(' ')) {
        match kind.trim() {
            "histogram" => {
                names.extend(["bucket", "sum", "count"].map(|it| format!("{name}_{it}")));
            }
            // OpenMetrics names the family, and each series with this behind it.
            "counter" if !name.ends_with("_total") => drop(names.insert(format!("{name}_total"))),
            _ => drop(names.insert(name.to_owned())),
        }
    }
    names
}

#[test]
fn the_dashboard_asks_for_what_the_proxy_and_its_instances_serve() {
    let place = Workdir::with(SPLIT);
    let _ = place.replica(&["apply", "-y"]).exits(0);
    let names: BTreeSet<_> = (0..3)
        .flat_map(|index| served(&get(place.port(index), "/metrics").expect("it answers")))
        .collect();
    let dashboard = place.replica(&["dashboard"]).exits(0).json();
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let mut asked = 0;
    for target in targets.flatten() {
        let question = target["expr"].as_str().expect("it asks something");
        for name in asked_for(question) {
            assert!(
                names.contains(name),
                "{name} of `{question}` is not among {names:#?}"
            );
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
}
