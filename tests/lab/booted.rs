//! Hosts that boot a systemd of their own: what it looks after comes back by itself, or stays down and
//! says why.

use std::time::{Duration, Instant};

use super::hosts::{Lab, Process};
use super::laptop::{Laptop, change, pending, reasons};
use super::stage::{PATIENCE, booted, eventually, is_bare, until};
use super::stand_in::stand_in;

/// A simulated server and a proxy on one host.
const DEMO: &str = "\
topology: demo
nodes:
  spark-01: {ssh: spark-01, addresses: {lan: 10.77.0.11}}
engines:
  demo: {simulate: {profile: fast}}
instances:
  a: {node: spark-01, port: 8100, engine: demo, model: demo}
proxy: {node: spark-01, port: 8192}
";

const HOST: &str = "spark-01";
const A: &str = "spark-01/instance.a";
const PROXY: &str = "spark-01/proxy";

/// The names of units are those of the logs.
const UNIT_OF_A: &str = "replica-demo-instance.a.1";

fn lingers(lab: &Lab) {
    lab.exec(HOST, "loginctl enable-linger nvidia");
    until("its systemd runs", || {
        lab.exec(
            HOST,
            "test -S /run/user/1000/systemd/private && echo yes || true",
        ) == "yes"
    });
}

/// Runs a command as the user of the host.
fn by_user(lab: &Lab, script: &str) -> String {
    let script = format!(
        "exec setpriv --reuid=nvidia --regid=nvidia --init-groups env HOME=/home/nvidia \
         XDG_RUNTIME_DIR=/run/user/1000 sh -c '{script}'"
    );
    lab.exec(HOST, &script)
}

/// The units of ours that systemd runs.
fn units(lab: &Lab) -> Vec<String> {
    let listed = "systemctl --user list-units --all --plain --no-legend \"replica-*\"";
    let listed = by_user(lab, listed);
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    listed.lines().filter_map(first).collect()
}

/// Waits until systemd knows nothing of ours any more.
fn systemd_forgets_them(lab: &Lab) {
    let end = Instant::now() + PATIENCE;
    while !units(lab).is_empty() {
        let status = "systemctl --user status --all --no-pager \"replica-*\" || true";
        assert!(Instant::now() < end, "{}", by_user(lab, status));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Everything of ours that is left where units are.
fn files_of_units(lab: &Lab) -> String {
    lab.exec(
        HOST,
        "find /home/nvidia/.config -name '*replica*' 2>/dev/null || true",
    )
}

fn mark(process: &Process) -> String {
    process.mark.clone().expect("it is marked")
}

/// Waits until another process than this leads the thing, with the same mark.
fn is_started_again(lab: &Lab, thing: &str, before: &Process) {
    until("systemd starts it again", || {
        let leaders = lab.leaders(HOST, thing);
        leaders
            .iter()
            .any(|it| (it.pid, it.start) != (before.pid, before.start) && it.mark == before.mark)
    });
}

/// Waits until nothing is left to do, and expects that nobody did anything for it.
fn comes_to_be_kept(laptop: &Laptop) {
    until("the plan keeps all", || pending(&laptop.plan()).is_empty());
}

#[test]
fn what_systemd_looks_after_comes_back_after_a_reboot() {
    booted("1", |lab| {
        lingers(lab);
        let laptop = Laptop::with(lab, DEMO);
        let plan = laptop.plan();
        let shown = change(&plan, A)["summary"].to_string();
        assert!(shown.contains("in systemd"), "{plan:#}");
        laptop.applies();
        laptop.is_converged();
        assert_eq!(
            units(lab),
            [
                "replica-demo-instance.a.1.service",
                "replica-demo-proxy.1.service"
            ]
        );
        let (a, proxy) = (lab.leader(HOST, "instance/a"), lab.leader(HOST, "proxy"));

        lab.does("reboot spark-01");
        is_started_again(lab, "instance/a", &a);
        is_started_again(lab, "proxy", &proxy);
        comes_to_be_kept(&laptop);
        let plan = laptop.plan();
        for (address, thing, before) in [(A, "instance/a", &a), (PROXY, "proxy", &proxy)] {
            let kept = change(&plan, address);
            assert!(
                reasons(kept).contains("systemd has started it again once"),
                "{plan:#}"
            );
            assert_eq!(mark(&lab.leader(HOST, thing)), mark(before));
        }
        laptop
            .replica("plan --detailed-exitcode")
            .exits(0)
            .shows("Kept, and started again meanwhile");
        laptop.replica("status").exits(0).shows("converged");

        // What failed is listed though its file is gone. What is called otherwise is not ours.
        for name in ["replica-demo-proxy.7", "replica-backup"] {
            let file = format!("~/.config/systemd/user/{name}.service");
            let fails = format!(
                "printf \"[Service]\\nExecStart=/bin/false\\n\" >{file}; \
                 systemctl --user daemon-reload; systemctl --user start {name}; rm {file}; \
                 until systemctl --user is-failed {name}; do sleep 0.1; done; systemctl --user daemon-reload"
            );
            by_user(lab, &fails);
        }
        laptop.replica("destroy -y").exits(0);
        until("systemd forgets them", || {
            units(lab) == ["replica-backup.service"]
        });
        assert_eq!(files_of_units(lab), "");
        is_bare(lab, HOST);
    });
}

/// The log of a unit does not grow for ever, neither that of its first start nor once it was started again.
#[test]
fn the_log_of_a_unit_is_kept_short() {
    booted("1", |lab| {
        lingers(lab);
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let log = "/home/nvidia/.local/state/replica/demo/log/instance.a.1";
        let grows = || {
            let note = format!("cat {log}.pruned 2>/dev/null || true");
            let before = lab.exec(HOST, &note);
            by_user(
                lab,
                &format!("yes a line of what it says | head -c 70m >>{log}.log"),
            );
            until("its middle is given back", || {
                lab.exec(HOST, &note) != before
            });
            let kib = lab.exec(HOST, &format!("du -k {log}.log | cut -f 1"));
            assert!(kib.parse::<u64>().unwrap() < 66 << 10, "{kib} KiB");
        };
        grows();
        let a = lab.leader(HOST, "instance/a");
        lab.signals(HOST, &a, "KILL");
        is_started_again(lab, "instance/a", &a);
        grows();
        let all = laptop.replica("logs a -n all").exits(0).out;
        assert!(all.contains("Application startup complete."));
        laptop.replica("destroy -y").exits(0);
        is_bare(lab, HOST);
    });
}

/// Three starts, and each is told; then it stays down, until somebody says otherwise.
#[test]
fn what_dies_is_started_again_until_it_is_given_up() {
    booted("1", |lab| {
        lingers(lab);
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        for times in ["once", "2 times"] {
            let a = lab.leader(HOST, "instance/a");
            lab.signals(HOST, &a, "KILL");
            is_started_again(lab, "instance/a", &a);
            comes_to_be_kept(&laptop);
            let said = reasons(change(&laptop.plan(), A));
            assert!(
                said.contains(&format!("has started it again {times}")),
                "{said}"
            );
        }
        let a = lab.leader(HOST, "instance/a");
        lab.signals(HOST, &a, "KILL");
        until("systemd gives it up", || {
            let said = reasons(change(&laptop.plan(), A));
            said.contains("systemd has given it up")
        });
        assert_eq!(lab.leaders(HOST, "instance/a"), []);
        assert_eq!(pending(&laptop.plan())[0], format!("create {A}"));
        laptop.applies();
        laptop.is_converged();
        assert_eq!(
            units(lab),
            [
                "replica-demo-instance.a.2.service",
                "replica-demo-proxy.1.service"
            ]
        );
    });
}

#[test]
fn what_may_not_be_started_again_stays_down_and_says_why() {
    booted("1", |lab| {
        lingers(lab);
        let laptop = Laptop::with(
            lab,
            &DEMO.replace(
                "model: demo}",
                "model: demo, args: {sim_fail_loading: oom}}",
            ),
        );
        laptop.replica("apply -y").exits(6);
        until("systemd lets it be", || {
            lab.exec(
                HOST,
                "tail -n 1 /home/nvidia/.local/state/replica/demo/log/instance.a.1.log",
            )
            .ends_with("it was never seen to become ready")
        });
        assert_eq!(lab.leaders(HOST, "instance/a"), []);

        laptop.declares(DEMO);
        laptop.applies();
        // A machine whose memory somebody else has by now.
        lab.exec(HOST, "sed 's/^MemAvailable:.*/MemAvailable: 1024 kB/' /proc/meminfo >/run/meminfo; mount --bind /run/meminfo /proc/meminfo");
        let a = lab.leader(HOST, "instance/a");
        lab.signals(HOST, &a, "KILL");
        until("systemd lets it be", || {
            let said = reasons(change(&laptop.plan(), A));
            said.contains("systemd has given it up, for the reason that its log ends with")
        });
        laptop
            .replica("logs topology.yaml instance.a")
            .exits(0)
            .shows("1 MiB of memory can be had of the 512 MiB that it takes");
        lab.exec(HOST, "umount /proc/meminfo");
        laptop.applies();
        laptop.is_converged();
    });
}

/// Nothing moves by itself; what is moved is replaced, and the proxy without a gap.
#[test]
fn who_looks_after_it_is_changed_by_a_replace() {
    booted("1", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop
            .replica("apply -y")
            .exits(0)
            .shows("`loginctl enable-linger nvidia` there keeps it");
        assert_eq!(files_of_units(lab), "");
        let in_systemd = DEMO.replace("addresses", "supervisor: systemd, addresses");
        let in_session = DEMO.replace("addresses", "supervisor: session, addresses");
        laptop.declares(&in_systemd);
        // What cannot be moved goes on.
        let plan = laptop.plan();
        assert_eq!(change(&plan, A)["action"], "blocked", "{plan:#}");
        assert!(
            reasons(change(&plan, A)).contains("ends with the last login"),
            "{plan:#}"
        );

        lingers(lab);
        laptop.declares(DEMO);
        laptop.is_converged();
        for (manifest, old, new) in [
            (&in_systemd, "session", "systemd"),
            (&in_session, "systemd", "session"),
        ] {
            laptop.declares(manifest);
            let plan = laptop.plan();
            for address in [A, PROXY] {
                let moved = change(&plan, address);
                assert_eq!(moved["action"], "replace", "{plan:#}");
                assert_eq!(moved["fields"][0]["path"], "supervisor");
                assert_eq!(moved["fields"][0]["old"], old);
                assert_eq!(moved["fields"][0]["new"], new);
            }
            laptop.applies();
            laptop.is_converged();
        }
        systemd_forgets_them(lab);
        assert_eq!(files_of_units(lab), "");
        assert_eq!(lab.leaders(HOST, "proxy").len(), 1);
    });
}

/// What was begun was not seen to become ready: until it is, the unit of what serves stays, though no systemd is to
/// look after the next one.
#[test]
fn a_reboot_half_way_out_of_systemd_leaves_what_served() {
    booted("1", |lab| {
        lingers(lab);
        let in_systemd = DEMO.replace("addresses", "supervisor: systemd, addresses");
        let laptop = Laptop::with(lab, &in_systemd);
        laptop.applies();
        let a = lab.leader(HOST, "instance/a");
        let next = DEMO
            .replace("addresses", "supervisor: session, addresses")
            .replace("port: 8100", "port: 8101");
        let loading = next.replace(
            "model: demo}",
            "model: demo, args: {sim_load_seconds: 600}}",
        );
        laptop.declares(&loading);
        let plan = laptop.plan();
        assert_eq!(change(&plan, A)["starts_first"], true, "{plan:#}");
        let run = laptop.starts("apply -y");
        until("the next one loads", || {
            let log = "find /home/nvidia/.local/state/replica -name instance.a.2.log -size +0";
            lab.leaders(HOST, "instance/a").len() == 2 && !lab.exec(HOST, log).is_empty()
        });
        run.dies();

        lab.does("reboot spark-01");
        is_started_again(lab, "instance/a", &a);
        laptop.declares(&next);
        laptop.applies();
        laptop.is_converged();
        systemd_forgets_them(lab);
        assert_eq!(files_of_units(lab), "");
        assert_eq!(lab.leaders(HOST, "instance/a").len(), 1);
    });
}

/// What a unit needs of a secret is for its user alone to read, and goes with it.
#[test]
fn a_secret_lies_beside_its_unit_and_nowhere_else() {
    const SECRET: &str = "hf_lab_it's 0123456789%h$HOME";
    booted("1", |lab| {
        lingers(lab);
        let manifest = DEMO.replace(
            "model: demo}",
            "model: demo, env: {HF_TOKEN: {from_env: HF_TOKEN}, PLAIN: \"it's %h $HOME\"}}",
        );
        let mut laptop = Laptop::with(lab, &manifest);
        laptop.exports("HF_TOKEN", SECRET);
        laptop.replica("apply -y -vv").exits(0).hides(SECRET);
        let environ = |process: &Process| {
            lab.exec(
                HOST,
                &format!("tr '\\0' '\\n' </proc/{}/environ", process.pid),
            )
        };
        let a = lab.leader(HOST, "instance/a");
        let before = environ(&a);
        for line in [
            &format!("HF_TOKEN={SECRET}"),
            "PLAIN=it's %h $HOME",
            "SPT_NOENV=1",
        ] {
            assert!(before.lines().any(|it| it == line), "{line}: {before}");
        }
        for foreign in ["INVOCATION_ID", "SYSTEMD_EXEC_PID", "DBUS_SESSION"] {
            assert!(!before.contains(foreign), "{before}");
        }
        let holding = lab.exec(
            HOST,
            "grep -rlF hf_lab_ /home /run /var /tmp 2>/dev/null || true",
        );
        assert_eq!(
            holding,
            format!("/home/nvidia/.config/systemd/user/{UNIT_OF_A}.secrets")
        );
        assert_eq!(lab.exec(HOST, &format!("stat -c %a {holding}")), "600");

        lab.signals(HOST, &a, "KILL");
        is_started_again(lab, "instance/a", &a);
        let again = environ(&lab.leader(HOST, "instance/a"));
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&again), sorted(&before));
        comes_to_be_kept(&laptop);

        laptop.declares(&DEMO.replace("  a: ", "  b: "));
        laptop.applies();
        assert!(!files_of_units(lab).contains("instance.a"));
        let holding = lab.exec(
            HOST,
            "grep -rlF hf_lab_ /home /run /var /tmp 2>/dev/null || true",
        );
        assert_eq!(holding, "");
    });
}

/// Where it is declared, its user makes its systemd outlive the last login; where it may not, that is told
/// before anything is done.
#[test]
fn systemd_is_made_to_linger_where_that_is_declared_and_allowed() {
    booted("1", |lab| {
        let manifest = DEMO.replace("{ssh: spark-01,", "{ssh: spark-01, supervisor: systemd,");
        let laptop = Laptop::with(lab, &manifest);
        let line = "`loginctl enable-linger nvidia` there keeps it";
        laptop.replica("apply -y").exits(6).shows(line);
        // Stand-ins for polkit, which these hosts have not, and for what it would let the user do.
        lab.exec(
            HOST,
            "cd /usr/local/bin && printf '#!/bin/sh\\nexit 0\\n' >pkcheck && \
             printf '#!/bin/sh\\n: >/tmp/asks\\nuntil [ -e /tmp/done ]; do sleep 0.1; done\\n' >loginctl && \
             chmod 755 pkcheck loginctl && \
             setsid sh -c 'until [ -e /tmp/asks ]; do sleep 0.1; done; \
             /usr/bin/loginctl enable-linger nvidia; : >/tmp/done' >/dev/null 2>&1 </dev/null &",
        );
        laptop
            .replica("plan")
            .exits(0)
            .shows("lingering is turned on for nvidia");
        laptop.applies();
        laptop.is_converged();
        assert!(units(lab).contains(&format!("{UNIT_OF_A}.service")));
        laptop.replica("plan").exits(0).hides("lingering");
    });
}

/// Where its secrets are to be in memory they are on no disk; after a reboot it stays down and says why, and
/// an apply starts it. What has none comes back.
#[test]
fn with_its_secrets_in_memory_it_stays_down_after_a_reboot() {
    const SECRET: &str = "hf_lab_0123456789";
    booted("1", |lab| {
        lingers(lab);
        let manifest = DEMO.replace(
            "model: demo}",
            "model: demo, env: {HF_TOKEN: {from_env: HF_TOKEN}}}",
        );
        let mut laptop = Laptop::with(lab, &manifest);
        laptop.exports("HF_TOKEN", SECRET);
        laptop.applies();
        let holding = || {
            let script = "grep -rlF hf_lab_ /home /run /var /tmp /etc 2>/dev/null || true";
            lab.exec(HOST, script)
        };
        assert!(holding().starts_with("/home/"), "{}", holding());

        let lines = manifest.replace("{ssh: spark-01,", "{ssh: spark-01, secrets: memory,");
        laptop.declares(&lines);
        let plan = laptop.plan();
        assert_eq!(pending(&plan), [format!("replace {A}")]);
        let said = reasons(change(&plan, A));
        assert!(said.contains("after a reboot it stays down"), "{said}");
        laptop.applies();
        laptop.is_converged();
        let kept = "/run/user/1000/replica-secrets/replica-demo-instance.a.2.secrets";
        assert_eq!(holding(), kept);
        assert_eq!(lab.exec(HOST, &format!("stat -c %a {kept}")), "600");
        assert_eq!(lab.exec(HOST, &format!("stat -f -c %T {kept}")), "tmpfs");

        // After a crash they are there still.
        let a = lab.leader(HOST, "instance/a");
        lab.signals(HOST, &a, "KILL");
        is_started_again(lab, "instance/a", &a);
        comes_to_be_kept(&laptop);

        let proxy = lab.leader(HOST, "proxy");
        lab.does("reboot spark-01");
        is_started_again(lab, "proxy", &proxy);
        let log = "/home/nvidia/.local/state/replica/demo/log/instance.a.2.log";
        until("its log says why", || {
            let last = lab.exec(HOST, &format!("tail -n 1 {log}"));
            last.contains("its secrets were kept in memory")
        });
        assert_eq!(lab.leaders(HOST, "instance/a"), []);
        assert_eq!(holding(), "");
        assert_eq!(pending(&laptop.plan())[0], format!("create {A}"));
        laptop.applies();
        laptop.is_converged();
        laptop.replica("destroy -y").exits(0);
        is_bare(lab, HOST);
        assert_eq!(holding(), "");
        let left = lab.exec(
            HOST,
            "ls /run/user/1000/replica-secrets 2>/dev/null || true",
        );
        assert!(!left.contains("secrets"), "{left}");
    });
}

/// Two servers of a real engine on one host.
const LOADING: &str = "\
topology: demo
nodes:
  spark-01: {ssh: spark-01, supervisor: systemd, addresses: {lan: 10.77.0.11}}
engines:
  real:
    venv: ~/src/github.com/elizabetht/spark/.venv
    vllm: 0.13.0+cu130
    args: {gpu_memory_utilization: 0.2}
models:
  llama: {repo: meta-llama/Llama-3.1-8B-Instruct}
instances:
  a: {node: spark-01, port: 8100, engine: real, model: llama}
  b: {node: spark-01, port: 8200, engine: real, model: llama}
";

/// What runs in the place of vLLM: it notes when it begins to load, and when it has.
const NOTES: &str = "\
port=$(echo \"$*\" | sed 's/.*--port \\([0-9]*\\) .*/\\1/')
echo \"begins $port\" >>/home/nvidia/loads
(
  until grep -q \"$(printf ':%04X 00000000:0000 0A' \"$port\")\" /proc/net/tcp; do sleep 0.05; done
  echo \"loaded $port\" >>/home/nvidia/loads
) &
exec /opt/lab/replica simulate \"$@\" --sim-load-seconds 5";

/// The kernel starts all units at once after a boot, and what memory vLLM finds while another loads is not
/// what it will have.
#[test]
fn those_that_load_come_up_one_after_another_after_a_reboot() {
    booted("1", |lab| {
        lingers(lab);
        stand_in(lab, &[HOST], NOTES);
        // What these hosts have not, and an engine is not without.
        lab.exec(
            HOST,
            "cd /usr/bin && printf '#!/bin/sh\\n' >gcc && chmod 755 gcc && cp gcc python3",
        );
        let laptop = Laptop::with(lab, LOADING);
        laptop.applies();
        laptop.is_converged();
        let loads = || {
            let said = lab.exec(HOST, "cat /home/nvidia/loads 2>/dev/null || true");
            let said = said.lines().map(str::to_owned);
            let said: Vec<String> = said.collect();
            (said.len() == 4).then_some(said)
        };
        let is_in_turn = |said: &[String]| {
            let pair = |port: &str| [format!("begins {port}"), format!("loaded {port}")];
            let [a, b] = ["8100", "8200"].map(pair);
            let orders = [[a.clone(), b.clone()], [b, a]];
            let is_one = orders.iter().any(|order| order.concat() == said);
            assert!(is_one, "{said:?}");
        };
        is_in_turn(&eventually("both have loaded", loads));

        lab.exec(HOST, "rm /home/nvidia/loads");
        lab.does("reboot spark-01");
        is_in_turn(&eventually("both have loaded again", loads));
        comes_to_be_kept(&laptop);

        // What dies while it loads lets the other begin.
        lab.exec(HOST, "rm /home/nvidia/loads");
        lab.does("reboot spark-01");
        let first = eventually("one loads", || {
            let said = lab.exec(HOST, "cat /home/nvidia/loads 2>/dev/null || true");
            said.strip_prefix("begins ").map(str::to_owned)
        });
        let (dying, other) = match first.as_str() {
            "8100" => ("instance/a", "8200"),
            _ => ("instance/b", "8100"),
        };
        lab.signals(HOST, &lab.leader(HOST, dying), "KILL");
        until("the other begins", || {
            let said = lab.exec(HOST, "cat /home/nvidia/loads");
            said.lines().any(|line| line == format!("begins {other}"))
        });
        laptop.replica("destroy -y").exits(0);
        is_bare(lab, HOST);
    });
}
