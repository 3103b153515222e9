//! Under which conditions it was measured: who ran, what measured, what was asked.

use serde_json::Value;

use super::super::Reported;
use super::super::markup::Markup;
use super::super::sheet::{Sheet, facts};
use crate::results::WarmupRequest;
use crate::view::words::number;

/// The conditions, and below them everything that the result knows of the servers.
pub(in super::super) fn conditions(it: &Reported) -> Option<Markup> {
    let mut out = Markup::default();
    let (result, job) = (&it.result, &it.result.job);
    let client = &result.client;
    facts(
        &mut out,
        &[
            ("result", it.path.display().to_string()),
            ("measured", result.run.started.to_string()),
            ("run", result.run.id.clone()),
            (
                "by",
                format!("{} {}", result.tool.name, result.tool.version),
            ),
            (
                "from",
                format!(
                    "{}, {}, kernel {}",
                    client.host, client.platform, client.kernel
                ),
            ),
            ("clock", format!("{}, {} cores", client.clock, client.cores)),
            (
                "prompts",
                format!("{}, sha256 {}", job.prompts.count, job.prompts.sha256),
            ),
            ("timeout", format!("{} s", job.timeout_s)),
            ("definitions", job.definitions.clone()),
            ("fingerprint", job.fingerprint.clone()),
        ],
    );
    servers(&result.topology).write(&mut out);
    warmup(it).write(&mut out);
    out.element("details", &[], |out| {
        out.words("summary", &[], "Everything that is known of the servers");
        let text = serde_json::to_string_pretty(&result.topology).unwrap_or_default();
        out.words("pre", &[], &text);
    });
    Some(out)
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
