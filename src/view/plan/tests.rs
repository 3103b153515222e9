//! Plans as transcripts.

use serde_json::{Value, json};

use super::*;
use crate::plan::{Address, Failure, Field, Planned, Reason, ReasonCode};

fn change(address: &str, action: Action, reasons: &[&str]) -> Change {
    let address: Address = address.parse().unwrap();
    let reasons = reasons
        .iter()
        .map(|text| Reason::new(ReasonCode::Differs, *text));
    Change::new(&address, action, reasons.collect())
}

fn keep(address: &str, summary: &str) -> Change {
    Change::keep(&address.parse().unwrap(), summary)
}

fn field(path: &str, old: Value, new: Value, forces_replacement: bool) -> Field {
    Field {
        path: path.to_owned(),
        old: (!old.is_null()).then_some(old),
        new: Planned::Known(new),
        forces_replacement,
    }
}

fn pid(old: u32) -> Field {
    Field {
        path: "pid".to_owned(),
        old: Some(json!(old)),
        new: Planned::AfterApply,
        forces_replacement: false,
    }
}

fn plan(changes: Vec<Change>) -> Plan {
    Plan {
        changes,
        ..Plan::default()
    }
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn rendered(plan: &Plan) -> String {
    render(plan, "topology.yaml", Style::plain())
}

#[test]
fn everything_is_created_from_nothing() {
    let plan = plan(vec![
        change("here/program", Action::Create, &["not there"]).described("9f2c01, 14.2 MB"),
        change("here/instance.b", Action::Create, &["not running"])
            .described("simulated, port 8200"),
        change("here/instance.a", Action::Create, &["not running"])
            .described("simulated, port 8100"),
        change("here/proxy", Action::Create, &["not running"])
            .described("round_robin over a and b, port 8192"),
        change(
            "benchmark.batch",
            Action::Create,
            &["no result for this fingerprint"],
        ),
    ]);
    insta::assert_snapshot!(rendered(&plan), @"
    + create, or measure

    here
        + instance.a  not running   simulated, port 8100
        + instance.b  not running   simulated, port 8200
        + program     not there     9f2c01, 14.2 MB
        + proxy       not running   round_robin over a and b, port 8192

    measured from here
        + benchmark.batch  no result for this fingerprint

    Plan: 4 to create, 0 to update, 0 to replace, 0 to destroy, 1 to measure, 0 kept.
    ");
}

#[test]
fn a_replacement_says_which_field_forces_it() {
    let plan = plan(vec![
        keep("spark-01/engine.cu130", "0.13.0+cu130, as declared"),
        keep("spark-01/model.llama", "0e9e39f2, 16.1 GB"),
        change(
            "spark-01/instance.a",
            Action::Replace,
            &["vLLM arguments differ"],
        )
        .described("pid 963810, up 3d04h")
        .with_fields(vec![
            field("args.max_num_seqs", json!(64), json!(128), true),
            field("args.gpu_memory_utilization", json!(0.3), json!(0.35), true),
            field("drain.grace_s", json!(30), json!(10), false),
            pid(963_810),
        ]),
        change(
            "controller/proxy",
            Action::Update,
            &["spark-01/instance.a changes first"],
        ),
    ]);
    insta::assert_snapshot!(rendered(&plan), @r"
    ~ update in place   -/+ replace: stop, then start

    controller
        ~ proxy  spark-01/instance.a changes first

    spark-01
        = 2 kept
      -/+ instance.a  vLLM arguments differ   pid 963810, up 3d04h
            ~ args.max_num_seqs:           64 -> 128   # forces replacement
            ~ args.gpu_memory_utilization: 0.3 -> 0.35   # forces replacement
            ~ drain.grace_s:               30 -> 10
            ~ pid:                         963810 -> (known after apply)

    Plan: 0 to create, 1 to update, 1 to replace, 0 to destroy, 2 kept.
    ");
}

#[test]
fn a_proxy_changes_its_policy_and_backends_in_place() {
    let plan = plan(vec![
        change(
            "controller/proxy",
            Action::Update,
            &["policy and backends differ"],
        )
        .described("pid 4711, port 8192, no restart")
        .with_fields(vec![
            field(
                "policy",
                json!("round_robin"),
                json!({"prefix": {"block": 64}}),
                false,
            ),
            field("backends", json!(["a"]), json!(["a", "b"]), false),
            field("generation", json!(4), json!(5), false),
        ]),
        keep("spark-01/instance.a", "pid 963810, port 8100"),
    ]);
    insta::assert_snapshot!(rendered(&plan), @r#"
    ~ update in place

    controller
        ~ proxy  policy and backends differ   pid 4711, port 8192, no restart
            ~ policy:     round_robin -> {"prefix":{"block":64}}
            ~ backends:   ["a"] -> ["a","b"]
            ~ generation: 4 -> 5

    spark-01
        = 1 kept

    Plan: 0 to create, 1 to update, 0 to replace, 0 to destroy, 1 kept.
    "#);
}

#[test]
fn what_is_no_longer_declared_is_destroyed_and_orphans_are_reaped() {
    let plan = plan(vec![
        change("controller/proxy", Action::Destroy, &["not declared"]).described("pid 4711, port 8192"),
        change("spark-01/instance.a", Action::Destroy, &["not declared"]).described("pid 963810, port 8100"),
        change(
            "spark-02/instance.b",
            Action::Destroy,
            &["its API server is gone and 2 processes of its session live on, holding 35.9 GB of memory"],
        )
        .described("pids 51235 and 51301"),
    ]);
    insta::assert_snapshot!(rendered(&plan), @r"
    - destroy

    controller
        - proxy  not declared   pid 4711, port 8192

    spark-01
        - instance.a  not declared   pid 963810, port 8100

    spark-02
        - instance.b  its API server is gone and 2 processes of its session live on, holding 35.9 GB of memory   pids 51235 and 51301

    Plan: 0 to create, 0 to update, 0 to replace, 3 to destroy, 0 kept.
    ");
}

#[test]
fn a_foreign_process_blocks_what_it_stands_in_the_way_of() {
    let mut plan = plan(vec![
        keep("spark-01/engine.cu130", "0.13.0+cu130"),
        change(
            "spark-01/instance.a",
            Action::Blocked,
            &["port 8100 is taken by pid 51234 (nvidia, since 09:58), which replica did not start"],
        ),
        change(
            "controller/proxy",
            Action::Blocked,
            &["needs spark-01/instance.a"],
        ),
    ]);
    plan.unmanaged.push(
        "spark-01: pid 51234, nvidia, since 09:58: vllm serve meta-llama/Llama-3.1-8B-Instruct --port 8100 \
         --gpu-memory-utilization 0.9\x1b[2J"
            .to_owned(),
    );
    insta::assert_snapshot!(rendered(&plan), @r"
    Blocked, and left as they are:
        ! controller/proxy     needs spark-01/instance.a
        ! spark-01/instance.a  port 8100 is taken by pid 51234 (nvidia, since 09:58), which replica did not start

    Not ours, and left alone:
        ! spark-01: pid 51234, nvidia, since 09:58: vllm serve meta-llama/Llama-3.1-8B-Instruct --port 8100 --gpu-memory-utilization 0.9\x1b[2J

    Plan: 0 to create, 0 to update, 0 to replace, 0 to destroy, 1 kept, 2 blocked.
    ");
}

#[test]
fn an_unreachable_node_is_unknown_and_not_absent() {
    let mut some = plan(vec![change(
        "spark-01/instance.a",
        Action::Create,
        &["not running"],
    )]);
    some.unreachable.push((
        node("spark-02"),
        Failure::new("no answer from 192.168.1.77:22 in 10 s"),
    ));
    insta::assert_snapshot!(rendered(&some), @r"
    + create

    spark-01
        + instance.a  not running

    Unreachable: unknown, not absent: nothing is planned there.
        ! spark-02: no answer from 192.168.1.77:22 in 10 s

    Plan: 1 to create, 0 to update, 0 to replace, 0 to destroy, 0 kept. 1 node unreachable.
    ");
    some.changes = vec![keep("spark-01/instance.a", "pid 1")];
    insta::assert_snapshot!(rendered(&some), @r"
    Unreachable: unknown, not absent: nothing is planned there.
        ! spark-02: no answer from 192.168.1.77:22 in 10 s

    No changes are planned: spark-01 matches topology.yaml (1 instance), spark-02 did not answer.
    ");
}

#[test]
fn what_is_converged_is_one_line_and_more_for_those_who_ask() {
    let plan = plan(vec![
        keep("spark-01/engine.cu130", "0.13.0+cu130, as declared"),
        keep("spark-01/instance.a", "pid 963810, port 8100"),
        keep("spark-02/instance.b", "pid 51234, port 8200"),
        keep("controller/proxy", "pid 4711, port 8192, generation 4"),
    ]);
    insta::assert_snapshot!(rendered(&plan), @"No changes. controller, spark-01 and spark-02 match topology.yaml (1 engine, 2 instances, 1 proxy).");
    let verbose = Style {
        verbose: true,
        ..Style::plain()
    };
    insta::assert_snapshot!(render(&plan, "topology.yaml", verbose), @r"
    controller
        = proxy  pid 4711, port 8192, generation 4

    spark-01
        = engine.cu130  0.13.0+cu130, as declared
        = instance.a    pid 963810, port 8100

    spark-02
        = instance.b  pid 51234, port 8200

    No changes. controller, spark-01 and spark-02 match topology.yaml (1 engine, 2 instances, 1 proxy).
    ");
}

#[test]
fn a_narrow_terminal_breaks_reasons_under_themselves() {
    let plan = plan(vec![
        change(
            "spark-01/instance.a",
            Action::Replace,
            &[
                "vLLM arguments differ",
                "its engine changes first: spark-01/engine.cu130",
            ],
        )
        .described("pid 963810, port 8100, up 3d04h")
        .with_fields(vec![field(
            "args.compilation_config",
            json!({"mode": 3, "cudagraph_mode": "FULL"}),
            json!({"mode": 3, "cudagraph_mode": "PIECEWISE"}),
            true,
        )]),
    ]);
    let narrow = Style {
        width: 60,
        folds: true,
        ..Style::plain()
    };
    insta::assert_snapshot!(render(&plan, "topology.yaml", narrow), @r#"
    -/+ replace: stop, then start

    spark-01
      -/+ instance.a  vLLM arguments differ; its engine changes
                      first: spark-01/engine.cu130
                      pid 963810, port 8100, up 3d04h
            ~ args.compilation_config:   # forces replacement
                {
              -   "cudagraph_mode": "FULL",
              +   "cudagraph_mode": "PIECEWISE",
                  "mode": 3
                }

    Plan: 0 to create, 0 to update, 1 to replace, 0 to destroy,
    0 kept.
    "#);
}

#[test]
fn colour_changes_nothing_but_colour() {
    let mut plan = plan(vec![
        keep("a/program", "x"),
        change("a/instance.a", Action::Replace, &["differs"])
            .described("pid 1")
            .with_fields(vec![field("args.x", json!(1), json!(2), true)]),
    ]);
    plan.unmanaged.push("a: pid 7".to_owned());
    let coloured = Style {
        colour: true,
        ..Style::plain()
    };
    let coloured = render(&plan, "topology.yaml", coloured);
    assert!(coloured.contains('\x1b'));
    assert_eq!(
        anstream::adapter::strip_str(&coloured).to_string(),
        rendered(&plan)
    );
}

#[test]
fn of_many_strangers_only_some_are_told_of_unasked() {
    let plan = Plan {
        unmanaged: (1..=5).map(|n| format!("pid {n}")).collect(),
        ..Plan::default()
    };
    let told = render(&plan, "t.yaml", Style::plain());
    assert!(
        told.contains("left alone (5):") && told.contains("pid 3"),
        "{told}"
    );
    assert!(
        told.contains("and 2 more; -v shows all") && !told.contains("pid 4"),
        "{told}"
    );
    let verbose = Style {
        verbose: true,
        ..Style::plain()
    };
    let told = render(&plan, "t.yaml", verbose);
    assert!(told.contains("pid 5") && !told.contains("more"), "{told}");
}

#[test]
fn what_an_apply_would_fail_by_is_told_with_what_mends_it() {
    let mut plan = plan(vec![change(
        "spark-01/instance.a",
        Action::Create,
        &["it does not run"],
    )]);
    plan.warnings.push(Warning {
        id: "E1".to_owned(),
        nodes: vec!["spark-01".parse().unwrap()],
        text: "driver 570".to_owned(),
        hint: "sudo apt install x".to_owned(),
    });
    let text = render(&plan, "topology.yaml", Style::plain());
    let told = "Likely to fail (`replica doctor` says why):\n    ! spark-01: driver 570 (E1); do: sudo apt install x\n";
    assert!(text.contains(told), "{text}");
}
