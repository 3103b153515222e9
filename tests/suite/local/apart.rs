//! The deployment and each instance of it are both measured, and the difference is printed.

use super::PAIR;
use crate::suite::support::Workdir;

const APART: &str = "
benchmarks:
  all:
    endpoint: each_instance
    prompts: {inline: [Hello]}
    load: {batch: 4}
    max_tokens: 1
    repeats: 2
  lone: {endpoint: each_instance, prompts: {inline: [Hello]}, load: {sequential: 4}, max_tokens: 1, repeats: 1}
  one: {endpoint: {instance: b}, prompts: {inline: [Hello]}, load: {batch: 2}, max_tokens: 1, repeats: 1}
";

#[test]
fn each_instance_is_measured_past_the_proxy_and_held_against_it() {
    let place = Workdir::with(&(PAIR.to_owned() + APART));
    let done = place.replica(&["apply", "-y", "--json"]).exits(0).json();
    let results = done["benchmarks"].as_array().unwrap();
    let names: Vec<_> = results
        .iter()
        .map(|it| it["job"]["name"].as_str())
        .collect();
    let expected = ["all", "all.a", "all.b", "lone", "lone.a", "lone.b", "one"].map(Some);
    assert_eq!(names, expected);
    for (at, served, port) in [(1, "a", 0), (2, "b", 1), (6, "b", 1)] {
        let result = &results[at];
        let endpoint = result["job"]["endpoint"]["authority"].as_str().unwrap();
        assert!(
            endpoint.ends_with(&place.port(port).to_string()),
            "{endpoint}"
        );
        let shares = result["points"][0]["by_instance"].as_object().unwrap();
        assert_eq!(shares.keys().collect::<Vec<_>>(), [served]);
    }
    assert!(results[0]["comparison"].is_null());
    for apart in &results[1..3] {
        let beside = apart["comparison"]["baseline"].as_str().unwrap();
        assert!(
            beside.contains(&format!("{}/all/", place.topology)),
            "{beside}"
        );
        let rows = apart["comparison"]["rows"].as_array().unwrap();
        assert!(
            rows.iter().any(|row| row["what"] == "median TTFT"),
            "{rows:?}"
        );
        let measured = &apart["comparison"]["measured"];
        assert_eq!(
            (&measured["benchmark"], &measured["adds_proxy"]),
            // Of the four that two shared, each has all: that is not the proxy's alone.
            (&"all".into(), &false.into())
        );
        assert_eq!(rows[0]["n"], serde_json::json!([8, 8]));
    }
    let _ = place.replica(&["plan", "--detailed-exitcode"]).exits(0);
    let again = place.replica(&["bench", "all", "--json"]).exits(0).json();
    assert_eq!(again.as_array().unwrap().len(), 3);
    let _ = place
        .replica(&["bench", "show", "all.b"])
        .exits(0)
        .shows("against all of ")
        .shows("before\n");
    let _ = place
        .replica(&["bench", "show", "lone.a"])
        .exits(0)
        .shows("against lone of ")
        .shows("the proxy adds ")
        .shows(" ms to the median TTFT");
    place.change("{instance: b}", "{instance: c}");
    let _ = place
        .replica(&["plan"])
        .exits(65)
        .says("there is no instance `c`");
}
