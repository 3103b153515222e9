//! Under which conditions it was measured: who ran, what measured, what was asked.

use serde_json::Value;

use super::super::Reported;
use super::super::markup::Markup;
use super::super::sheet::{Sheet, facts};
use crate::results::{ClientFacts, WarmupRequest};
use crate::view::bench::{roofline, said_unproved};
use crate::view::words::number;

/// The conditions, and below them everything that the result knows of the servers.
pub(in super::super) fn conditions(it: &Reported) -> Markup {
    let mut out = Markup::default();
    let (result, job) = (&it.result, &it.result.job);
    let client = &result.client;
    let node = client.node.as_ref();
    let node = node.map_or_else(String::new, |node| format!("node {node}: "));
    facts(
        &mut out,
        &[
            ("result", it.path.display().to_string()),
            ("measured", result.run.started.to_string()),
            ("manifest", manifest(it)),
            ("run id", result.run.id.clone()),
            (
                "by",
                format!("{} {}", result.tool.name, result.tool.version),
            ),
            (
                "from",
                format!(
                    "{}{}, {}, kernel {}",
                    node, client.host, client.platform, client.kernel
                ),
            ),
            ("clock", format!("{}, {} cores", client.clock, client.cores)),
            ("generator", generator(client)),
            (
                "prompts",
                format!("{}, sha256 {}", job.prompts.count, job.prompts.sha256),
            ),
            ("roofline", roofline(it)),
            ("timeout", format!("{} s", job.timeout_s)),
            ("definitions", job.definitions.clone()),
            ("fingerprint", job.fingerprint.clone()),
        ],
    );
    if let Some(unproved) = said_unproved(result) {
        facts(&mut out, &[("proved", unproved)]);
    }
    servers(&result.topology).write(&mut out);
    machines(it).write(&mut out);
    warmup(it).write(&mut out);
    canaries(it).write(&mut out);
    out.element("details", &[], |out| {
        out.words("summary", &[], "Everything that is known of the servers");
        let text = serde_json::to_string_pretty(&result.topology).unwrap_or_default();
        out.words("pre", &[], &text);
    });
    out
}

/// What the generator itself costs.
fn generator(client: &ClientFacts) -> String {
    let Some(overhead) = &client.overhead else {
        return String::new();
    };
    format!(
        "with {} at once it adds {:.2} ms to a TTFT (p95 {}{:.2}) and {:.3} ms to an ITL, and takes in \
         {:.0} events a second",
        overhead.at_once,
        overhead.ttft.p50.value,
        if overhead.ttft.p95.at_least {
            "≥"
        } else {
            ""
        },
        overhead.ttft.p95.value,
        overhead.itl.p50.value,
        overhead.max_events_s
    )
}

/// What memory allows at most, or why that is not known.
fn roofline(it: &Reported) -> String {
    let said = roofline::said(&it.result).into_iter();
    let said = said.map(|(_, text)| text.trim_start_matches("roofline").to_owned());
    let said = said.map(|text| text.trim_start_matches([':', ' ']).to_owned());
    said.collect::<Vec<_>>().join("; ")
}

/// The manifest that declares it, with its digest and its commit.
fn manifest(it: &Reported) -> String {
    let Some(origin) = &it.result.manifest else {
        return String::new();
    };
    let modified = match origin.is_modified {
        Some(true) => " (modified since)",
        _ => "",
    };
    let commit = origin
        .commit
        .iter()
        .map(|it| format!(", commit {it}{modified}"));
    let commit: String = commit.collect();
    format!("{}, sha256 {}{commit}", origin.file, origin.sha256)
}

/// The processes that were measured.
fn servers(topology: &Value) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("replica", false),
        ("on", false),
        ("pid", true),
        ("started", true),
        ("boot", false),
        ("serves", false),
        ("command", false),
    ]);
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(words) => {
            let words = words
                .iter()
                .map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
            words.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    for server in topology["instances"].as_array().into_iter().flatten() {
        let serves = [&server["repo"], &server["path"]].map(text).concat();
        sheet.row(vec![
            text(&server["name"]),
            text(&server["node"]),
            text(&server["pid"]),
            text(&server["start_time"]),
            text(&server["boot_id"]),
            serves,
            text(&server["command"]),
        ]);
    }
    sheet
}

/// What the machines were like before and after, GPU by GPU.
fn machines(it: &Reported) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("node", false),
        ("", false),
        ("GPU", false),
        ("driver", false),
        ("state", false),
        ("clock MHz", true),
        ("of at most", true),
        ("°C", true),
        ("W", true),
        ("of at most", true),
    ]);
    let conditions = &it.result.conditions;
    let looks = [("before", &conditions.before), ("after", &conditions.after)];
    for (when, nodes) in looks {
        for (node, seen) in nodes {
            for gpu in &seen.gpus {
                let told = [
                    &gpu.name,
                    &gpu.driver,
                    &gpu.pstate,
                    &gpu.clock_mhz,
                    &gpu.clock_max_mhz,
                    &gpu.temperature_c,
                    &gpu.power_w,
                    &gpu.power_limit_w,
                ];
                let told = told.map(|it| it.clone().unwrap_or_default());
                sheet.row([vec![node.to_string(), when.to_owned()], told.to_vec()].concat());
            }
        }
    }
    sheet
}

/// The same short answer of each, before and after.
fn canaries(it: &Reported) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("canary of", false),
        ("TTFT ms before", true),
        ("ms/token before", true),
        ("TTFT ms after", true),
        ("ms/token after", true),
        ("ms/token in earlier results", false),
    ]);
    let canaries = &it.result.canaries;
    for before in canaries.before.iter().chain(&canaries.idle.before) {
        let name = &before.instance;
        let mut after = canaries.after.iter().chain(&canaries.idle.after);
        let after = after.find(|it| it.instance == *name);
        let past = canaries.history.get(name).into_iter().flatten().take(5);
        let past: Vec<String> = past.map(|ms| number(*ms)).collect();
        sheet.row(vec![
            name.clone(),
            number(before.ttft_ms),
            number(before.itl_p50_ms),
            after.map(|it| number(it.ttft_ms)).unwrap_or_default(),
            after.map(|it| number(it.itl_p50_ms)).unwrap_or_default(),
            past.join(", "),
        ]);
    }
    sheet
}

/// What was sent before, and is in no number.
fn warmup(it: &Reported) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("warm-up of", false),
        ("requests", true),
        ("failed", true),
        ("first TTFT ms", true),
        ("last TTFT ms", true),
    ]);
    let shown = |request: Option<&WarmupRequest>| {
        let ms = request.and_then(|it| it.ttft_ms);
        ms.map(number).unwrap_or_default()
    };
    for warmed in &it.result.warmup.instances {
        let failed = warmed
            .requests
            .iter()
            .filter(|it| it.error.is_some())
            .count();
        sheet.row(vec![
            warmed.instance.clone(),
            warmed.requests.len().to_string(),
            failed.to_string(),
            shown(warmed.requests.first()),
            shown(warmed.requests.last()),
        ]);
    }
    sheet
}
