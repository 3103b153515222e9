//! What is to be known of a comparison beside what follows from it.

use std::time::Duration;

use super::super::markup::Markup;
use super::super::sheet::{Sheet, facts};
use super::{Compared, cell_name};
use crate::compare::{ArmFacts, Block, Contrast, TriedFacts, TunedFacts};
use crate::name::ArmName;
use crate::results::HandOver;
use crate::view::compare::at_most;
use crate::view::words::{bytes, count, done, duration, list, number};

/// The arms, and what is declared otherwise in each.
pub(super) fn arms(it: &Compared) -> Markup {
    let outcome = &it.outcome;
    let mut out = Markup::default();
    let mut sheet = Sheet::new(&[
        ("arm", false),
        ("GPUs", true),
        ("declared otherwise", false),
    ]);
    for (name, arm) in &outcome.arms {
        sheet.row(vec![
            name.to_string(),
            arm.gpus.to_string(),
            declared(&outcome.contrasts, name),
        ]);
    }
    sheet.write(&mut out);
    let how = |contrast: &Contrast| {
        let how = contrast.differences.iter().map(|it| it.how.as_str());
        how.collect::<Vec<_>>().join("; ")
    };
    out.element("details", &[], |out| {
        out.words("summary", &[], "How each is declared");
        out.element("dl", &[], |out| {
            for contrast in &outcome.contrasts {
                let title = format!("{} beside {}", contrast.arm, contrast.against);
                out.words("dt", &[], &title);
                out.words("dd", &[], &how(contrast));
            }
        });
    });
    out
}

/// What an arm declares otherwise than the one that all are held against first.
fn declared(contrasts: &[Contrast], name: &ArmName) -> String {
    let base = contrasts.first().map(|first| &first.against);
    let Some(base) = base.filter(|base| *base != name) else {
        return String::new();
    };
    let beside = contrasts.iter().find(|it| {
        [&it.arm, &it.against].contains(&base) && [&it.arm, &it.against].contains(&name)
    });
    let things = beside.map(|it| it.differences.iter().map(|it| it.what.clone()));
    let things: Vec<String> = things.into_iter().flatten().collect();
    format!("{}, beside {base}", list(&things))
}

/// Whether keys and values really went from instance to instance.
pub(super) fn moved(it: &Compared) -> Markup {
    let mut out = Markup::default();
    if !it.is_concluded() {
        return out;
    }
    let mut sheet = Sheet::new(&[
        ("arm", false),
        ("transfers", true),
        ("bytes", true),
        ("prompt tokens handed over", true),
        ("of", true),
        ("mean ms", true),
        ("lost", true),
    ]);
    for (name, arm) in &it.outcome.arms {
        match arm.moved {
            Some(moved) => sheet.row(vec![
                name.to_string(),
                moved.transfers.to_string(),
                bytes(moved.bytes),
                moved.tokens.to_string(),
                moved.of_tokens.to_string(),
                format!("{:.1}", moved.mean_ms),
                moved.lost.to_string(),
            ]),
            None if is_split(arm) => {
                let text = format!(
                    "! {name}: no hand-over was counted, though one instance reads prompts for another: \
                     what decodes may have read them again."
                );
                out.words("p", &[("class", "verdict warn")], &text);
            }
            None => {}
        }
    }
    sheet.write(&mut out);
    hand_overs(it).write(&mut out);
    out
}

/// How long requests were between two instances, cell by cell.
fn hand_overs(it: &Compared) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("cell", false),
        ("arm", false),
        ("hand-overs of the proxy", true),
        ("mean ms", true),
        ("p50", true),
        ("p95", true),
        ("fetched, mean ms", true),
    ]);
    for cell in &it.outcome.cells {
        for (arm, handed) in &cell.handed_over {
            let proxy = handed.proxy.as_ref();
            let told = |of: &dyn Fn(&HandOver) -> String| proxy.map(of).unwrap_or_default();
            let fetched = handed.fetched.map(|it| number(it.mean_ms));
            sheet.row(vec![
                cell_name(cell),
                arm.to_string(),
                told(&|it| it.count.to_string()),
                told(&|it| number(it.mean_ms)),
                told(&|it| at_most(it.p50_at_most_ms)),
                told(&|it| at_most(it.p95_at_most_ms)),
                fetched.unwrap_or_default(),
            ]);
        }
    }
    sheet
}

/// Whether an instance of an arm reads prompts for another.
fn is_split(arm: &ArmFacts) -> bool {
    let instances = arm.settings["instances"].as_object();
    let mut instances = instances.into_iter().flatten();
    instances.any(|(_, instance)| instance["role"] == "prefill")
}

/// What was looked for before anything was compared, what was found, and what looking took.
pub(super) fn tuned(it: &Compared) -> Markup {
    let mut out = Markup::default();
    for (name, arm) in &it.outcome.arms {
        if let Some(tuned) = &arm.tuned {
            search(&mut out, it, name, tuned);
        }
    }
    out
}

fn search(out: &mut Markup, it: &Compared, name: &ArmName, tuned: &TunedFacts) {
    let text = format!(
        "{name}: {} is {}, {}. Each of {} was measured by {}, in {} together.",
        tuned.argument,
        tuned.chosen,
        tuned.why,
        count(tuned.tried.len(), "value"),
        tuned.by,
        duration(Duration::try_from_secs_f64(tuned.took_s).unwrap_or_default()),
    );
    out.words("p", &[], &text);
    let mut sheet = Sheet::new(&[
        ("value", true),
        ("shows", true),
        ("kept the objective", true),
        ("", false),
        ("result", false),
    ]);
    for tried in &tuned.tried {
        let kept = tried.trial.objective;
        sheet.row(vec![
            tried.value.to_string(),
            tried.trial.metric.map(number).unwrap_or_default(),
            kept.map(|it| format!("{:.1} %", it.attainment * 100.0))
                .unwrap_or_default(),
            remark(tuned, tried).to_owned(),
            it.result(&tried.result).display().to_string(),
        ]);
    }
    sheet.write(out);
}

fn remark(tuned: &TunedFacts, tried: &TriedFacts) -> &'static str {
    if !tried.trial.valid {
        "✗ cannot be believed"
    } else if tried.value == tuned.chosen {
        "✓ chosen"
    } else {
        ""
    }
}

/// How it was measured, and where each result lies.
pub(super) fn measured(it: &Compared) -> Markup {
    let outcome = &it.outcome;
    let mut out = Markup::default();
    let manifest = outcome.manifest.as_ref();
    let tool = &outcome.tool;
    let ended = outcome.ended.map(|ended| ended.to_string());
    let all = [
        ("comparison", it.path.display().to_string()),
        ("manifest", manifest.map(|it| it.file.clone()).unwrap_or_default()),
        ("began", outcome.started.to_string()),
        ("ended", ended.unwrap_or_default()),
        ("by", format!("{} {}", tool.name, tool.version)),
        (
            "rounds",
            format!(
                "{}, in an order of seed {}",
                outcome.order.len(),
                outcome.seed
            ),
        ),
        ("margin", format!("{} %", number(outcome.margin * 100.0))),
        (
            "ratio",
            "ours over theirs: the geometric mean of one ratio for each round, with Student's interval of \
             95 %"
            .to_owned(),
        ),
        (
            "drift",
            "the last block over the first, whatever the arm: a line through the logarithms of all blocks, \
             each about the mean of its arm"
                .to_owned(),
        ),
    ];
    facts(&mut out, &all);
    if !outcome.blocks.is_empty() {
        out.element("details", &[], |out| {
            let text = format!("{} and their results", count(outcome.blocks.len(), "block"));
            out.words("summary", &[], &text);
            out.words(
                "p",
                &[("class", "caption")],
                "Any of the results is a page of its own: `replica report RESULT`.",
            );
            results(it).write_open(out);
        });
    }
    out
}

fn results(it: &Compared) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("block", true),
        ("round", true),
        ("arm", false),
        ("began (UTC)", false),
        ("made in s", true),
        ("done for it", false),
        ("engines started", false),
        ("canaries, ms a token before and after", false),
        ("measured in s", true),
        ("results", false),
    ]);
    for (place, block) in it.outcome.blocks.iter().enumerate() {
        let results = block.results.values();
        let results = results.map(|path| it.result(path).display().to_string());
        sheet.row(vec![
            (place + 1).to_string(),
            (block.round + 1).to_string(),
            block.arm.to_string(),
            block.started.strftime("%H:%M:%S").to_string(),
            format!("{:.1}", block.switched_s),
            changes(block),
            started(block),
            canaries(block),
            format!("{:.1}", block.measured_s),
            results.collect::<Vec<_>>().join(" "),
        ]);
    }
    sheet
}

/// What was done to make an arm, thing by thing.
fn changes(block: &Block) -> String {
    let changes = block.switch.iter().flat_map(|it| &it.changes);
    let changes = changes.map(|(address, action)| format!("{} {address}", done(*action)));
    changes.collect::<Vec<_>>().join(", ")
}

/// The engines that had just been started when a block began.
fn started(block: &Block) -> String {
    match &block.switch {
        Some(switch) if switch.started.is_empty() => "none".to_owned(),
        Some(switch) => switch.started.join(", "),
        None => String::new(),
    }
}

/// What every node showed, before the block and after it.
fn canaries(block: &Block) -> String {
    let shown = block.canaries.iter().map(|it| {
        let Some(instance) = &it.instance else {
            return format!("{}: no canary", it.node);
        };
        let [before, after] =
            [it.before_ms, it.after_ms].map(|ms| ms.map_or("none".to_owned(), number));
        format!("{} ({instance}): {before}, {after}", it.node)
    });
    shown.collect::<Vec<_>>().join("; ")
}
