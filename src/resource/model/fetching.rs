//! Fetching a model from the hub: by the tool that comes with vLLM, on the node that lacks it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::ModelDeclaration;
use super::cached::{Cached, LISTING, folder};
use super::whole::Shortfall;
use crate::node::{quote, quote_path};
use crate::plan::effect::{LogReader, RunScript};
use crate::resource::environment::EnvValue;

/// How long nothing may come before it counts as stalled.
const PATIENCE: Duration = Duration::from_secs(120);

/// The work that fetches what a cache lacks of a model.
pub(super) fn work(
    declared: &ModelDeclaration,
    found: &Cached,
    shortfalls: &[Shortfall],
    venv: &str,
) -> RunScript {
    let damaged: Vec<_> = shortfalls
        .iter()
        .filter_map(|s| s.damaged.as_deref())
        .collect();
    let mut script = format!("r_venv={}\n", quote_path(venv));
    for (name, value) in [
        ("r_cache", found.cache.as_str()),
        ("r_repo", &folder(declared)),
        ("r_name", &declared.repo),
        (
            "r_revision",
            declared.revision.as_deref().unwrap_or_default(),
        ),
        (
            "r_endpoint",
            declared.endpoint.as_deref().unwrap_or_default(),
        ),
        ("r_origin", declared.hub()),
        ("r_damaged", &damaged.join("\n")),
    ] {
        let _ = writeln!(script, "{name}={}", quote(value));
    }
    script.push('\n');
    for part in [LISTING, NOTE, include_str!("fetch.sh")] {
        script.push_str(part);
    }
    let secret = match &declared.token {
        Some(EnvValue::FromEnv(source)) => Some(("HF_TOKEN".to_owned(), source.clone())),
        _ => None,
    };
    RunScript {
        doing: "fetching".to_owned(),
        script,
        secrets: secret.into_iter().collect::<BTreeMap<_, _>>(),
        lock: lock(declared, found),
        patience: PATIENCE,
        attempts: 2,
        log_reader: LogReader::Hub,
    }
}

/// The work that takes a model from a folder of the node.
pub(super) fn import(
    declared: &ModelDeclaration,
    found: &Cached,
    folder_with_it: &str,
) -> RunScript {
    let mut script = format!("r_from={}\n", quote_path(folder_with_it));
    for (name, value) in [
        ("r_cache", found.cache.as_str()),
        ("r_repo", &folder(declared)),
        (
            "r_revision",
            declared.revision.as_deref().unwrap_or_default(),
        ),
        ("r_origin", folder_with_it),
    ] {
        let _ = writeln!(script, "{name}={}", quote(value));
    }
    script.push('\n');
    for part in [LISTING, NOTE, include_str!("import.sh")] {
        script.push_str(part);
    }
    RunScript {
        doing: "copying".to_owned(),
        script,
        secrets: BTreeMap::new(),
        lock: lock(declared, found),
        // A file is read three times, and one may be large.
        patience: 5 * PATIENCE,
        attempts: 1,
        log_reader: LogReader::Hub,
    }
}

/// Notes what came of a fetch that went well: where that is no whole model, the next one would bring
/// no other.
const NOTE: &str = include_str!("note.sh");

/// The file of [`NOTE`].
pub(super) fn note(declared: &ModelDeclaration, found: &Cached) -> String {
    let (cache, folder, revision) = (&found.cache, folder(declared), &found.revision);
    format!("{cache}/.locks/{folder}/replica.{revision}.fetched")
}

/// The file whose lock keeps those apart that change one model in one cache.
pub(super) fn lock(declared: &ModelDeclaration, found: &Cached) -> String {
    format!("{}/.locks/{}/replica.lock", found.cache, folder(declared))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::resource::facts::{Facts, Question};
    use crate::resource::model::cached::{fact, id};
    use crate::resource::model::{Wanted, Weights};

    /// A tool that brings what is in the folder `hub`, as the hub's own does.
    const HF: &str = "#!/bin/sh
echo fetched >>\"$HOME/log\"
to=$HF_HUB_CACHE/models--o--m
mkdir -p \"$to/refs\" \"$to/snapshots/abc\"
printf abc >\"$to/refs/main\"
cp -R \"$HOME/hub/.\" \"$to/snapshots/abc\"
";

    fn run(home: &Path, script: &str) -> String {
        let output = Command::new("/bin/sh")
            .args(["-c", script])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", home)
            .env("r_attempt", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn looked(home: &Path, declared: &ModelDeclaration) -> Cached {
        let Question::Script(script) = fact(declared).question else {
            panic!("it is asked by a script");
        };
        let facts: Facts = [(id(declared), run(home, &script))].into_iter().collect();
        Cached::read(declared, &facts)
    }

    /// What came of a fetch is known until it is another.
    #[test]
    fn a_fetch_notes_what_came_of_it() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let (bin, hub) = (home.join("v/bin"), home.join("hub"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(&hub).unwrap();
        fs::write(bin.join("hf"), HF).unwrap();
        fs::set_permissions(bin.join("hf"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(hub.join("config.json"), "{}").unwrap();
        fs::write(hub.join("tokenizer.json"), "{}").unwrap();
        let declared = ModelDeclaration {
            repo: "o/m".to_owned(),
            ..ModelDeclaration::default()
        };
        let fetch = || {
            let script = work(&declared, &looked(&home, &declared), &[], "~/v").script;
            run(&home, &script)
        };
        let wanted = [Wanted::Weights(Weights::served())].into_iter().collect();

        assert_eq!(looked(&home, &declared).fetched_from, None);
        fetch();
        let found = looked(&home, &declared);
        assert_eq!(found.fetched_from.as_deref(), Some("the hub"));
        assert!(!found.is_whole(&declared, &wanted), "it has no weights");
        assert!(Path::new(&note(&declared, &found)).exists());

        // Somebody took something away: that can be fetched again.
        fs::remove_file(Path::new(&found.path).join("tokenizer.json")).unwrap();
        assert_eq!(looked(&home, &declared).fetched_from, None);
        fs::write(hub.join("model.bin"), b"\x80\x02}q.").unwrap();
        fetch();
        assert!(looked(&home, &declared).is_whole(&declared, &wanted));
    }
}
