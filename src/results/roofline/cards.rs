//! How fast common GPUs read their memory, by what their data sheets say.

/// GPUs as `nvidia-smi` names them, with the bandwidth of their memory in GB/s.
///
/// All are figures of NVIDIA's: the hardware overview of DGX Spark (GB10); the data sheets of A10,
/// A100 (40 GB and 80 GB, PCIe and SXM), H100 (PCIe, SXM, NVL), H200, L4, L40, L40S, T4, RTX 6000 Ada,
/// RTX PRO 6000 Blackwell (Workstation, Max-Q, Server), GH200, DGX B200 (64 TB/s of eight) and GB200
/// NVL72; the white papers of Ada (RTX 4090), GA102 (RTX 3090, A10G as A10) and RTX Blackwell (RTX
/// 5090). Where a name is that of several boards, the fastest is meant.
const CARDS: &[(&str, f64)] = &[
    ("NVIDIA GB10", 273.0),
    ("NVIDIA A10", 600.0),
    ("NVIDIA A10G", 600.0),
    ("NVIDIA A100-PCIE-40GB", 1555.0),
    ("NVIDIA A100-SXM4-40GB", 1555.0),
    ("NVIDIA A100 80GB PCIe", 1935.0),
    ("NVIDIA A100-SXM4-80GB", 2039.0),
    ("NVIDIA H100 PCIe", 2000.0),
    ("NVIDIA H100 80GB HBM3", 3350.0),
    ("NVIDIA H100 NVL", 3938.0),
    ("NVIDIA H200", 4800.0),
    ("NVIDIA H200 NVL", 4800.0),
    ("NVIDIA GH200 480GB", 4000.0),
    ("NVIDIA GH200 144G HBM3e", 4900.0),
    ("NVIDIA B200", 8000.0),
    ("NVIDIA GB200", 8000.0),
    ("NVIDIA L4", 300.0),
    ("NVIDIA L40", 864.0),
    ("NVIDIA L40S", 864.0),
    ("Tesla T4", 320.0),
    ("NVIDIA RTX 6000 Ada Generation", 960.0),
    ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 1792.0),
    (
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
        1792.0,
    ),
    ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 1597.0),
    ("NVIDIA GeForce RTX 3090", 936.0),
    ("NVIDIA GeForce RTX 4090", 1008.0),
    ("NVIDIA GeForce RTX 5090", 1792.0),
];

/// How fast a GPU of this name reads its memory, in GB/s, where that is known.
pub(super) fn memory_gb_s(name: &str) -> Option<f64> {
    let mut cards = CARDS.iter();
    let (_, gb_per_s) = cards.find(|(card, _)| *card == name.trim())?;
    Some(*gb_per_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_known_by_its_whole_name() {
        assert_eq!(memory_gb_s("NVIDIA GB10"), Some(273.0));
        assert_eq!(memory_gb_s("NVIDIA L4"), Some(300.0));
        assert_eq!(memory_gb_s("NVIDIA L40S"), Some(864.0));
        assert_eq!(memory_gb_s("NVIDIA H100"), None);
        let mut names: Vec<_> = CARDS.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), CARDS.len());
    }
}
