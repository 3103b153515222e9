//! Plans in files: `plan --out FILE` writes one, `apply FILE` carries out exactly that, or refuses.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Global;
use super::error::Error;
use super::workspace::{Wish, Workspace};
use crate::converge::Selection;
use crate::manifest::Given;
use crate::plan::{Outline, Plan};
use crate::resource::Replaced;

/// What a file of a plan says first.
const FORMAT: &str = "replica.saved-plan/1";
/// No plan is near this size; a file that is, is another file.
const MOST_BYTES: u64 = 64 << 20;

/// A plan as a file holds it: what was asked for of which manifest, and what that came to. There is no
/// secret in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedPlan {
    format: String,
    /// The version that decided it: another may decide otherwise.
    replica: String,
    /// The file of the manifest, absolute.
    manifest: PathBuf,
    /// The digest of its bytes, and of the variables in it.
    manifest_sha256: String,
    /// What was filled in in it: the same again, whatever the environment says by then.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    pub(super) command: Command,
    plan: Outline,
}

/// What was asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    /// Whether everything is to go.
    pub(super) destroy: bool,
    /// Whether nothing is to be measured.
    pub(super) no_bench: bool,
    allow_downtime: bool,
    selection: Selection,
    replaced: Replaced,
}

impl SavedPlan {
    /// The plan of a workspace's wish.
    ///
    /// # Errors
    ///
    /// When the manifest is no file that could be read again.
    pub(super) fn of(workspace: &Workspace, wish: &Wish<'_>, plan: &Plan) -> Result<Self, Error> {
        let manifest = &workspace.manifest;
        let path = fs::canonicalize(&manifest.path);
        let path = path.ok().filter(|path| path.is_file()).ok_or_else(|| {
            Error::Usage(format!(
                "{} is no file, and could not be read again when the plan is applied",
                workspace.file()
            ))
        })?;
        let (selection, replaced) = wish.asked();
        Ok(Self {
            format: FORMAT.to_owned(),
            replica: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: path,
            manifest_sha256: manifest.sha256.clone(),
            variables: manifest.variables.clone(),
            command: Command {
                destroy: wish.is_destruction(),
                no_bench: !wish.measures(),
                allow_downtime: wish.allows_downtime(),
                selection: selection.clone(),
                replaced: replaced.clone(),
            },
            plan: Outline::of(plan),
        })
    }

    /// What every command takes, with the variables that it was planned with.
    pub(super) fn global(&self, global: &Global) -> Global {
        Global {
            variables: Given::as_taken(&self.variables),
            ..global.clone()
        }
    }

    /// Writes it for its user alone.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let written = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut text = serde_json::to_string_pretty(self)?;
            text.push('\n');
            options.open(path)?.write_all(text.as_bytes())
        };
        written().map_err(|source| Error::Here {
            what: format!("the plan cannot be written to {}", path.display()),
            source,
        })
    }

    /// The plan of a file, where it holds one; nothing where it holds anything else, as a manifest.
    ///
    /// # Errors
    ///
    /// When another version of `replica` wrote it.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let is_file = |found: fs::Metadata| found.is_file() && found.len() < MOST_BYTES;
        if !path.metadata().is_ok_and(is_file) {
            return Ok(None);
        }
        let Ok(document) = fs::read(path).and_then(|it| Ok(serde_json::from_slice::<Value>(&it)?))
        else {
            return Ok(None);
        };
        let word = |key: &str| document[key].as_str().unwrap_or_default();
        if !word("format").starts_with("replica.saved-plan/") {
            return Ok(None);
        }
        let ours = env!("CARGO_PKG_VERSION");
        if word("format") != FORMAT || word("replica") != ours {
            let message = format!(
                "{} was written by replica {}, and this is {ours}, which may decide otherwise",
                path.display(),
                word("replica"),
            );
            return Err(Error::refused(message, "plan again"));
        }
        match serde_json::from_value(document) {
            Ok(saved) => Ok(Some(saved)),
            Err(why) => {
                let message = format!("{} is no whole plan: {why}", path.display());
                Err(Error::refused(message, "plan again"))
            }
        }
    }

    /// The file of the manifest that it is of.
    pub(super) fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// What it asks for.
    pub(super) fn wish<'a>(&self, workspace: &'a Workspace) -> Wish<'a> {
        let wish = match &self.command {
            Command { destroy: true, .. } => workspace.destroyed(),
            Command { no_bench: true, .. } => workspace.without_benchmarks(),
            Command { .. } => workspace.as_declared(),
        };
        let Command {
            selection,
            replaced,
            allow_downtime,
            ..
        } = self.command.clone();
        wish.only(selection)
            .replacing(replaced)
            .allowing_downtime(allow_downtime)
    }

    /// Holds it against what is decided now.
    ///
    /// # Errors
    ///
    /// When anything that it rests on is not as it was.
    pub(super) fn holds(
        &self,
        file: &Path,
        workspace: &Workspace,
        now: &Plan,
    ) -> Result<(), Error> {
        let file = file.display().to_string();
        if self.manifest_sha256 != workspace.manifest.sha256 {
            return Err(Error::Stale {
                file,
                changed: format!("{} was changed since", self.manifest.display()),
                moved: Vec::new(),
            });
        }
        let moved = self.plan.moved(now);
        if moved.is_empty() {
            return Ok(());
        }
        Err(Error::Stale {
            file,
            changed: "what it rests on is not as it was".to_owned(),
            moved,
        })
    }
}
