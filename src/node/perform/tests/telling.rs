//! Telling, uploading, and removing.

use super::*;

/// Makes a program that answers as a proxy's control does.
fn proxy(thing: &Thing, body: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let program = thing.at("it's replica");
    fs::write(&program, format!("#!/bin/sh\n{body}")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// What a proxy of this body is told and answers, and what was last heard of it.
async fn told(
    thing: &Thing,
    request: Request,
    body: String,
    timeout: Option<Duration>,
) -> (Result<Status, Failure>, Phase) {
    let heard = Mutex::new(Phase::default());
    let progress = |phase: Phase| *heard.lock().unwrap() = phase;
    let control = ProxyControl {
        program: proxy(thing, &body),
        folder: thing.at(""),
        request,
        timeout,
        keys: Keys::default(),
        awaited: BTreeMap::new(),
        tells_more: true,
    };
    let answer = super::control(&here(), &control, &progress).await;
    (answer, heard.into_inner().unwrap())
}

#[tokio::test]
async fn what_cannot_be_drained_is_named() {
    let thing = Thing::new();
    let waiting = r#"{"waiting":{"what":"2 requests in flight at a","in_flight":2}}"#;
    let body = format!("echo '{waiting}'; sleep 1000");
    let limit = Some(Duration::from_secs(2));
    let (answer, _) = told(&thing, Request::Status, body, limit).await;
    let failure = answer.unwrap_err();
    assert_eq!(
        failure.message,
        "the proxy was not done within 2 s: 2 requests in flight at a"
    );
    let hint = failure.hint.unwrap();
    assert!(hint.contains("`drain` of the proxy's `timeouts`"), "{hint}");
}

#[tokio::test]
async fn the_proxy_is_told_and_heard() {
    let status = Status {
        config: None,
        backends: BTreeMap::new(),
        requests: crate::proxy::control::Requests::default(),
        waiting: 0,
        fd_limit: 1024,
        hands_over: true,
        takes_over: true,
        former: Vec::new(),
    };
    let done = serde_json::to_string(&crate::proxy::control::Reply::Done(Box::new(
        status.clone(),
    )))
    .unwrap();
    let waiting = "{\"waiting\":{\"what\":\"`it'\"'\"'s` drains\",\"in_flight\":2}}";
    let thing = Thing::new();
    let request = Request::Drain {
        backend: "it's".to_owned(),
        wait: true,
    };
    let told = |body: String, limit| told(&thing, request.clone(), body, limit);
    let body = format!(
        "cat >asked; echo \"$@\" >>asked; printf '%s\\n' '{waiting}'; printf '%s\\n' {}",
        quote(&done)
    );
    let (answer, heard) = told(body, None).await;
    assert_eq!(answer.unwrap(), status);
    let drains = Phase::new("waiting").at("`it's` drains");
    assert_eq!(heard, drains.counted(Count::InFlight(2)));
    let asked = fs::read_to_string(thing.at("asked")).unwrap();
    assert_eq!(
        asked,
        "{\"drain\":{\"backend\":\"it's\",\"wait\":true}}\nproxy-control proxy.sock\n"
    );

    let body = "echo '{\"refused\":{\"message\":\"no\"}}'".to_owned();
    let (answer, _) = told(body, Some(MINUTE)).await;
    assert_eq!(answer.unwrap_err().message, "the proxy refuses: no");
    let (answer, _) = told("echo trouble >&2; exit 3".to_owned(), Some(MINUTE)).await;
    let failure = answer.unwrap_err();
    assert_eq!(failure.message, "the proxy gave no answer (exit status 3)");
    assert_eq!(failure.log, ["trouble"]);
    let (answer, _) = told("sleep 1000".to_owned(), Some(Duration::from_millis(1))).await;
    assert!(answer.unwrap_err().message.contains("was not done within"));
}

#[tokio::test]
async fn a_file_is_sent_with_the_digest_that_it_has_then() {
    let thing = Thing::new();
    let source = thing.folder.path().join("it's here");
    let it = Upload {
        source: source.clone(),
        target: thing.at("there/it"),
    };
    let failure = upload(&here(), &it).await.unwrap_err();
    assert!(failure.message.contains("it's here"), "{failure:?}");
    for content in ["", "first", "second"] {
        fs::write(&source, content).unwrap();
        upload(&here(), &it).await.unwrap();
        assert_eq!(fs::read_to_string(&it.target).unwrap(), content);
        let note = fs::read_to_string(it.note()).unwrap();
        assert!(note.starts_with(&digest(content.as_bytes())), "{note}");
    }
}

#[tokio::test]
async fn what_is_removed_is_gone() {
    let thing = Thing::new();
    let folder = thing.at("it's/mine");
    fs::create_dir_all(&folder).unwrap();
    let paths = [folder.clone(), thing.at("never was")];
    remove(&here(), &paths, EMPTIED).await.unwrap();
    assert!(!Path::new(&folder).exists());
    let home = ["~/".to_owned()];
    assert!(remove(&here(), &home, EMPTIED).await.is_err());
}

const EMPTIED: Emptied = Emptied {
    root: "/tmp/nothing/is/there",
    last: "log",
    beside: "run",
};

#[tokio::test]
async fn folders_go_with_the_last_thing_in_them() {
    let thing = Thing::new();
    for file in [
        "all/t/log/a",
        "all/t/log/b",
        "all/t/run/socket",
        "all/u/bin/x",
    ] {
        let path = thing.at(file);
        let folder = Path::new(&path).parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::write(&path, "").unwrap();
    }
    // A leak of one path for each run of the tests.
    let root: &'static str = thing.at("all").leak();
    let emptied = Emptied { root, ..EMPTIED };
    let remove = async |path: &str| remove(&here(), &[thing.at(path)], emptied).await.unwrap();
    let is_there = |path: &str| Path::new(&thing.at(path)).exists();

    remove("all/t/log/a").await;
    assert!(is_there("all/t/log/b") && is_there("all/t/run/socket"));
    remove("all/t/log/b").await;
    assert!(!is_there("all/t") && is_there("all/u/bin/x"));
    remove("all/u/bin").await;
    assert!(!is_there("all") && is_there("."));
}

#[test]
fn verbs_can_be_sent_to_other_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn check(node: &Node, thing: &Thing, control: &ProxyControl) {
        is_send(&wait_ready(node, &thing.ready(), &silent));
        is_send(&stop(node, &thing.stop(MINUTE), &silent));
        is_send(&launch(node, &thing.launch(&[])));
        is_send(&super::control(node, control, &silent));
    }
    let _ = check;
}
