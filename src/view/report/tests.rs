//! Pages as a browser gets them: whole, of nobody's making but ours, and without an empty plot.

use super::*;
use crate::results::{GaugeSample, Gauges, ServerMetrics, Status};
use crate::shape::known;
use crate::verdict::scene::{batch, notebook_run, request, rounds};

/// The notebook's run with its requests, as a result that lies in a file.
fn notebook() -> Reported {
    Reported {
        path: "results/replicated/batch/2026-02-06T08-39-45.112Z.json".into(),
        result: notebook_run(),
        records: Some(vec![batch([7055.0; 4], [30210.0; 4])]),
    }
}

/// A result of several closed loops, each with 64 requests that take longer the more there are.
fn ladder() -> Reported {
    let mut it = notebook();
    let loads = [1, 8, 64].map(|width| {
        let each = 1000.0 + 10.0 * f64::from(width);
        let records: Vec<Record> = (0..64)
            .map(|i| {
                let sent = f64::from(i / width) * each;
                let name = ["a", "b"][i as usize % 2];
                request(i, name, sent, sent + 20.0 + f64::from(i % 7), sent + each)
            })
            .collect();
        (Point::of(&known::concurrency(width, 64), &records), records)
    });
    let (points, records) = loads.into_iter().unzip();
    it.result.points = points;
    it.result.valid = true;
    it.result.comparison = None;
    it.records = Some(records);
    it
}

#[test]
fn rounds_are_drawn_where_there_are_several() {
    let mut it = notebook();
    assert!(!headings(&page(vec![it.clone()])).contains(&"Round by round"));
    let records = rounds([7055.0, 9000.0, 7100.0].map(|ms| batch([ms; 4], [ms; 4])));
    it.result.points = vec![Point::of(&known::batch(8), &records)];
    it.records = Some(vec![records]);
    let page = page(vec![it]);
    assert!(headings(&page).contains(&"Round by round"));
    let (_, section) = page.split_once("Round by round").unwrap();
    let (drawing, table) = section.split_once("<table").unwrap();
    assert_eq!(drawing.matches(">median</text>").count(), 1);
    assert_eq!(drawing.matches("r=\"3.5\"").count(), 3);
    assert_eq!(table.matches("stands for all").count(), 1);
}

#[test]
fn how_many_an_engine_runs_at_once_is_a_line_where_it_is_near() {
    let line = |seats: u32| {
        let mut it = notebook();
        for target in &mut it.result.job.instances {
            target.max_num_seqs = Some(seats);
        }
        page(vec![it]).contains(">max_num_seqs</text>")
    };
    assert!(line(4));
    assert!(!line(256), "four in flight would be flat below it");
}

#[test]
fn the_roofline_is_drawn_where_it_is_known() {
    use crate::results::{Bound, Roofline};
    let mut result = ladder();
    assert!(!page(vec![result.clone()]).contains("roofline 120"));
    let bound = Bound::Known(Roofline {
        tok_s_user: 120.0,
        memory_gb_s: 1800.0,
        memory_of: "the manifest".to_owned(),
        weights_gib: 14.0,
        read_gb: 15.0,
    });
    result.result.roofline = [("a".to_owned(), bound)].into();
    let page = page(vec![result]);
    assert!(page.contains(">roofline 120</text>"));
    assert!(page.contains("120 tok/s a stream at most (1800 GB/s of the manifest"));
}

fn page(results: Vec<Reported>) -> String {
    html(&Report {
        topology: "replicated".to_owned(),
        comparisons: Vec::new(),
        results,
    })
}

fn headings(page: &str) -> Vec<&str> {
    let parts = page.split("<h3>").skip(1);
    parts
        .filter_map(|part| part.split("</h3>").next())
        .collect()
}

/// Elements that have no end.
const VOID: [&str; 1] = ["meta"];

/// Reads a page as strictly as no browser does, and returns the elements in it.
pub(super) fn elements(page: &str) -> Vec<&str> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let mut rest = page
        .strip_prefix("<!DOCTYPE html>\n")
        .expect("a document type");
    while let Some(at) = rest.find('<') {
        assert!(
            !rest[..at].contains('>'),
            "a lone `>` before {:.60}",
            &rest[at..]
        );
        let end = rest[at..].find('>').expect("an element ends") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "before {rest:.60}");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        let name = tag.split([' ', '/']).next().unwrap();
        all.push(name);
        if name == "style" {
            rest = &rest[rest.find("</style>").expect("a style sheet ends")..];
        }
        if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    all
}

#[test]
fn the_notebooks_run_as_a_page() {
    let page = page(vec![notebook()]);
    elements(&page);
    insta::assert_snapshot!(page.replace(STYLE, ""));
}

#[test]
fn a_page_asks_nobody_for_anything() {
    asks_nobody(&page(vec![notebook(), ladder()]));
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
}

/// Nothing on a page is loaded, run or sent.
pub(super) fn asks_nobody(page: &str) {
    let elements = elements(page);
    for banned in [
        "script", "link", "img", "iframe", "object", "form", "image", "use",
    ] {
        assert!(!elements.contains(&banned), "{banned}");
    }
    // What is not in quotes: the names of attributes.
    let tags = page.split('<').filter_map(|part| part.split('>').next());
    let names: String = tags.flat_map(|tag| tag.split('"').step_by(2)).collect();
    for banned in [" src=", " on", " style=", " action="] {
        assert!(!names.contains(banned), "{banned}");
    }
    let links = page.split("href=\"").skip(1);
    for link in links {
        let target = link.strip_prefix('#').expect("a link within the page");
        let id = target.split('"').next().unwrap();
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
}

#[test]
fn what_others_wrote_is_a_text() {
    let mut it = notebook();
    let hostile = "</script><script>alert(1)</script>\"'&\u{202e}\x1b[2J";
    it.result.job.model = hostile.to_owned();
    it.result.tags.insert("k".to_owned(), hostile.to_owned());
    it.result.notes.push(hostile.to_owned());
    it.result.points[0].anomalies[0].message = hostile.to_owned();
    it.result.topology["instances"] = serde_json::json!([{"name": hostile, "command": [hostile]}]);
    let records = &mut it.records.as_mut().unwrap()[0];
    records[0].status = Status::SseError;
    records[0].error = Some(hostile.to_owned());
    records[1].instance = Some(hostile.to_owned());
    let load = it.result.points[0].load.clone();
    it.result.points[0].summary = crate::results::Summary::of(&load, records);
    let page = page(vec![it]);
    assert!(!elements(&page).contains(&"script"));
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert!(!page.contains(['\u{202e}', '\x1b']));
}

#[test]
fn a_result_that_cannot_be_believed_says_so_at_every_turn() {
    let invalid = page(vec![notebook()]);
    for place in [
        "class=\"banner\"",
        "<h2>✗ INVALID: batch, 2026-02-06 08:39:45 UTC</h2>",
        "class=\"result invalid\"",
        "class=\"verdict bad\"",
        "A6 cold replica",
        "it has no ratio to anything",
    ] {
        assert!(invalid.contains(place), "{place}");
    }
    let valid = page(vec![ladder()]);
    for place in [
        "class=\"banner\"",
        "INVALID:",
        "result invalid",
        "verdict bad",
    ] {
        assert!(!valid.contains(place), "{place}");
    }
}

#[test]
fn what_is_simulated_is_called_so_in_the_heading() {
    let mut it = notebook();
    assert!(!page(vec![it.clone()]).contains("simulated"));
    it.result.topology["instances"] =
        serde_json::json!([{"spec": {"engine": {"simulate": "fast"}}}]);
    let both = page(vec![it.clone(), notebook()]);
    assert!(both.contains("<h1>Report on replicated (some of it simulated)</h1>"));
    let one = page(vec![it]);
    assert!(one.contains("<h1>Report on replicated (simulated)</h1>"));
    assert!(one.contains("UTC (simulated)</h2>"));
}

#[test]
fn a_section_stands_where_there_is_something_to_show() {
    let batch = page(vec![notebook()]);
    insta::assert_snapshot!(headings(&batch).join("\n"), @"
    What was asked, and the answer
    What speaks against it
    Against the baseline
    Requests in time
    What each replica had to do
    Who served
    Under which conditions
    ");
    let ladder = page(vec![ladder()]);
    insta::assert_snapshot!(headings(&ladder).join("\n"), @"
    What was asked, and the answer
    Latency against load
    Latencies
    Requests in time
    What each replica had to do
    Who served
    Under which conditions
    ");
    assert!(ladder.contains("<h2>Speed of one against speed of all</h2>"));
    let mut bare = notebook();
    bare.records = None;
    bare.result.points[0].anomalies.clear();
    let load = bare.result.points[0].load.clone();
    bare.result.points[0].summary = crate::results::Summary::of(&load, &[]);
    bare.result.comparison = None;
    let bare = page(vec![bare]);
    insta::assert_snapshot!(headings(&bare).join("\n"), @"
    What was asked, and the answer
    Under which conditions
    ");
    assert!(!bare.contains("<svg"));
}

/// What an engine counted, and what its gauges showed at each second.
fn counted(running: [f64; 4]) -> ServerMetrics {
    let sample = |(second, running): (usize, &f64)| GaugeSample {
        at_us: second as u64 * 1_000_000,
        gauges: Gauges {
            running: Some(*running),
            waiting: Some(0.0),
            kv_usage: Some(running / 100.0),
        },
    };
    let mut counted = ServerMetrics {
        samples: running.iter().enumerate().map(sample).collect(),
        ..ServerMetrics::default()
    };
    counted.mean.queue_ms = Some(12.5);
    counted.delta.prefix_queries = Some(80);
    counted.delta.prefix_hits = Some(20);
    counted
}

#[test]
fn what_the_engines_counted_is_shown_where_they_count() {
    let mut it = notebook();
    let server = &mut it.result.points[0].server;
    server.insert("a".to_owned(), counted([4.0, 4.0, 2.0, 0.0]));
    server.insert("b".to_owned(), counted([0.0; 4]));
    let shown = page(vec![it]);
    elements(&shown);
    assert!(headings(&shown).contains(&"What the engines counted"));
    assert!(shown.contains(">running</text>") && shown.contains(">KV cache %</text>"));
    // Nothing waited: there is no strip of it.
    assert!(!shown.contains(">waiting</text>"));
    assert!(shown.contains("12.5") && shown.contains("25.0 %"));
}

#[test]
fn throughput_is_told_for_each_gpu_where_the_nodes_told_of_them() {
    let gpu = || crate::plan::GpuConditions {
        name: Some("GB10".to_owned()),
        clock_mhz: Some("2405".to_owned()),
        ..crate::plan::GpuConditions::default()
    };
    let mut it = ladder();
    it.result.topology["instances"] = serde_json::json!([{"name": "a"}, {"name": "b"}]);
    assert!(page(vec![it.clone()]).contains("tok/s per instance"));
    for node in ["spark-01", "spark-02"] {
        let mut seen = crate::plan::NodeConditions::default();
        seen.gpus.push(gpu());
        it.result
            .conditions
            .before
            .insert(node.parse().unwrap(), seen);
    }
    let shown = page(vec![it]);
    assert!(shown.contains("tok/s/GPU") && !shown.contains("tok/s per instance"));
    assert!(shown.contains("2405"));
}

#[test]
fn ten_thousand_requests_are_a_page_that_can_be_sent() {
    let mut it = notebook();
    let records: Vec<Record> = (0..10_000)
        .map(|i| {
            let sent = f64::from(i / 64) * 100.0;
            request(
                i,
                ["a", "b"][i as usize % 2],
                sent,
                sent + 9.0,
                sent + 90.0 + f64::from(i % 9),
            )
        })
        .collect();
    it.result.points = vec![Point::of(&known::concurrency(64, 10_000), &records)];
    it.records = Some(vec![records]);
    let page = page(vec![it]);
    elements(&page);
    assert!(page.len() < 400_000, "{} bytes", page.len());
    assert!(page.contains("of 10000 requests are drawn"));
}
