//! What is wrong with the machines: one block a finding.

use std::collections::BTreeMap;

use serde::Serialize;

use super::style::{Role, Style};
use super::words::{clean, count, list};
use crate::doctor::{Finding, Link, Load, Measurements, Severity};

/// What came of looking. Serialised, it is the document of `doctor --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The nodes.
    pub looked_at: Vec<String>,
    /// How many things were looked at.
    pub checks: usize,
    /// What was found, what matters most first.
    pub findings: Vec<Finding>,
    /// What was measured, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measurements>,
    /// The nodes that did not answer, each with why.
    pub unreachable: BTreeMap<String, String>,
}

/// Renders what was found.
pub fn render(report: &Report, style: Style) -> String {
    let mut lines = Vec::new();
    for finding in &report.findings {
        lines.extend(block(finding, style));
        lines.push(String::new());
    }
    if let Some(measured) = &report.measured {
        lines.extend(figures(measured, style));
        lines.push(String::new());
    }
    for (node, why) in &report.unreachable {
        let said = format!("{node} could not be asked: {why}");
        lines.extend(style.hang(&style.paint(Role::Error, &clean(&said)), 2));
    }
    lines.extend(style.hang(&summary(report), 2));
    lines.join("\n") + "\n"
}

fn summary(report: &Report) -> String {
    let of = |severity: Severity| {
        let alike = report.findings.iter().filter(|it| it.severity == severity);
        alike.count()
    };
    let sorts = [
        (of(Severity::Problem), "problem"),
        (of(Severity::Warning), "warning"),
        (of(Severity::Note), "note"),
    ];
    let sorts = sorts.into_iter().filter(|(number, _)| *number > 0);
    let sorts: Vec<_> = sorts.map(|(number, what)| count(number, what)).collect();
    let asked = report.looked_at.len() - report.unreachable.len().min(report.looked_at.len());
    let looked = format!(
        "{} of {}",
        count(report.checks, "check"),
        count(asked, "node")
    );
    match &sorts[..] {
        [] => format!("{looked}: nothing was found."),
        sorts => format!("{looked}: {}.", list(sorts)),
    }
}

/// What was measured, whatever is thought of it.
fn figures(measured: &Measurements, style: Style) -> Vec<String> {
    let links = measured.links.iter().map(link);
    let loads = measured.loads.iter().map(load);
    let left_out = measured.left_out.iter();
    let left_out = left_out.map(|why| format!("not measured: {why}"));
    let said = links.chain(loads).chain(left_out);
    said.flat_map(|text| style.hang(&clean(&text), 2)).collect()
}

fn link(link: &Link) -> String {
    let sealed = if link.encrypted {
        "AES-256-GCM"
    } else {
        "in the clear"
    };
    format!(
        "{} to {} over {}: {:.2} Gb/s ({}, {} for {:.0} s), {:.2} ms there and back",
        link.from,
        link.to,
        link.network,
        link.gbit_per_s,
        sealed,
        count(link.connections, "connection"),
        link.seconds,
        link.rtt_ms
    )
}

fn load(load: &Load) -> String {
    let allowed = load.roofline_tok_s.map(|allowed| {
        let share = 100_000.0 / load.decode_ms / allowed;
        format!(", {share:.0} % of what its memory allows")
    });
    let gpu = load.gpu.as_ref().map(|gpu| {
        let figures = [
            (gpu.clock_mhz, "MHz"),
            (gpu.power_w, "W"),
            (gpu.heat_c, "°C"),
        ];
        let figures = figures.into_iter();
        let figures = figures.filter_map(|(value, unit)| Some(format!("{:.0} {unit}", value?)));
        format!("; its GPU at {}", figures.collect::<Vec<_>>().join(", "))
    });
    format!(
        "`{}` on {} alone: {:.1} ms a token{}; six together: {:.1} tok/s{}",
        load.instance,
        load.node,
        load.decode_ms,
        allowed.unwrap_or_default(),
        load.tok_s,
        gpu.unwrap_or_else(|| "; its GPU tells nothing".to_owned())
    )
}

fn block(finding: &Finding, style: Style) -> Vec<String> {
    let (role, word) = match finding.severity {
        Severity::Problem => (Role::Error, "problem"),
        Severity::Warning => (Role::Warning, "warning"),
        Severity::Note => (Role::Faint, "note"),
    };
    let nodes: Vec<_> = finding.nodes.iter().map(ToString::to_string).collect();
    let at = if nodes.is_empty() {
        String::new()
    } else {
        format!("{}: ", list(&nodes))
    };
    let head = format!(
        "{} {}, {}",
        finding.id,
        style.paint(role, word),
        finding.name
    );
    let mut lines = vec![head];
    let mut say = |label: &str, text: &str| {
        let text = clean(&format!("  {label}{text}"));
        lines.extend(style.hang(&text, 4));
    };
    say(&at, &finding.message);
    say("why: ", &finding.why);
    say("do:  ", &finding.hint);
    if let Some(reported) = &finding.reported {
        say("as reported, not tried by us on such a machine: ", reported);
    }
    if style.verbose {
        say("evidence: ", &finding.evidence.to_string());
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::GpuLoad;

    #[test]
    fn a_finding_says_what_why_and_what_to_do() {
        let finding = Finding {
            id: "M1".to_owned(),
            name: "too little memory is left".to_owned(),
            severity: Severity::Problem,
            nodes: vec!["spark-01".parse().unwrap()],
            message: "115.6 GiB of the 121.7 GiB are declared".to_owned(),
            evidence: json!({"declared_gib": 115.6}),
            why: "The machine stands still.".to_owned(),
            hint: "`gpu_memory_utilization: 0.93` at most".to_owned(),
            reported: Some("https://example.com/1".to_owned()),
        };
        let report = Report {
            looked_at: vec!["spark-01".to_owned(), "spark-02".to_owned()],
            checks: 20,
            findings: vec![finding],
            measured: None,
            unreachable: [("spark-02".to_owned(), "no route".to_owned())].into(),
        };
        let style = Style {
            verbose: true,
            ..Style::plain()
        };
        assert_eq!(
            render(&report, style),
            "M1 problem, too little memory is left\n  \
             spark-01: 115.6 GiB of the 121.7 GiB are declared\n  \
             why: The machine stands still.\n  \
             do:  `gpu_memory_utilization: 0.93` at most\n  \
             as reported, not tried by us on such a machine: https://example.com/1\n  \
             evidence: {\"declared_gib\":115.6}\n\n\
             spark-02 could not be asked: no route\n\
             20 checks of 1 node: 1 problem.\n"
        );
    }

    #[test]
    fn what_was_measured_is_told_whatever_is_thought_of_it() {
        let well = Report {
            looked_at: vec!["spark-01".to_owned(), "spark-02".to_owned()],
            checks: 20,
            findings: Vec::new(),
            measured: Some(Measurements {
                links: vec![Link {
                    from: "spark-01".parse().unwrap(),
                    to: "spark-02".parse().unwrap(),
                    network: "fabric".to_owned(),
                    gbit_per_s: 12.862,
                    rtt_ms: 0.0834,
                    seconds: 2.0,
                    connections: 8,
                    encrypted: true,
                }],
                loads: vec![Load {
                    instance: "a".to_owned(),
                    node: "spark-01".parse().unwrap(),
                    decode_ms: 67.0,
                    tok_s: 80.04,
                    roofline_tok_s: Some(18.14),
                    gpu: Some(GpuLoad {
                        clock_mhz: Some(2411.0),
                        power_w: Some(61.2),
                        ..GpuLoad::default()
                    }),
                    alike: String::new(),
                }],
                left_out: vec!["spark-03: no".to_owned()],
            }),
            unreachable: BTreeMap::new(),
        };
        assert_eq!(
            render(&well, Style::plain()),
            "spark-01 to spark-02 over fabric: 12.86 Gb/s (AES-256-GCM, 8 connections for 2 s), 0.08 ms there and back\n\
             `a` on spark-01 alone: 67.0 ms a token, 82 % of what its memory allows; six together: 80.0 tok/s; its GPU at \
             2411 MHz, 61 W\n\
             not measured: spark-03: no\n\n\
             20 checks of 2 nodes: nothing was found.\n"
        );
    }
}
