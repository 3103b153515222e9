//! Asks every node everything, in one round trip each, all nodes side by side.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::ask_for_life::EarlyPages;
use crate::name::NodeName;
use crate::node::perform::EarlyPage;
use crate::node::{Command, Fleet, Node, NodeError, Output};
use crate::plan::Failure;
use crate::resource::{FORBIDDEN, Fact, Facts, Observation, Question, Resource};

/// How long a port is dialled after all questions were answered.
const DIALLING: Duration = Duration::from_secs(1);

/// Looks at every node of the fleet.
///
/// `standing` is asked of every node, whatever is declared for it. A node that does not answer is
/// in the observation with the reason, and stands for nothing else. `early` takes the pages that
/// servers are asked for by the way; without it none is.
pub(super) async fn observe(
    fleet: &Fleet,
    resources: &[Arc<dyn Resource>],
    standing: &[Fact],
    mut early: Option<&mut EarlyPages>,
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
        let (fleet, with_pages) = (fleet.clone(), early.is_some());
        asking.spawn(async move {
            let asked = ask(&fleet, &name, &facts, with_pages).await;
            (name, asked)
        });
    }
    let mut observation = Observation::default();
    while let Some(Ok((name, asked))) = asking.join_next().await {
        let facts = asked.map(|(facts, pages)| {
            if let Some(early) = &mut early {
                early.extend(&name, pages);
            }
            facts
        });
        observation.insert(name, facts);
    }
    observation
}

/// What a node says, and the pages that its servers were asked for by the way.
async fn ask(
    fleet: &Fleet,
    name: &NodeName,
    facts: &BTreeMap<String, Question>,
    with_pages: bool,
) -> Result<(Facts, Vec<(u16, EarlyPage)>), Failure> {
    let node = fleet.node(name)?;
    let mut scripts: BTreeMap<&String, &String> = BTreeMap::new();
    let mut dialling = JoinSet::new();
    for (id, question) in facts {
        match question {
            Question::Script(script) => drop(scripts.insert(id, script)),
            Question::Dial { host, port, page } => {
                let (node, id, host, port) = (node.clone(), id.clone(), host.clone(), *port);
                let page = page.filter(|_| with_pages);
                dialling.spawn(async move { dial(&node, id, &host, port, page).await });
            }
        }
    }
    let script = script(scripts.values().copied());
    let output = node.run(&Command::script(script)).await?;
    let mut facts = answers(scripts.keys().copied(), &output)?;
    let mut pages = Vec::new();
    for dialled in those_that_answer(dialling).await {
        match dialled {
            Dialled::Forbidden { id } => facts.insert(id, FORBIDDEN),
            Dialled::Asked { port, page } => pages.push((port, page)),
            Dialled::Nothing => {}
        }
    }
    Ok((facts, pages))
}

/// What came of dialling a port.
enum Dialled {
    /// The node's sshd lets nobody through: the fact by this id.
    Forbidden { id: String },
    /// What listens there was asked for a page.
    Asked { port: u16, page: EarlyPage },
    /// Neither.
    Nothing,
}

async fn dial(
    node: &Node,
    id: String,
    host: &str,
    port: u16,
    page: Option<&'static str>,
) -> Dialled {
    // Only an sshd forbids; and where there is no round trip to save, nobody is asked anything
    // before it is known who listens.
    if node.is_local() {
        return Dialled::Nothing;
    }
    match (node.connect_http(host, port).await, page) {
        (Ok(connection), Some(page)) => Dialled::Asked {
            port,
            page: EarlyPage::ask(connection, page),
        },
        (Err(NodeError::Forbidden { .. }), _) => Dialled::Forbidden { id },
        _ => Dialled::Nothing,
    }
}

/// What did not answer by the time that a script took is not waited for: an sshd that forbids says
/// so at once, and a host that is not there says nothing.
async fn those_that_answer(mut dialling: JoinSet<Dialled>) -> Vec<Dialled> {
    let mut answered = Vec::new();
    let gather = async {
        while let Some(dialled) = dialling.join_next().await {
            answered.extend(dialled.ok());
        }
    };
    // Over, or it tells nothing.
    let _ = timeout(DIALLING, gather).await;
    answered
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
