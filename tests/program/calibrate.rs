//! `memplan calibrate` where there is no GPU, and profiles in plans.

use serde_json::Value;

use crate::support::{Folder, assert_snapshot, json_of, memplan, report};

/// Figures made up for the tests; no GPU was measured. The date keeps it young.
const TEXT: &str = "\
memplan_profile: 1
measured: {gpu: NVIDIA H200, compute_capability: '9.0', driver: DRIVER, cuda: '12.8', date: 2126-11-20, command: memplan calibrate}
memory:
  total: 149000000000
  others: 0
  granularity: 2097152
  context: 500000000
  kernel: 502097152
  blas: 610000000
  pytorch: {tensor: 520000000, product: 640000000, convolution: 700000000, attention: 710000000}
speeds:
  overhead: 2.0e-06
  bandwidth: 4.0e+12
  rates: {fp32: 5.0e+13, bf16: 6.0e+14}
  error: {median: 0.04, most: 0.2}
";

/// The text, measured with the driver of the machine that tests, if it has one: another would be warned of.
fn profile() -> String {
    let module = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let is_version = |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    let driver = module.lines().next().and_then(|line| line.split_whitespace().find(is_version));
    TEXT.replace("DRIVER", driver.unwrap_or("570.86.15"))
}

/// Whatever is asked, a machine without a GPU says in one line what it lacks. A GPU that is there is hidden.
#[test]
fn without_a_gpu_one_line_says_what_is_missing() {
    for arguments in
        [&["calibrate"][..], &["calibrate", "--dry-run"], &["calibrate", "--replay", "gpt2"], &["calibrate", "--hold"]]
    {
        let output = memplan(arguments).env("CUDA_VISIBLE_DEVICES", "").output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(
            line.starts_with("memplan: error: no NVIDIA driver: ") || line.starts_with("memplan: error: no GPU: "),
            "{line}"
        );
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn a_profile_gives_memory_context_and_speeds() {
    let folder = Folder::new();
    folder.write("mine.yaml", profile());
    let path = folder.argument("mine.yaml");
    let asked = ["plan", "gpt2", "--format", "json"];
    let stated = json_of(&asked);
    let measured = json_of(&[&asked[..], &["--profile", &path]].concat());
    assert_eq!(measured["gpu"]["memory"], 149_000_000_000u64);
    assert_eq!(measured["gpu"]["memory_source"], "profile");
    assert_eq!(measured["outside_allocator"]["most"], 710_000_000);
    assert_eq!(measured["outside_allocator"]["least"], 710_000_000);
    assert_eq!(measured["step"]["measured"], true);
    assert_eq!(measured["step"]["profile"], "mine");
    assert_eq!(measured["step"]["flops"], stated["step"]["flops"]);
    let seconds = |report: &Value| report["step"]["seconds"].as_f64().unwrap();
    assert!(seconds(&measured) > seconds(&stated), "overheads take time");
    // the peaks are PyTorch's, whatever was measured
    assert_eq!(measured["peak_allocated"], stated["peak_allocated"]);
}

#[test]
fn a_plan_names_the_profile() {
    let folder = Folder::new();
    folder.write("mine.yaml", profile());
    let path = folder.argument("mine.yaml");
    assert_snapshot("plan_profile", &report(&["plan", "gpt2", "--mode", "infer", "--profile", &path]));
}

/// A profile in the user's folder is found by itself, and one that is named comes before it.
#[test]
fn the_user_s_folder_of_profiles_is_read() {
    let folder = Folder::new();
    folder.write("memplan/profiles/h200.yaml", profile());
    folder.write("other.yaml", profile().replace("149000000000", "148000000000"));
    let named = folder.argument("other.yaml");
    let memory = |more: &[&str]| {
        let mut command = memplan(&[&["plan", "gpt2", "--format", "json"], more].concat());
        let output = command.env("XDG_CONFIG_HOME", folder.join("")).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["gpu"]["memory"].as_u64().unwrap()
    };
    assert_eq!(memory(&[]), 149_000_000_000);
    assert_eq!(memory(&["--profile", &named]), 148_000_000_000);
    assert_eq!(
        memory(&["--gpu", "a100-80gb"]),
        json_of(&["plan", "gpt2", "--format", "json", "--gpu", "a100-80gb"])["gpu"]["memory"]
    );
}

#[test]
fn an_old_profile_is_doubted() {
    let folder = Folder::new();
    folder.write("mine.yaml", profile().replace("2126-11-20", "2020-01-01"));
    let path = folder.argument("mine.yaml");
    let output = memplan(&["plan", "gpt2", "--profile", &path]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(said.starts_with("memplan: warning: the profile mine is ") && said.contains(" days old"), "{said}");
}

#[test]
fn profiles_that_cannot_be_used_are_refused() {
    let folder = Folder::new();
    let said = |text: &str, more: &[&str]| {
        folder.write("mine.yaml", text);
        let path = folder.argument("mine.yaml");
        folder.error("profile", &[&["plan", "gpt2", "--profile", &path], more].concat())
    };
    let lines = [
        said(&profile(), &["--gpu", "a100-80gb"]),
        said(&profile().replace("H200", "H900"), &[]),
        said(&profile().replace("memplan_profile: 1", "memplan_profile: 7"), &[]),
        said(&profile().replace("bandwidth", "bandwith"), &[]),
        said(&profile().replace("4.0e+12", "0"), &[]),
        said("h200", &[]),
        folder.error("profile", &["plan", "gpt2", "--profile", "/no/such/file.yaml"]),
    ];
    assert_snapshot("errors_profiles", &lines.concat());
}

/// The same budgets, time in place of operations: what is recomputed takes no longer than any other choice's.
#[test]
fn checkpoints_are_chosen_by_time() {
    let asked = [
        "checkpoint",
        "gpt2",
        "--batch",
        "8",
        "--seq",
        "512",
        "--precision",
        "bf16",
        "--budget",
        "5GiB",
        "--granularity",
        "block",
    ];
    let by = |cost: &str| json_of(&[&asked[..], &["--cost", cost, "--format", "json"]].concat());
    let (flops, time) = (by("flops"), by("time"));
    assert_eq!((&flops["cost"], &time["cost"]), (&"flops".into(), &"time".into()));
    assert!(time["recompute_seconds"].as_f64() <= flops["recompute_seconds"].as_f64());
    assert!(flops["recompute_flops"].as_u64() <= time["recompute_flops"].as_u64());
    assert_eq!(time["measured_speeds"], false);
    assert!(time["lower_bound_seconds"].as_f64() <= time["recompute_seconds"].as_f64());
    assert_eq!(time["lower_bound_flops"], Value::Null);
    assert_eq!(flops["lower_bound_seconds"], Value::Null);
    assert_snapshot("checkpoint_time", &report(&[&asked[..], &["--cost", "time"]].concat()));
}
