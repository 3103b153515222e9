//! Starting.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::node::NodeKey;
use crate::plan::effect::ServerKey;

#[tokio::test]
async fn what_starts_is_marked_bare_and_alone() {
    for node in shells() {
        let thing = Thing::new();
        let mut wanted = thing.launch(&["sleep", "1000"]);
        wanted.env = BTreeMap::from([("CUDA_HOME".to_owned(), "it's $HOME".to_owned())]);
        wanted.path = vec!["~/it's".to_owned(), "/opt/bin".to_owned()];
        wanted.secret_env = from_here("TOKEN", "PATH");
        let first = launch(&node, &wanted).await.unwrap();
        assert!(!first.already);

        let environ = fs::read_to_string(format!("/proc/{}/environ", first.pid)).unwrap();
        let mut names = Vec::new();
        let mut values = BTreeMap::new();
        for variable in environ.split_terminator('\0') {
            let (name, value) = variable.split_once('=').unwrap();
            names.push(name);
            values.insert(name, value);
        }
        assert_eq!(values["REPLICA_MARK"], thing.mark());
        let mode = |path: &str| fs::metadata(thing.at(path)).unwrap().permissions().mode();
        assert_eq!(mode("logs/a.log") & 0o777, 0o600);
        assert_eq!(mode("logs") & 0o777, 0o700);
        let spec: serde_json::Value = serde_json::from_str(values["REPLICA_SPEC"]).unwrap();
        assert_eq!(spec["kind"], "it's");
        let digest = node_key(&thing).digest("TOKEN", values["TOKEN"]);
        assert_eq!(spec["env"]["TOKEN"], digest);
        assert_eq!(values["SPT_NOENV"], "1");
        assert_eq!(values["CUDA_HOME"], "it's $HOME");
        let home = std::env::home_dir().unwrap();
        let first_of_all = format!("{}/it's:/opt/bin:", home.display());
        assert!(values["PATH"].starts_with(&first_of_all), "{values:?}");
        assert_eq!(values["TOKEN"], std::env::var("PATH").unwrap());
        // `cargo test` has plenty of its own; `PWD` and the like are the shell's.
        let inherited = names
            .iter()
            .filter(|name| name.starts_with("CARGO"))
            .count();
        assert_eq!(inherited, 0, "{names:?}");

        let stat = fs::read_to_string(format!("/proc/{}/stat", first.pid)).unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        assert_eq!(fields[3], first.pid.to_string(), "it leads its session");
        assert_eq!(fields[19], first.start_time.to_string());
        let folder = fs::read_link(format!("/proc/{}/cwd", first.pid)).unwrap();
        assert_eq!(folder, Path::new(&wanted.folder));
        let open = |fd: u32| fs::read_link(format!("/proc/{}/fd/{fd}", first.pid)).ok();
        assert_eq!(open(0).unwrap(), Path::new("/dev/null"));
        assert_eq!(open(1).unwrap(), Path::new(&wanted.log));
        assert_eq!(open(2).unwrap(), Path::new(&wanted.log));
        // What loads its libraries has each of them open for a moment.
        let mut looks = 0..500;
        while (3..10).any(|fd| open(fd).is_some()) {
            assert!(looks.next().is_some(), "it was left something open");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }

        let second = launch(&node, &wanted).await.unwrap();
        assert!(second.already);
        assert_eq!(
            (second.pid, second.start_time),
            (first.pid, first.start_time)
        );
        stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
        assert!(!lives(first.pid));
    }
}

/// What a thing leaves of its starts does not grow for ever.
#[tokio::test]
async fn what_starts_of_long_ago_have_left_is_forgotten() {
    let thing = Thing::new();
    fs::create_dir(thing.at("logs")).unwrap();
    let named = |name: &str| thing.at(&format!("logs/{name}"));
    let kept = [
        "a.3.log",
        "a.3.ready",
        "a.12.log",
        "ab.1.log",
        "a.x.log",
        "a.b.1.log",
    ];
    let old = ["a.1.log", "a.1.ready", "a.2.log"];
    for name in kept.iter().chain(&old) {
        fs::write(named(name), "").unwrap();
    }
    let mut wanted = thing.launch(&["sleep", "1000"]);
    wanted.log = named("a.12.log");
    launch(&here(), &wanted).await.unwrap();
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
    for name in kept {
        assert!(Path::new(&named(name)).exists(), "{name}");
    }
    for name in old {
        assert!(!Path::new(&named(name)).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_leading_tilde_of_a_word_is_the_nodes_home() {
    let thing = Thing::new();
    let wanted = thing.launch(&[
        "sh",
        "-c",
        "echo \"$@\"; exec sleep 1000",
        "x",
        "~/it's",
        "a~/b",
    ]);
    launch(&here(), &wanted).await.unwrap();
    while thing.log().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let home = std::env::home_dir().unwrap();
    assert_eq!(thing.log(), format!("{}/it's a~/b\n", home.display()));
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    for node in shells() {
        let thing = Thing::new();
        let failure = launch(&node, &thing.launch(&["/no/such/program"]))
            .await
            .unwrap_err();
        assert!(
            failure.message.contains("`/no/such/program` ended at once"),
            "{failure:?}"
        );
        assert!(
            failure.log.last().unwrap().contains("No such file"),
            "{failure:?}"
        );

        let mut wanted = thing.launch(&["true"]);
        wanted.secret_env = from_here("TOKEN", "NO_SUCH_SECRET");
        let failure = launch(&node, &wanted).await.unwrap_err();
        assert!(failure.message.contains("`NO_SUCH_SECRET`"), "{failure:?}");

        let mut wanted = thing.launch(&["true"]);
        wanted.folder = "/dev/null/x".to_owned();
        let failure = launch(&node, &wanted).await.unwrap_err();
        assert!(failure.message.contains("Not a directory"), "{failure:?}");
    }
}

/// The random key of a node, which is for its owner alone to read.
fn node_key(thing: &Thing) -> NodeKey {
    let path = thing.at("a folder/node.key");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::read_to_string(path).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_server_has_a_key_of_its_own_that_is_made_where_it_runs() {
    for node in shells() {
        let thing = Thing::new();
        let key = ServerKey {
            node: "here".parse().unwrap(),
            node_key: thing.at("a folder/node.key"),
            nonce: "replica-1".to_owned(),
        };
        let mut wanted = thing.launch(&["sleep", "1000"]);
        let own = Secret::ServerKey(key.clone());
        wanted.secret_env = BTreeMap::from([("VLLM_API_KEY".to_owned(), own.clone())]);
        let first = launch(&node, &wanted).await.unwrap();
        let environ = fs::read_to_string(format!("/proc/{}/environ", first.pid)).unwrap();
        let node_key = node_key(&thing);
        let own_key = node_key.server_key("replica-1");
        assert!(environ.contains(&format!("VLLM_API_KEY={own_key}\0")));
        assert!(environ.contains(&node_key.own_digest()), "{environ}");
        assert_eq!(
            secret::secret(&node, &own, "a check").await.unwrap(),
            own_key
        );
        stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();

        fs::write(thing.at("a folder/node.key"), "half").unwrap();
        let failure = launch(&node, &wanted).await.unwrap_err();
        assert!(failure.message.contains("is damaged"), "{failure:?}");
    }
}

#[tokio::test]
async fn what_is_gone_is_told_with_the_end_of_its_log_and_its_cause() {
    let thing = Thing::new();
    let start = thing.launch(&["true"]);
    let unread = last_words(&here(), &start).await.unwrap_err();
    assert!(unread.message.contains("a.log"), "{unread}");
    fs::create_dir_all(thing.at("logs")).unwrap();
    fs::write(&start.log, "loading\nlast\n").unwrap();
    let said = last_words(&here(), &start).await.unwrap();
    assert_eq!(said.log, ["loading", "last"]);
    assert!(said.message.contains("does not say why"), "{said}");
    let killed = "torch.OutOfMemoryError: CUDA out of memory.\n";
    fs::write(&start.log, killed).unwrap();
    let said = last_words(&here(), &start).await.unwrap();
    assert!(said.message.contains("out of memory"), "{said}");
}
