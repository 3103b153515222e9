//! Versions as PEP 440 compares them, and what they tell of the CUDA that a build is for.

use std::str::FromStr;

use pep440_rs::{Operator, Version, VersionSpecifier};

/// Whether a version is the declared one: a declared build variant must be there, and none
/// declared is content with any.
///
/// Of vLLM, the build without a variant is the CUDA 13 one from 0.20 on, and there is none that
/// says `+cu130`; before, it is a CUDA 12 one.
pub(super) fn satisfies(name: &str, found: &str, declared: &str) -> bool {
    let (Ok(found), Ok(declared)) = (Version::from_str(found), Version::from_str(declared)) else {
        return found == declared;
    };
    if !found.is_local() && is_suffix_needless(name, &declared) {
        return declared.without_local() == found;
    }
    VersionSpecifier::from_version(Operator::Equal, declared)
        .is_ok_and(|specifier| specifier.contains(&found))
}

/// What an installer is asked for: the version with its build, where there is such a build.
pub(super) fn pin(name: &str, declared: &str) -> String {
    match Version::from_str(declared) {
        Ok(version) if is_suffix_needless(name, &version) => {
            format!("{name}=={}", version.without_local())
        }
        _ => format!("{name}=={declared}"),
    }
}

fn is_suffix_needless(name: &str, declared: &Version) -> bool {
    name == "vllm"
        && declared.release() >= [0, 20].as_slice()
        && declared.to_string().ends_with("+cu130")
}

/// Whether two versions are builds of one release.
pub(super) fn is_same_release(one: &str, other: &str) -> bool {
    match (Version::from_str(one), Version::from_str(other)) {
        (Ok(one), Ok(other)) => one.without_local() == other.without_local(),
        _ => false,
    }
}

/// Whether a text is a version at all: what stands in a file of a node may be anything.
pub(super) fn is_version(text: &str) -> bool {
    Version::from_str(text).is_ok()
}

/// The major version of CUDA that a build variant names: 13 of `0.13.0+cu130`.
pub(super) fn labelled(version: &str) -> Option<u32> {
    let (_, local) = version.split_once('+')?;
    let digits = local.strip_prefix("cu")?;
    let number: u32 = digits.get(..3)?.parse().ok()?;
    Some(number / 10)
}

/// The major version of CUDA that a version of vLLM is built for, where it is known.
pub(crate) fn cuda_of_vllm(version: &str) -> Option<u32> {
    if version.contains('+') {
        return labelled(version);
    }
    let version = Version::from_str(version).ok()?;
    Some(if version.release() >= [0, 20].as_slice() {
        13
    } else {
        12
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_variant_is_part_of_the_version() {
        let cases = [
            ("vllm", "0.13.0+cu130", "0.13.0+cu130", true),
            ("vllm", "0.13.0", "0.13.0+cu130", false),
            ("vllm", "0.13.0+cu129", "0.13.0+cu130", false),
            ("vllm", "0.13.0+cu130", "0.13.0", true),
            ("vllm", "0.20.2", "0.20.2+cu130", true),
            ("vllm", "0.20.2+cu129", "0.20.2+cu130", false),
            ("vllm", "0.19.1", "0.19.1+cu130", false),
            ("torch", "2.9.1", "2.9.1+cu130", false),
            ("torch", "2.9.1+cu128", "2.9.1", true),
            ("torch", "2.9.0", "2.9.1", false),
        ];
        for (name, found, declared, want) in cases {
            assert_eq!(satisfies(name, found, declared), want, "{found} {declared}");
        }
        assert_eq!(pin("vllm", "0.13.0+cu130"), "vllm==0.13.0+cu130");
        assert_eq!(pin("vllm", "0.20.2+cu130"), "vllm==0.20.2");
        assert_eq!(pin("torch", "2.11.0+cu130"), "torch==2.11.0+cu130");
    }

    #[test]
    fn the_cuda_of_a_build_follows_from_its_version() {
        let cases = [
            ("0.13.0", Some(12)),
            ("0.13.0+cu130", Some(13)),
            ("0.19.1", Some(12)),
            ("0.20.0", Some(13)),
            ("0.24.0+cu129", Some(12)),
            ("0.13.0+cpu", None),
            ("dev", None),
        ];
        for (version, want) in cases {
            assert_eq!(cuda_of_vllm(version), want, "{version}");
        }
        assert_eq!(labelled("2.9.1+cu118"), Some(11));
        assert_eq!(labelled("2.9.1"), None);
    }
}
