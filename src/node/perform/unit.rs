//! The files of a unit of systemd: itself, and what it runs.

use std::fmt::Write as _;

use super::launch::log_keeper;
use crate::node::{quote, quote_path};
use crate::plan::effect::{Launch, Unit};

/// How long a start may wait for memory and its address, in seconds, before systemd gives it up: longer than
/// `start_unit.sh` waits. What waits for others to have loaded may wait for as long as they do.
const PATIENCE: u32 = 120;

/// How long systemd leaves a process that ended before it starts it again, in seconds.
const PAUSE: u32 = 5;

/// How often a unit is started within [`WINDOW`], the first time among them. A server that fails again and
/// again takes a machine with unified memory down with it.
const STARTS: u32 = 3;

/// See [`STARTS`].
const WINDOW: &str = "1d";

/// The assignments of a script that hold what is in these files. `begin` is the function that becomes the
/// process.
pub(super) fn unit_files(launch: &Launch, unit: &Unit, begin: &str) -> String {
    let mut script = String::new();
    let start = start(launch, unit, begin);
    for (name, text) in [
        ("r_unit", unit.name.as_str()),
        ("r_text", &text(launch, unit)),
        ("r_start", &start),
        ("r_keep", include_str!("../script/bare.sh")),
        ("r_memory", if unit.secrets_in_memory { "yes" } else { "" }),
    ] {
        let _ = writeln!(script, "{name}={}", quote(text));
    }
    script
}

/// What is in NAME.service.
fn text(launch: &Launch, unit: &Unit) -> String {
    let Unit {
        name, description, ..
    } = unit;
    let description = specifier(description);
    let start = format!("/bin/sh \"%h/.config/systemd/user/{name}.start\"");
    let (folder, log) = (path(&launch.folder), path(&launch.log));
    let grace = unit.grace.as_secs_f64();
    let mark = &launch.mark;
    let patience = unit
        .loads_until
        .map_or_else(|| PATIENCE.to_string(), |_| "infinity".to_owned());
    format!(
        "# Written by replica, which removes it too: what runs is told by the manifest.\n\
         [Unit]\nDescription=replica: {description}\n\
         StartLimitIntervalSec={WINDOW}\nStartLimitBurst={STARTS}\n\n\
         [Service]\nType=exec\nExecCondition={start} condition\nExecStart={start}\n\
         WorkingDirectory={folder}\nStandardOutput=append:{log}\nStandardError=inherit\n\
         LimitMEMLOCK=infinity\nLimitNOFILE=1048576\nTimeoutStartSec={patience}\n\
         KillMode=mixed\nTimeoutStopSec={grace}\nRestart=always\nRestartSec={PAUSE}\n\n\
         [Install]\nWantedBy=default.target\n\n\
         [X-Replica]\nMark={mark}"
    )
}

/// What comes in NAME.start after what makes its environment.
fn start(launch: &Launch, unit: &Unit, begin: &str) -> String {
    let own = quote_path(&format!("~/.config/systemd/user/{}", unit.name));
    let ready = launch.log.strip_suffix(".log").unwrap_or(&launch.log);
    let ready = quote_path(&format!("{ready}.ready"));
    let (log, keeper) = (quote_path(&launch.log), log_keeper());
    let floor = unit.memory_floor.div_ceil(1024);
    let address = unit.address.map(|it| it.to_string()).unwrap_or_default();
    let port = unit
        .loads_until
        .map(|it| it.to_string())
        .unwrap_or_default();
    let secrets = if unit.secrets_in_memory {
        let file = quote(&format!("{}.secrets", unit.name));
        format!(
            "r_memory=yes\nr_secrets=${{XDG_RUNTIME_DIR:-/run/user/$(id -u)}}/replica-secrets/{file}\n"
        )
    } else {
        "r_memory=\nr_secrets=$r_own.secrets\n".to_owned()
    };
    format!(
        "r_own={own}\n{secrets}\nr_ready={ready}\nr_floor={floor}\nr_address={address}\nr_port={port}\nr_most={STARTS}\n\
         r_log={log}\n{keeper}{begin}{}",
        include_str!("../script/start_unit.sh")
    )
}

/// A path in a unit: absolute, or `~/…`.
fn path(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(rest) => format!("%h/{}", specifier(rest)),
        None => specifier(path),
    }
}

/// A text in a unit: `%` begins a specifier.
fn specifier(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Output};
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::plan::effect::{LogReader, Supervisor};

    const NAME: &str = "replica-t-instance.a.1";

    fn unit() -> Unit {
        Unit {
            name: NAME.to_owned(),
            description: "instance.a of topology t, start 1".to_owned(),
            grace: Duration::from_millis(2500),
            memory_floor: 1 << 20,
            address: Some("127.0.0.1".parse().unwrap()),
            secrets_in_memory: false,
            loads_until: None,
        }
    }

    fn launch() -> Launch {
        Launch {
            address: "n/instance.a".parse().unwrap(),
            mark: "v1:t:instance/a:1:ff".to_owned(),
            mark_prefix: "v1:t:instance/a:".to_owned(),
            spec: String::new(),
            argv: Vec::new(),
            path: Vec::new(),
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            node_key: String::new(),
            folder: "~/state/t/run".to_owned(),
            log: "~/state/100%/instance.a.1.log".to_owned(),
            log_reader: LogReader::None,
            supervisor: Supervisor::Systemd(Box::new(unit())),
            is_beside: false,
        }
    }

    /// A home with what a unit runs, which prints how it was started.
    struct Home(TempDir);

    impl Home {
        fn new() -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            let begin = "r_begin() { echo \"begun with $r_secret_TOKEN in '$r_setsid'\"; }\n";
            home.write(".start", &start(&launch(), &unit(), begin));
            fs::create_dir_all(home.0.path().join("state/100%")).unwrap();
            home
        }

        fn unit(&self, suffix: &str) -> std::path::PathBuf {
            let units = self.0.path().join(".config/systemd/user");
            units.join(format!("{NAME}{suffix}"))
        }

        fn write(&self, suffix: &str, text: &str) {
            let path = self.unit(suffix);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn note(&self, suffix: &str) -> std::path::PathBuf {
            let stem = self.0.path().join("state/100%/instance.a.1");
            stem.with_extension(format!("1{suffix}"))
        }

        /// Has systemd say of any unit that it is in this state.
        fn knows(&self, state: &str) {
            let systemctl = self.0.path().join("bin/systemctl");
            fs::create_dir_all(systemctl.parent().unwrap()).unwrap();
            fs::write(&systemctl, format!("#!/bin/sh\necho {state}\n")).unwrap();
            fs::set_permissions(systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        }

        /// Whether the condition does not come to its end behind another that loads until it listens there.
        /// It is given so many seconds for that.
        fn waits_for(&self, port: u16, patience: &str) -> bool {
            let (turn, log) = (self.0.path().join("replica-loading"), self.note(".log"));
            let other = format!("replica-t-instance.b.1 {port} {}\n", log.display());
            fs::write(&turn, other).unwrap();
            let path = std::env::var("PATH").unwrap();
            let path = format!("{}/bin:{path}", self.0.path().display());
            let mut command = Command::new("timeout");
            let command = command.args([patience, "sh"]).arg(self.unit(".start"));
            let command = command.arg("condition").env("PATH", path);
            let command = command.env("HOME", self.0.path());
            let command = command.env("XDG_RUNTIME_DIR", self.0.path());
            let ran = command.output().unwrap();
            let is_own = fs::read_to_string(&turn).unwrap().starts_with(NAME);
            assert_eq!(ran.status.success(), is_own, "{ran:?}");
            !is_own
        }

        fn run(&self, words: &[&str]) -> Output {
            let mut command = Command::new("sh");
            command.arg(self.unit(".start")).args(words);
            let command = command.env("HOME", self.0.path());
            command
                .env("XDG_RUNTIME_DIR", self.0.path())
                .output()
                .unwrap()
        }
    }

    #[test]
    fn a_unit_says_what_it_is_for() {
        insta::assert_snapshot!(text(&launch(), &unit()), @r#"
        # Written by replica, which removes it too: what runs is told by the manifest.
        [Unit]
        Description=replica: instance.a of topology t, start 1
        StartLimitIntervalSec=1d
        StartLimitBurst=3

        [Service]
        Type=exec
        ExecCondition=/bin/sh "%h/.config/systemd/user/replica-t-instance.a.1.start" condition
        ExecStart=/bin/sh "%h/.config/systemd/user/replica-t-instance.a.1.start"
        WorkingDirectory=%h/state/t/run
        StandardOutput=append:%h/state/100%%/instance.a.1.log
        StandardError=inherit
        LimitMEMLOCK=infinity
        LimitNOFILE=1048576
        TimeoutStartSec=120
        KillMode=mixed
        TimeoutStopSec=2.5
        Restart=always
        RestartSec=5

        [Install]
        WantedBy=default.target

        [X-Replica]
        Mark=v1:t:instance/a:1:ff
        "#);
    }

    /// After a reboot half-way it is the former that serves, whatever looks after the one that has started.
    #[test]
    fn the_units_that_run_stay_where_another_start_is_beside_them() {
        let scripts = [
            include_str!("../script/launch_session.sh"),
            include_str!("../script/launch_unit.sh"),
        ];
        for script in scripts {
            let retire = script.lines().find(|line| line.contains("r_retire_units"));
            for (state, is_beside, stays) in [
                ("running", "yes", true),
                ("running", "", false),
                ("auto-restart", "yes", false),
            ] {
                let home = Home::new();
                let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
                let of = format!(
                    "ConditionHost={}\nMark=v1:t:instance/a:1:ff\n",
                    machine.trim()
                );
                home.write(".service", &of);
                home.knows(state);
                let script = format!(
                    "r_prefix=v1:t:instance/a:\nr_unit=replica-t-instance.a.2\nr_beside={is_beside}\n{}\n{}\n",
                    include_str!("../script/units.sh"),
                    retire.unwrap()
                );
                let path = std::env::var("PATH").unwrap();
                let path = format!("{}/bin:{path}", home.0.path().display());
                let mut command = Command::new("sh");
                let command = command.args(["-c", &script]).env("PATH", path);
                let ran = command.env("HOME", home.0.path()).output().unwrap();
                let is_there = home.unit(".service").exists();
                assert_eq!(is_there, stays, "{state}, `{is_beside}`: {script}\n{ran:?}");
            }
        }
    }

    #[test]
    fn what_never_served_is_started_once_and_what_did_three_times() {
        let home = Home::new();
        let may = || home.run(&["condition"]).status.success();
        assert!(!may());
        home.write(".first", "");
        assert!(may());
        let begun = home.run(&[]);
        assert!(begun.status.success(), "{begun:?}");
        assert!(!home.unit(".first").exists() && !home.note(".again").exists());
        assert!(!may());

        fs::write(home.note(".ready"), "7\n").unwrap();
        assert!(may());
        home.run(&[]);
        assert!(may());
        home.run(&[]);
        assert_eq!(fs::read_to_string(home.note(".again")).unwrap(), "..");
        let refused = home.run(&["condition"]);
        let why = String::from_utf8_lossy(&refused.stdout);
        assert!(why.contains("started 3 times within a day"), "{why}");
        // Another boot counts anew.
        home.write(".starts", "another 1\nanother 2\nanother 3\n");
        assert!(may());
    }

    /// What is started again waits until another has loaded, or died; what an apply starts does not.
    #[test]
    fn of_those_that_load_one_is_started_again_after_another() {
        let home = Home::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = listener.local_addr().unwrap().port();
        let unit = Unit {
            loads_until: Some(1),
            address: None,
            ..unit()
        };
        home.write(".start", &start(&launch(), &unit, "r_begin() { :; }\n"));
        fs::write(home.note(".ready"), "7\n").unwrap();
        let log = home.note(".log");
        fs::write(&log, "loading\n").unwrap();
        // Nobody listens on the first port of all.
        for (said, port, expected) in [
            ("running", 1, true),
            ("condition", listening, true),
            ("running", listening, false),
            ("failed", 1, false),
            ("auto-restart", 1, false),
        ] {
            home.knows(said);
            let patience = if expected { "2" } else { "60" };
            let waits = home.waits_for(port, patience);
            assert_eq!(waits, expected, "{said} {port}");
        }
        home.knows("running");
        home.write(".first", "");
        assert!(!home.waits_for(1, "60"), "whoever applies has looked");
        fs::remove_file(home.unit(".first")).unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        fs::File::options()
            .append(true)
            .open(&log)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        assert!(!home.waits_for(1, "60"), "its log stands still");
    }

    /// In memory they are gone after a reboot, and the start says why it does not take place.
    #[test]
    fn what_has_its_secrets_in_memory_is_not_started_without_them() {
        let home = Home::new();
        let unit = Unit {
            secrets_in_memory: true,
            ..unit()
        };
        let begin = "r_begin() { echo \"begun with $r_secret_TOKEN\"; }\n";
        home.write(".start", &start(&launch(), &unit, begin));
        home.write(".first", "");
        let refused = home.run(&["condition"]);
        let why = String::from_utf8_lossy(&refused.stdout);
        assert!(
            !refused.status.success() && why.contains("`replica apply` starts it"),
            "{why}"
        );
        let folder = home.0.path().join("replica-secrets");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(format!("{NAME}.secrets")), "r_secret_TOKEN=x").unwrap();
        assert!(home.run(&["condition"]).status.success());
        assert_eq!(home.run(&[]).stdout, b"begun with x\n");
    }

    #[test]
    fn its_secrets_are_read_where_it_has_some() {
        let home = Home::new();
        let said = |home: &Home| String::from_utf8(home.run(&[]).stdout).unwrap();
        assert_eq!(said(&home), "begun with  in ''\n");
        home.write(
            ".secrets",
            &format!("r_secret_TOKEN={}", quote("it's $HOME")),
        );
        assert_eq!(said(&home), "begun with it's $HOME in ''\n");
    }
}
