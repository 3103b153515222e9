//! What most commands begin with: the manifest, the nodes, and a look at them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Global;
use super::error::Error;
use super::lock;
use super::origin::origin;
use crate::converge::{
    self, Desired, Live, Selection, World as _, assess, decide, keep_serving, repair_first,
};
use crate::doctor;
use crate::manifest::{self, Manifest, Severity};
use crate::name::NodeName;
use crate::node::{ConnectOptions, Fleet, Lease, variable};
use crate::plan::effect::Upload;
use crate::plan::{Address, Change, Failure, ManifestOrigin, Plan, Reason, ReasonCode, Stand};
use crate::resource::program::Binaries;
use crate::resource::{
    Asked, Catalogue, Drains, Fact, NodeFiles, Observation, Paths, Replaced, Resource, StateFolder,
    Topology, Undeclared,
};
use crate::view::Screen;

/// A manifest and its nodes, connected.
pub(super) struct Workspace {
    pub(super) manifest: Manifest,
    pub(super) fleet: Fleet,
    binaries: Arc<Binaries>,
    paths: Paths,
    screen: Screen,
    /// How long to wait for a lock that another run has.
    patience: Duration,
    /// How many changes are made at once; nothing for all that wait for nothing.
    pub(super) parallelism: Option<NonZeroUsize>,
    /// The nodes that cannot be locked, each with why, once that was tried.
    unlockable: OnceLock<BTreeMap<NodeName, String>>,
    /// The locks that are held, once they are.
    leases: OnceLock<BTreeMap<NodeName, Lease>>,
}

impl Workspace {
    /// Reads the manifest and looks at the files that it names, then connects to its nodes.
    pub(super) async fn open(
        global: &Global,
        file: Option<&Path>,
        screen: &Screen,
    ) -> Result<Self, Error> {
        let manifest = manifest::load(&manifest::find(file)?, global.variables())?;
        Self::connect(global, manifest, screen).await
    }

    /// The same for whoever measures nothing.
    pub(super) async fn open_alone(
        global: &Global,
        file: Option<&Path>,
        screen: &Screen,
    ) -> Result<Self, Error> {
        let manifest = manifest::load_alone(&manifest::find(file)?, global.variables())?;
        Self::connect(global, manifest, screen).await
    }

    async fn connect(global: &Global, manifest: Manifest, screen: &Screen) -> Result<Self, Error> {
        let topology = &manifest.topology;
        // What a server tells of them is not told on, by commands that need none of them either.
        for source in topology.secrets() {
            let _ = variable(source);
        }
        let binaries = crate::resource::binaries(topology, global.programs.as_deref());
        let binaries = binaries.map_err(|source| Error::Here {
            what: match &global.programs {
                Some(folder) => format!("no replica binaries can be read in {}", folder.display()),
                None => "the replica binaries for the nodes cannot be read".to_owned(),
            },
            source,
        })?;
        if let Some(file) = &global.ssh_config
            && let Err(source) = std::fs::File::open(file)
        {
            let what = format!("the SSH configuration {} cannot be read", file.display());
            return Err(Error::Here { what, source });
        }
        let options = ConnectOptions {
            ssh_config: global.ssh_config.clone(),
            ..ConnectOptions::default()
        };
        let fleet = Fleet::connect(&topology.nodes, &options).await;
        for (node, hint) in fleet.hints() {
            screen.warning(&format!("{node}: {hint}"));
        }
        let results = results_folder(global, &manifest);
        let is_measured = !topology.benchmarks.is_empty();
        Ok(Self {
            paths: Paths {
                origin: if is_measured {
                    Some(origin(&manifest).await)
                } else {
                    None
                },
                manifest: manifest.folder.clone(),
                results,
            },
            binaries,
            fleet,
            manifest,
            screen: screen.clone(),
            patience: global.lock_timeout.duration(),
            parallelism: global.parallelism,
            unlockable: OnceLock::new(),
            leases: OnceLock::new(),
        })
    }

    /// The same, connected anew: a node that was away may be back.
    pub(super) async fn again(&self, global: &Global) -> Result<Self, Error> {
        Self::connect(global, self.manifest.clone(), &self.screen).await
    }

    /// The same nodes, with another topology on them; the locks are held for both.
    pub(super) fn arm(&self, topology: &Topology) -> Self {
        Self {
            manifest: Manifest {
                topology: topology.clone(),
                ..self.manifest.clone()
            },
            fleet: self.fleet.clone(),
            binaries: Arc::clone(&self.binaries),
            paths: self.paths.clone(),
            screen: self.screen.clone(),
            patience: self.patience,
            parallelism: self.parallelism,
            unlockable: self.unlockable.clone(),
            leases: self.leases.clone(),
        }
    }

    /// The folder of results.
    pub(super) fn results(&self) -> &Path {
        &self.paths.results
    }

    /// Where the manifest comes from, for results.
    pub(super) fn origin(&self) -> Option<&ManifestOrigin> {
        self.paths.origin.as_ref()
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.manifest.topology
    }

    /// Says what is odd in the manifest, where a plan is shown.
    pub(super) fn remark(&self, screen: &Screen) {
        remark(&self.manifest, screen);
    }

    /// The manifest's file, as the user named it.
    pub(super) fn file(&self) -> String {
        self.manifest.path.display().to_string()
    }

    /// Does the work while this topology is locked on every node that was reached, and can be: on
    /// the others nothing is planned from then on.
    pub(super) async fn locked<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let topology = self.topology().name.as_str();
        let locks = lock::take(&self.fleet, topology, &self.screen, self.patience).await?;
        let _ = self.unlockable.set(locks.without.clone());
        let _ = self.leases.set(locks.held.clone());
        let done = work.await;
        locks.release().await;
        done
    }

    /// Blocks a change on a node where another run could be at work just as well.
    fn keep_off_unlockable(&self, change: &mut Change) {
        let why = self.unlockable.get().zip(change.node.as_ref());
        let why = why.and_then(|(unlockable, node)| unlockable.get(node));
        if let Some(why) = why.filter(|_| change.action.acts()) {
            let reason = Reason::new(
                ReasonCode::NotLocked,
                format!("no lock is to be had: {why}"),
            );
            let summary = std::mem::take(&mut change.summary);
            *change = Change::blocked(&change.address, reason).described(summary);
        }
    }

    /// The program for a node, to be put there under a name that begins so and is no one else's.
    ///
    /// # Errors
    ///
    /// When none at hand fits the node.
    pub(super) fn program(
        &self,
        node: &NodeName,
        name: &str,
        observed: &Observation,
    ) -> Result<Upload, Failure> {
        let folder = StateFolder::of(self.topology().name.as_str());
        let files = observed
            .of(node)
            .map(|facts| NodeFiles::read(&folder, facts));
        let system = files.map(|files| files.system.clone()).unwrap_or_default();
        let binary = self.binaries.fitting(&system).ok_or_else(|| {
            let missing = self.binaries.missing(&system);
            Failure {
                hint: missing.hint,
                ..Failure::new(format!("{node}: {}", missing.text))
            }
        })?;
        Ok(Upload {
            source: binary.path.clone(),
            target: folder.binary(&format!("{name}.{:016x}", fastrand::u64(..))),
        })
    }

    /// What the manifest declares, and nothing else of ours.
    pub(super) fn as_declared(&self) -> Wish<'_> {
        self.wish(Wanted::Everything)
    }

    /// The same without its measurements.
    pub(super) fn without_benchmarks(&self) -> Wish<'_> {
        self.wish(Wanted::NoBenchmarks)
    }

    /// Nothing of ours. What is not ours stays.
    pub(super) fn destroyed(&self) -> Wish<'_> {
        self.wish(Wanted::Nothing)
    }

    fn wish(&self, wanted: Wanted) -> Wish<'_> {
        Wish {
            workspace: self,
            wanted,
            more: Vec::new(),
            selection: Selection::default(),
            asked: Asked::default(),
            allows_downtime: false,
        }
    }

    /// Asks every node what it is asked whatever is declared for it.
    pub(super) async fn observe(&self) -> Observation {
        let standing = self.destroyed().standing();
        self.live().observe(&[], &standing).await
    }

    /// Looks at every node and plans what is to be done.
    pub(super) async fn plan(&self, wish: &Wish<'_>) -> (Observation, Plan) {
        converge::plan(&self.live(), wish).await
    }

    /// Looks at every node for how everything stands, for the wish.
    pub(super) async fn stands(&self, wish: &Wish<'_>) -> Vec<Stand> {
        let resources = wish.resources();
        let observed = self.live().observe(&resources, &wish.standing()).await;
        let undeclared = wish.undeclared(&resources, &observed);
        wish.stands(&undeclared, &resources, &observed)
    }

    /// The nodes as they are.
    pub(super) fn live(&self) -> Live {
        let results = self.paths.results.join(self.topology().name.as_str());
        let screen = self.screen.clone();
        let waiting = move |address: &Address| {
            screen.note(&format!("waiting for {address} to show that it works"));
        };
        let leases = self.leases.get().cloned().unwrap_or_default();
        Live::new(self.fleet.clone(), results, Arc::new(waiting)).holding(leases)
    }
}

/// Where the results of a manifest lie.
pub(super) fn results_folder(global: &Global, manifest: &Manifest) -> PathBuf {
    match &global.results {
        Some(results) => results.clone(),
        None => manifest.folder.join("results"),
    }
}

/// Says what was filled in in a manifest, and what is odd in it.
pub(super) fn remark(manifest: &Manifest, screen: &Screen) {
    let file = manifest.path.display();
    if !manifest.variables.is_empty() {
        let filled = manifest.variables.iter();
        let filled: Vec<_> = filled
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        screen.note(&format!("{file}: {}", filled.join(", ")));
    }
    for remark in &manifest.remarks {
        let said = format!("{file}:{}: {}", remark.line, remark.message);
        match remark.severity {
            Severity::Note => screen.note(&said),
            Severity::Warning => screen.warning(&said),
        }
    }
}

/// What a command wants of the nodes of a workspace.
pub(super) struct Wish<'a> {
    workspace: &'a Workspace,
    wanted: Wanted,
    more: Vec<Fact>,
    /// What of it is chosen.
    selection: Selection,
    /// What was asked for beside what is declared.
    asked: Asked,
    /// Whether the last that serves may be stopped.
    allows_downtime: bool,
}

enum Wanted {
    Everything,
    NoBenchmarks,
    Nothing,
}

impl Wish<'_> {
    /// The same, for which every node is asked a little more.
    pub(super) fn asking(mut self, more: impl IntoIterator<Item = Fact>) -> Self {
        self.more.extend(more);
        self
    }

    /// The same, of which this is chosen.
    pub(super) fn only(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// The same, with this replaced though it is as declared.
    pub(super) fn replacing(mut self, replaced: Replaced) -> Self {
        self.asked.replaced = replaced;
        self
    }

    /// The same, with these drains, and nothing else of what they are asked of.
    pub(super) fn draining(mut self, drains: Drains) -> Self {
        self.asked.drains = drains;
        self
    }

    /// The same, for which the last that serves may be stopped.
    pub(super) fn allowing_downtime(mut self, allows: bool) -> Self {
        self.allows_downtime = allows;
        self
    }

    /// Whether the last that serves may be stopped.
    pub(super) fn allows_downtime(&self) -> bool {
        self.allows_downtime
    }

    /// What was asked for beside what is declared.
    pub(super) fn asked(&self) -> (&Selection, &Replaced) {
        (&self.selection, &self.asked.replaced)
    }

    /// Whether everything of ours is to go.
    pub(super) fn is_destruction(&self) -> bool {
        matches!(self.wanted, Wanted::Nothing)
    }

    /// Whether what is declared is to be measured.
    pub(super) fn measures(&self) -> bool {
        matches!(self.wanted, Wanted::Everything)
    }

    /// The things that the manifest declares, with the results that there are by now.
    pub(super) fn catalogue(&self) -> Catalogue {
        let Workspace {
            binaries, paths, ..
        } = self.workspace;
        Catalogue::asked(self.workspace.topology(), binaries, paths, &self.asked)
    }

    /// What is there and is not wanted.
    fn undeclared(&self, resources: &[Arc<dyn Resource>], observed: &Observation) -> Undeclared {
        let topology = self.workspace.topology();
        match self.wanted {
            Wanted::Nothing => Undeclared::all(topology, observed),
            Wanted::Everything | Wanted::NoBenchmarks => {
                Undeclared::beside(topology, resources, observed)
            }
        }
    }

    /// How everything stands.
    fn stands(
        &self,
        undeclared: &Undeclared,
        resources: &[Arc<dyn Resource>],
        observed: &Observation,
    ) -> Vec<Stand> {
        let all = [&undeclared.resources[..], resources].concat();
        let mut stands = assess(&all, observed);
        for stand in &mut stands {
            self.workspace.keep_off_unlockable(&mut stand.change);
        }
        stands
    }
}

impl Desired for Wish<'_> {
    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        let mut resources = match self.wanted {
            Wanted::Nothing => Vec::new(),
            Wanted::Everything | Wanted::NoBenchmarks => self.catalogue().resources(),
        };
        if matches!(self.wanted, Wanted::NoBenchmarks) {
            resources.retain(|resource| resource.address().node.is_some());
        }
        resources
    }

    fn standing(&self) -> Vec<Fact> {
        let mut standing = Undeclared::facts(self.workspace.topology());
        standing.extend_from_slice(&self.more);
        standing
    }

    fn plan(&self, resources: &[Arc<dyn Resource>], observed: &Observation) -> Plan {
        let undeclared = self.undeclared(resources, observed);
        let mut stands = self.stands(&undeclared, resources, observed);
        let left_out = self.selection.narrow(&mut stands);
        repair_first(&mut stands);
        if !self.allows_downtime {
            keep_serving(&mut stands);
        }
        let plan = left_out.of(decide(stands, observed));
        let warnings = if self.is_destruction() {
            Vec::new()
        } else {
            doctor::warnings(self.workspace.topology(), observed, &plan)
        };
        Plan {
            unmanaged: undeclared.unmanaged,
            warnings,
            ..plan
        }
    }
}
