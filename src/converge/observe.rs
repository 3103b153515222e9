//! Asks every node everything, in one round trip each, all nodes side by side.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::name::NodeName;
use crate::node::{Command, Fleet, Output, perform};
use crate::plan::{Address, Failure, Liveness};
use crate::resource::{FORBIDDEN, Fact, Facts, Observation, Question, Resource};

/// How long somebody waits before they wonder.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// Hears of what is waited for.
pub type OnWaiting = Arc<dyn Fn(&Address) + Send + Sync>;

/// Looks at every node of the fleet.
///
/// `standing` is asked of every node, whatever is declared for it. A node that does not answer is
/// in the observation with the reason, and stands for nothing else.
pub(super) async fn observe(
    fleet: &Fleet,
    resources: &[Arc<dyn Resource>],
    standing: &[Fact],
) -> Observation {
    let mut facts: BTreeMap<NodeName, BTreeMap<String, Question>> = BTreeMap::new();
    for node in fleet.names() {
        let asked = standing.iter().map(|q| (q.id.clone(), q.question.clone()));
        facts.insert(node.clone(), asked.collect());
    }
    for resource in resources {
        for (node, fact) in resource.facts() {
            if let Some(asked) = facts.get_mut(&node) {
                asked.insert(fact.id, fact.question);
            }
        }
    }
    let mut asking = JoinSet::new();
    for (name, facts) in facts {
        let fleet = fleet.clone();
        asking.spawn(async move {
            let facts = ask(&fleet, &name, &facts).await;
            (name, facts)
        });
    }
    let mut observation = Observation::default();
    while let Some(Ok((name, facts))) = asking.join_next().await {
        observation.insert(name, facts);
    }
    observation
}

/// Asks what runs for a sign of life, all side by side: what cannot be asked from here stays out.
/// `waiting` hears of each that takes its time.
pub(super) async fn ask_for_life(
    fleet: &Fleet,
    resources: &[Arc<dyn Resource>],
    observed: &Observation,
    waiting: &OnWaiting,
) -> BTreeMap<Address, Liveness> {
    let mut asking = JoinSet::new();
    for probe in resources
        .iter()
        .filter_map(|it| it.liveness_probe(observed))
    {
        let (fleet, waiting) = (fleet.clone(), Arc::clone(waiting));
        asking.spawn(async move {
            let node = fleet.node(&probe.node).ok()?;
            let asked = perform::liveness(node, &probe);
            tokio::pin!(asked);
            let shown = if let Ok(shown) = timeout(WORTH_TELLING, &mut asked).await {
                shown
            } else {
                waiting(&probe.address);
                asked.await
            };
            Some((probe.address.clone(), shown.ok()?))
        });
    }
    let shown = asking.join_all().await;
    shown.into_iter().flatten().collect()
}

async fn ask(
    fleet: &Fleet,
    name: &NodeName,
    facts: &BTreeMap<String, Question>,
) -> Result<Facts, Failure> {
    let node = fleet.node(name)?;
    let mut scripts: BTreeMap<&String, &String> = BTreeMap::new();
    let mut dialling = JoinSet::new();
    for (id, question) in facts {
        match question {
            Question::Script(script) => drop(scripts.insert(id, script)),
            Question::Dial { host, port } => {
                let (node, id, host, port) = (node.clone(), id.clone(), host.clone(), *port);
                dialling.spawn(async move { (id, node.forbids(&host, port).await) });
            }
        }
    }
    let script = script(scripts.values().copied());
    let output = node.run(&Command::script(script)).await?;
    let mut facts = answers(scripts.keys().copied(), &output)?;
    for id in forbidden(dialling).await {
        facts.insert(id, FORBIDDEN);
    }
    Ok(facts)
}

/// Those that were dialled in vain. What did not answer by the time that a script took is not
/// waited for: an sshd that forbids says so at once, and a host that is not there says nothing.
async fn forbidden(mut dialling: JoinSet<(String, bool)>) -> Vec<String> {
    let mut forbidden = Vec::new();
    let gather = async {
        while let Some(dialled) = dialling.join_next().await {
            forbidden.extend(dialled.ok().filter(|(_, is)| *is).map(|(id, _)| id));
        }
    };
    // Over, or it tells nothing.
    let _ = timeout(WORTH_TELLING, gather).await;
    forbidden
}

fn answers<'a>(asked: impl Iterator<Item = &'a String>, output: &Output) -> Result<Facts, Failure> {
    read(asked, &output.text()).map_err(|why| match why {
        Unreadable::Cut => {
            Failure::interrupted(format!("its answer was cut short: {}", output.complaint()))
        }
        Unreadable::Unanswered(id) => Failure::new(format!(
            "it cannot say `{id}`: it needs a POSIX shell with grep, awk, sed, find and stat"
        )),
    })
}

/// Why an answer tells nothing: what is not known is never taken for absent.
#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    /// It has no end.
    Cut,
    /// This question ended with an error.
    Unanswered(String),
}

/// Puts all questions into one script. Each is asked in a shell of its own; the answers are
/// gathered and printed at once, because many small writes cost round trips.
fn script<'a>(facts: impl Iterator<Item = &'a String>) -> String {
    let mut script = String::from("LC_ALL=C; export LC_ALL\nanswers=$(\n");
    for (i, fact) in facts.enumerate() {
        let _ = write!(
            script,
            "echo '<answer {i}>'\n(\n{fact}\n) 2>/dev/null </dev/null\nprintf '\\n</answer {i} %s>\\n' $?\n"
        );
    }
    script.push_str(")\nprintf '%s\\n' \"$answers\"\n");
    script
}

/// Takes the answers apart again.
fn read<'a>(facts: impl Iterator<Item = &'a String>, text: &str) -> Result<Facts, Unreadable> {
    let mut rest = text;
    facts
        .enumerate()
        .map(|(i, id)| {
            let (answer, status, after) = take(i, rest).ok_or(Unreadable::Cut)?;
            rest = after;
            if status == "0" {
                Ok((id.clone(), answer.to_owned()))
            } else {
                Err(Unreadable::Unanswered(id.clone()))
            }
        })
        .collect()
}

/// One answer, the status that it ended with, and what comes after it.
fn take(i: usize, text: &str) -> Option<(&str, &str, &str)> {
    let (_, after) = text.split_once(&format!("<answer {i}>\n"))?;
    // Only on a line of its own: a command line that somebody runs may contain it.
    let (answer, after) = after.split_once(&format!("\n</answer {i} "))?;
    let (status, after) = after.split_once(">\n")?;
    Some((answer, status, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_finds_its_answer() {
        let ids = ["one".to_owned(), "two".to_owned()];
        let text = "noise\n<answer 0>\na\nb\n\n</answer 0 0>\n<answer 1>\n\n</answer 1 0>\n";
        let facts = read(ids.iter(), text).unwrap();
        assert_eq!(facts.get("one"), "a\nb\n");
        assert_eq!(facts.get("two"), "");
        for end in 0..text.len() {
            let part = read(ids.iter(), &text[..end]);
            assert_eq!(part.err(), Some(Unreadable::Cut), "half an answer is none");
        }
    }

    #[test]
    fn what_somebody_runs_does_not_end_an_answer() {
        let ids = ["one".to_owned(), "two".to_owned()];
        let spoof = "command 9 root sh -c '</answer 0 0>' <answer 1> </answer 1 0>";
        let text =
            format!("<answer 0>\n{spoof}\nlast\n\n</answer 0 0>\n<answer 1>\nb\n\n</answer 1 0>\n");
        let facts = read(ids.iter(), &text).unwrap();
        assert_eq!(facts.get("one"), format!("{spoof}\nlast\n"));
        assert_eq!(facts.get("two"), "b\n");
    }

    #[test]
    fn the_script_is_one_that_a_shell_runs() {
        let facts = [
            "echo a; exit 0; echo never".to_owned(),
            "cat; printf 'no end'".to_owned(),
        ];
        let script = script(facts.iter());
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(script)
            .output()
            .unwrap();
        let ids = ["x".to_owned(), "y".to_owned()];
        let facts = read(ids.iter(), &String::from_utf8_lossy(&output.stdout)).unwrap();
        assert_eq!(facts.get("x"), "a\n", "an exit ends its own question alone");
        assert_eq!(facts.get("y"), "no end");
    }

    #[test]
    fn a_question_that_fails_leaves_the_node_unknown() {
        let facts = ["echo half; no-such-program-here".to_owned()];
        let script = script(facts.iter());
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(script)
            .output();
        let text = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
        let ids = ["processes".to_owned()];
        let unanswered = Unreadable::Unanswered("processes".to_owned());
        assert_eq!(read(ids.iter(), &text).err(), Some(unanswered));
    }
}
