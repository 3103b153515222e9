//! What was played by known physics is found again.

use serde_json::json;

use super::engine::MeasuredServer;
use super::*;
use crate::results::{Point, Record};
use crate::shape::Shape;
use crate::simulator::Pace;

/// Physics that is not like the default.
fn known() -> Pace {
    Pace {
        step_ms: vec![(1.0, 9.0), (8.0, 11.0)].into(),
        token_read: 1.5e-7,
        prompt_token: 4e-5,
        pair: 3e-9,
    }
}

/// A load, by its requests.
fn load(shape: serde_json::Value) -> Shape {
    serde_json::from_value(shape).unwrap()
}

/// What comes of a load of prompts and answers of these lengths, in turn.
fn played(shape: &Shape, lengths: &[(u64, u64)], servers: &[MeasuredServer]) -> Point {
    let lengths = lengths.iter().cycle().zip(0..64);
    let asked: Vec<Record> = lengths
        .map(|((prompt, answer), index)| {
            serde_json::from_value(json!({
                "index": index, "id": "x", "instance": null, "status": "ok", "http_status": 200,
                "error": null, "stamps": {"planned": 0, "ended": 0}, "n_in": prompt, "n_out": answer,
                "cached": null, "tokens": [], "coalesced_events": 0, "tokens_estimated": false,
                "finish": "length", "text_sha256": null,
            }))
            .unwrap()
        })
        .collect();
    let unmeasured = Point::of(shape, &[]);
    let load = Measured::of("x", &unmeasured, &asked, servers).unwrap();
    Point::of(shape, &load.played(&known()).unwrap().records)
}

/// The load of a result, which has the requests of that.
fn measured<'a>(
    point: &'a Point,
    lengths: &[(u64, u64)],
    servers: &'a [MeasuredServer],
) -> Measured<'a> {
    let mut of = Measured::of("x", point, &[], servers).unwrap();
    of.ask(lengths);
    of
}

fn loads() -> Vec<(Shape, Vec<(u64, u64)>)> {
    vec![
        (load(json!({"sequential": 4})), vec![(64, 40)]),
        (load(json!({"batch": 8})), vec![(64, 40)]),
        (load(json!({"batch": 8})), vec![(6000, 40)]),
        (load(json!({"sequential": 4})), vec![(2000, 8)]),
        (load(json!({"sequential": 2})), vec![(30_000, 8)]),
    ]
}

/// How far the simulation is off, of each figure of a load that was not fitted to.
fn held_out(pace: &Pace, servers: &[MeasuredServer]) -> Vec<f64> {
    let (shape, lengths) = (
        load(json!({"concurrency": 5, "requests": 20})),
        [(900, 30), (3000, 60)],
    );
    let point = played(&shape, &lengths, servers);
    let cell = measured(&point, &lengths, servers).cell(pace).unwrap();
    cell.figures.iter().map(FittedFigure::error).collect()
}

fn fitted(servers: &[MeasuredServer], loads: &[(Shape, Vec<(u64, u64)>)]) -> Fitted {
    let points = loads
        .iter()
        .map(|(shape, lengths)| played(shape, lengths, servers));
    let points: Vec<_> = points.collect();
    let loads = points.iter().zip(loads);
    let loads: Vec<_> = loads
        .map(|(point, (_, lengths))| measured(point, lengths, servers))
        .collect();
    fit_loads(&loads).unwrap()
}

#[test]
fn known_physics_is_found_and_predicts_what_was_held_out() {
    let servers = [MeasuredServer::known("a")];
    let fitted = fitted(&servers, &loads());
    assert_eq!(fitted.untold, []);
    let pairs = fitted.pace.unknowns().into_iter().zip(known().unknowns());
    for (found, meant) in pairs {
        assert!((found / meant - 1.0).abs() < 0.05, "{:?}", fitted.pace);
    }
    for error in held_out(&fitted.pace, &servers) {
        assert!(error.abs() < 0.03, "{error}");
    }
}

#[test]
fn short_prompts_do_not_tell_how_fast_prompts_are_read() {
    let servers = [MeasuredServer::known("a")];
    let short = &loads()[..2];
    let fitted = fitted(&servers, short);
    let untold: Vec<_> = fitted
        .untold
        .iter()
        .copied()
        .map(ProfileTerm::from)
        .collect();
    assert!(untold.contains(&ProfileTerm::Attention), "{untold:?}");
    assert!(untold.contains(&ProfileTerm::Context), "{untold:?}");
}

#[test]
fn results_of_unlike_engines_are_not_fitted_together() {
    let mut other = MeasuredServer::known("b");
    let one = MeasuredServer::known("a");
    assert!(one_engine([("x", &one), ("y", &other)]).is_ok());
    other.runs("0.14.0");
    let why = one_engine([("x.json", &one), ("y.json", &other)]).unwrap_err();
    assert_eq!(
        why.to_string(),
        "not one engine: a of x.json has {\"vllm\":\"0.13.0\"}, and b of y.json has {\"vllm\":\"0.14.0\"}"
    );
}
