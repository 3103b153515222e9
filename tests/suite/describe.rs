//! A plan in words, as a reader of a test compares it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use replica::name::NodeName;
use replica::plan::effect::{
    Copy, KillUnmanaged, Launch, RunScript, Secret, Supervisor, WaitReady,
};
use replica::plan::{Change, Effect, Field, Job, Plan, Planned, Step};

/// Tells of one change: what becomes of the thing, why, what differs, and what is done for it.
pub(super) fn describe(plan: &Plan, change: &Change) -> String {
    let mut text = format!("{} {}", change.sign(), change.address);
    if !change.summary.is_empty() {
        let _ = write!(text, " ({})", change.summary);
    }
    text.push('\n');
    if let Some(order) = &change.order {
        let _ = writeln!(text, "    {order}");
    }
    for reason in &change.reasons {
        let _ = writeln!(text, "    {}: {}", reason.code, reason.text);
        if let Some(hint) = &reason.hint {
            let _ = writeln!(text, "      hint: {hint}");
        }
    }
    for field in &change.fields {
        let _ = writeln!(text, "    {}", field_in_words(field));
    }
    let steps: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| step.address == change.address)
        .collect();
    if let Some(first) = steps.first() {
        for (word, ids) in [("requires", &first.requires), ("after", &first.after)] {
            let others: BTreeSet<_> = ids
                .iter()
                .map(|id| plan.steps[*id].address.to_string())
                .collect();
            for other in others {
                let _ = writeln!(text, "  {word} {other}");
            }
        }
    }
    for step in steps {
        let _ = writeln!(text, "  > {}", effect(step));
    }
    text
}

fn field_in_words(field: &Field) -> String {
    let old = field
        .old
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let new = match &field.new {
        Planned::Known(value) => value.to_string(),
        Planned::AfterApply => "known after apply".to_owned(),
        Planned::Gone => "nothing".to_owned(),
    };
    let sign = if field.forces_replacement { " !" } else { "" };
    format!("{} {old} -> {new}{sign}", field.path)
}

/// An effect in one line.
fn effect(step: &Step) -> String {
    match &step.effect {
        Effect::Upload(upload) => format!("upload {}", upload.target),
        Effect::KeepLog(keep) => format!("keep {} as {}", keep.log, keep.name),
        Effect::Remove { paths } => format!("remove {}", paths.join(" ")),
        Effect::RunScript(work) => self::work(work),
        Effect::Copy(copy) => self::copy(copy),
        Effect::Launch(launch) => start(launch),
        Effect::Stop(stop) => match stop.grace {
            Some(grace) => format!(
                "stop {}* until {:?} are free, in {grace:?}",
                stop.mark_prefix, stop.ports
            ),
            None => format!("await the end of {}*", stop.mark_prefix),
        },
        Effect::KillUnmanaged(end) => self::end(end),
        Effect::WaitReady(ready) => wait(ready),
        Effect::ProxyControl(control) => {
            let request = serde_json::to_string(&control.request).unwrap();
            let node = step.node.as_ref().map_or("nobody", NodeName::as_str);
            format!("tell {node}/proxy {request}")
        }
        Effect::Measure(job) => measure(job),
    }
}

fn work(work: &RunScript) -> String {
    let mut words = format!("{} under {}:", work.doing, work.lock);
    for (name, source) in &work.secrets {
        let _ = write!(words, " {name}=<{source}>");
    }
    // Its parameters; what follows an empty line is the same for all of its kind.
    let parameters = work.script.split("\n\n").next().unwrap_or_default();
    for line in parameters.lines() {
        let _ = write!(words, "\n      {line}");
    }
    words
}

fn copy(copy: &Copy) -> String {
    format!(
        "copy {} of {} from {} at {} through {}{} to {} under {}, with {} and {}",
        copy.revision.as_deref().unwrap_or("refs/main"),
        copy.source,
        copy.from,
        copy.listen,
        copy.dial,
        if copy.trusted { " in the clear" } else { "" },
        copy.target,
        copy.lock,
        copy.sender.target,
        copy.receiver.target
    )
}

fn start(launch: &Launch) -> String {
    let mut words = format!("start {} as `{}`", launch.mark, launch.argv.join(" "));
    if !launch.path.is_empty() {
        let _ = write!(words, " PATH={}:", launch.path.join(":"));
    }
    for (name, value) in &launch.env {
        let _ = write!(words, " {name}={value}");
    }
    for (name, secret) in &launch.secret_env {
        let source = match secret {
            Secret::Variable(source) => source.clone(),
            Secret::ServerKey(key) => format!("the key of {}", key.nonce),
        };
        let _ = write!(words, " {name}=<{source}>");
    }
    let _ = write!(words, " into {}", launch.log);
    if let Supervisor::Systemd(unit) = &launch.supervisor {
        let (name, mib) = (&unit.name, unit.memory_floor >> 20);
        let _ = write!(words, ", in systemd as {name} where {mib} MiB are free");
        if let Some(address) = unit.address {
            let _ = write!(words, " and {address} is there");
        }
        if unit.secrets_in_memory {
            words.push_str(", with its secrets in memory");
        }
    }
    if launch.is_beside {
        words.push_str(", beside what runs");
    }
    words
}

fn end(end: &KillUnmanaged) -> String {
    let processes: Vec<_> = end
        .processes
        .iter()
        .map(|(pid, start)| format!("{pid}:{start}"))
        .collect();
    format!(
        "end {} of boot {}, with the ports {:?}, in {:?}",
        processes.join(" "),
        end.boot_id,
        end.ports,
        end.grace
    )
}

fn wait(ready: &WaitReady) -> String {
    let probe = &ready.probe;
    let shows = probe.checks.iter().map(|check| check.shows.as_str());
    let shows: Vec<_> = shows.collect();
    let mut words = format!(
        "await {} at {} port {}: {}",
        ready.mark,
        probe.host,
        probe.port,
        shows.join(", ")
    );
    if let Some(expected) = ready.expected {
        let _ = write!(words, " (it took {} s)", expected.as_secs());
    }
    words
}

fn measure(job: &Job) -> String {
    let targets: Vec<_> = job
        .instances
        .iter()
        .map(|target| format!("{} {} {}", target.name, target.authority, target.nonce))
        .collect();
    format!(
        "measure {} through {}",
        targets.join(", "),
        job.endpoint.authority
    )
}
