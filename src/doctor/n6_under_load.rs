//! N6: what holds a GPU back while it works. An idle one shows nothing of it: one that was asked `2223 MHz, 0 %`
//! went to 695 at `96 %` (hasso5703/dgx-spark-qwen38#8), as others to 500 to 850 MHz
//! (Blackwellboy/model-serving-minefield#55), at 30 W where those that are well draw about 90.

use serde_json::json;

use super::Case;
use super::finding::{Check, Found, Severity};
use super::loaded::{GpuLoad, Load};
use super::n1_held_down::{LOW, WORKS, reasons};

/// Whoever works at full use draws more than this, in W.
const STARVED: f64 = 30.0;

pub(super) const CHECK: Check = Check {
    id: "N6",
    name: "a GPU is held back at work",
    why: "It serves at a fraction of its speed as soon as it has to, and looks well while it is idle.",
    reported: Some("https://github.com/hasso5703/dgx-spark-qwen38/issues/8"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let loads = case.measured.loads.iter();
    loads
        .filter_map(|load| found(load, load.gpu.as_ref()?, case.is_unified(&load.node)))
        .collect()
}

fn found(load: &Load, gpu: &GpuLoad, is_gb10: bool) -> Option<Found> {
    let reasons = reasons(gpu.held_by);
    let is_busy = gpu.busy_percent.is_some_and(|busy| busy >= WORKS);
    let is_low = is_busy && gpu.clock_mhz.is_some_and(|clock| clock < LOW);
    // What others draw is theirs: the figure is of a GB10.
    let is_starved = is_gb10 && is_busy && gpu.power_w.is_some_and(|power| power <= STARVED);
    if reasons.is_empty() && !is_low && !is_starved {
        return None;
    }
    let figure = |value: Option<f64>, unit: &str| value.map(|it| format!("{it:.0} {unit}"));
    let figures = [
        figure(gpu.clock_mhz, "MHz"),
        figure(gpu.power_w, "W"),
        figure(gpu.heat_c, "°C"),
    ];
    let figures: Vec<String> = figures.into_iter().flatten().collect();
    let why = if reasons.is_empty() {
        "nothing says why".to_owned()
    } else {
        format!("held down by {}", reasons.join(" and "))
    };
    Some(Found {
        severity: Severity::Warning,
        nodes: vec![load.node.clone()],
        message: format!(
            "while `{}` answers, its GPU is at {}: {why}",
            load.instance,
            figures.join(", ")
        ),
        evidence: json!({"instance": load.instance, "gpu": gpu, "reasons": reasons}),
        hint: "use the power supply that came with it, let it cool; if it stays so, pull the plug for a minute (a reboot \
               is not enough), then `replica doctor --measure`"
            .to_owned(),
    })
}
