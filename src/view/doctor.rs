//! What is wrong with the machines: one block a finding.

use std::collections::BTreeMap;

use serde::Serialize;

use super::style::{Role, Style};
use super::words::{clean, count, list};
use crate::doctor::{Finding, Severity};

/// What came of looking. Serialised, it is the document of `doctor --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The nodes.
    pub looked_at: Vec<String>,
    /// How many things were looked at.
    pub checks: usize,
    /// What was found, what matters most first.
    pub findings: Vec<Finding>,
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
        let well = Report {
            findings: Vec::new(),
            unreachable: BTreeMap::new(),
            ..report
        };
        assert_eq!(
            render(&well, Style::plain()),
            "20 checks of 2 nodes: nothing was found.\n"
        );
    }
}
