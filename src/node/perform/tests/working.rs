//! Work that takes minutes.

use crate::plan::effect::RunScript;

use super::*;

fn piece(thing: &Thing, script: &str) -> RunScript {
    RunScript {
        doing: "installing".to_owned(),
        script: script.to_owned(),
        secrets: BTreeMap::new(),
        lock: thing.at("locks/venv.lock"),
        patience: MINUTE,
        attempts: 1,
        log_reader: LogReader::Installer,
    }
}

/// Does it, and returns what was told of it.
async fn told(node: &Node, piece: &RunScript) -> (Result<String, Failure>, Vec<String>) {
    let said = Mutex::new(Vec::new());
    let tell = |phase: Phase| said.lock().unwrap().push(named(&phase));
    let done = run_script(node, piece, &tell).await;
    (done, said.into_inner().unwrap())
}

#[tokio::test]
async fn its_phases_are_told_and_its_secret_is_in_no_environment() {
    for node in shells() {
        let thing = Thing::new();
        let out = thing.at("out");
        let mut piece = piece(
            &thing,
            &format!(
                "echo 'step one' >&2; env | grep -c TOKEN_OF_A_TEST\n\
                 [ -n \"$TOKEN_OF_A_TEST\" ] && echo \"$r_attempt\" >{}; echo outcome: 2 packages",
                quote(&out)
            ),
        );
        piece.secrets = [("TOKEN_OF_A_TEST".to_owned(), "PATH".to_owned())].into();
        let (done, said) = told(&node, &piece).await;
        assert_eq!(done.unwrap(), "2 packages");
        assert_eq!(said, ["installing: ", "installing: one"]);
        assert_eq!(fs::read_to_string(&out).unwrap(), "1\n");
    }
}

#[tokio::test]
async fn what_fails_names_its_cause() {
    for node in shells() {
        let thing = Thing::new();
        let (done, _) = told(&node, &piece(&thing, "echo one; exit 3")).await;
        let failure = done.unwrap_err();
        assert_eq!(failure.message, "installing failed: exit status 3");
        assert_eq!(failure.log, ["one"]);
        let (done, _) = told(&node, &piece(&thing, "echo 'cause: no room'; exit 1")).await;
        assert_eq!(done.unwrap_err().message, "no room");
    }
}

#[tokio::test]
async fn a_secret_that_is_not_here_stops_it_before_it_begins() {
    let thing = Thing::new();
    let out = thing.at("out");
    let mut piece = piece(&thing, &format!(": >{}", quote(&out)));
    piece.secrets = [("TOKEN".to_owned(), "NO_SUCH_VARIABLE_HERE".to_owned())].into();
    let (done, _) = told(&here(), &piece).await;
    assert!(done.unwrap_err().message.contains("NO_SUCH_VARIABLE_HERE"));
    assert!(!Path::new(&out).exists());
}

#[tokio::test]
async fn what_stalls_is_ended_and_begun_anew() {
    for node in shells() {
        let thing = Thing::new();
        let pid = thing.at("pid");
        let script = format!(
            "[ \"$r_attempt\" -eq 2 ] && exit 0\necho step; sleep 1000 & echo $! >{}\nwait",
            quote(&pid)
        );
        let mut piece = piece(&thing, &script);
        piece.attempts = 2;
        // Longer than what waits for the lock is silent, on a busy machine.
        piece.patience = Duration::from_secs(3);
        let (done, said) = told(&node, &piece).await;
        done.unwrap();
        assert!(
            said.contains(&"installing: it stalled: once more".to_owned()),
            "{said:?}"
        );
        gone(fs::read_to_string(&pid).unwrap().trim()).await;
        piece.attempts = 1;
        let (done, _) = told(&node, &piece).await;
        assert!(done.unwrap_err().message.contains("stalled"));
    }
}

#[tokio::test]
async fn two_of_one_lock_go_one_after_the_other() {
    let thing = Thing::new();
    let log = quote(&thing.at("log")).clone();
    let script = format!("echo begin >>{log}; sleep 0.3; echo end >>{log}");
    let piece = piece(&thing, &script);
    let node = here();
    let (one, other) = tokio::join!(told(&node, &piece), told(&node, &piece));
    one.0.unwrap();
    other.0.unwrap();
    let log = fs::read_to_string(thing.at("log")).unwrap();
    assert_eq!(log, "begin\nend\nbegin\nend\n");
}
