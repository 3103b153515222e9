//! Values that come from the caller's environment: nowhere but in the process that needs them.

use std::fs;
use std::process::Command;

use super::laptop::{DEMO, Laptop, change, pending, reasons};
use super::stage::{scenario, until};

const SECRET: &str = "hf_lab_0123456789abcdef";

/// Notes every process whose command line holds the secret, its own left out.
const SAMPLER: &str = "\
touch /tmp/sampling
while [ -e /tmp/sampling ]; do
    grep -al '[h]f_lab_0123456789' /proc/[0-9]*/cmdline >>/tmp/seen 2>/dev/null
    echo >>/tmp/samples
done
";

/// A secret shows in no process list, plan, log, mark or result, and a changed one is noticed.
#[test]
#[expect(clippy::too_many_lines, reason = "a story from beginning to end")]
fn a_secret_reaches_its_process_and_shows_nowhere() {
    scenario("3", |lab| {
        let manifest = DEMO.replace(
            "port: 8200, ",
            "port: 8200, env: {HF_TOKEN: {from_env: HF_TOKEN}}, ",
        ) + "benchmarks:\n  one: {prompts: {inline: [Hello]}, load: {sequential: 1}, max_tokens: 8}\n";
        let mut laptop = Laptop::with(lab, &manifest);
        let plan = laptop.plan();
        let said = reasons(change(&plan, "spark-02/instance.b"));
        assert!(said.contains("HF_TOKEN, which is not set here"), "{said}");

        laptop.exports("HF_TOKEN", SECRET);
        let file = lab.folder().join("sampler");
        fs::write(&file, SAMPLER).unwrap();
        lab.install("spark-02", &file, "/opt/lab/sampler");
        lab.starts("spark-02", "sh /opt/lab/sampler");
        until("it samples", || {
            !lab.exec("spark-02", "cat /tmp/samples 2>/dev/null || true; echo .")
                .is_empty()
        });
        laptop.replica("plan").exits(0).hides(SECRET);
        laptop.replica("apply -y -vv").exits(0).hides(SECRET);
        laptop.replica("status -v").exits(0).hides(SECRET);
        laptop.replica("plan --json -v").exits(0).hides(SECRET);
        laptop
            .replica("logs topology.yaml instance.b")
            .exits(0)
            .hides(SECRET);
        lab.exec("spark-02", "rm /tmp/sampling");
        assert_eq!(
            lab.exec("spark-02", "cat /tmp/seen"),
            "",
            "no command line had it"
        );

        let b = lab.leader("spark-02", "instance/b");
        let environ = format!("tr '\\0' '\\n' </proc/{}/environ", b.pid);
        let environ = lab.exec("spark-02", &environ);
        let holding: Vec<_> = environ
            .lines()
            .filter(|line| line.contains(SECRET))
            .collect();
        assert_eq!(holding, [format!("HF_TOKEN={SECRET}")]);
        let found = lab.exec(
            "spark-02",
            &format!("grep -rlF {SECRET} /home /tmp /run /var 2>/dev/null || true"),
        );
        assert_eq!(found, "");
        let here = Command::new("grep")
            .args(["-rlF", SECRET])
            .arg(laptop.home())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&here.stdout), "");
        laptop.is_converged();

        laptop.exports("HF_TOKEN", "hf_lab_another");
        let plan = laptop.plan();
        assert_eq!(pending(&plan)[0], "replace spark-02/instance.b");
        let text = plan.to_string();
        assert!(
            !text.contains(SECRET) && !text.contains("hf_lab_another"),
            "{text}"
        );
    });
}
