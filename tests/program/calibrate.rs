//! `memplan calibrate` where there is no GPU, and profiles in plans.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Folder, answer, assert_snapshot, json_of, memplan, report};

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

/// CUDA without a GPU (tests/fake_cuda/fake.c): the folder that its libraries lie in, which are built once.
fn fake_cuda() -> &'static Path {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (source, driver) =
            (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake_cuda/fake.c"), folder.path().join("libcuda.so.1"));
        let flags = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", "-o"];
        let status =
            Command::new("cc").args(flags).arg(&driver).arg(source).status().expect("cc, which links Rust programs");
        assert!(status.success());
        for library in ["libcublas.so.13", "libnvrtc.so.13"] {
            std::fs::copy(&driver, folder.path().join(library)).unwrap();
        }
        folder
    });
    built.path()
}

/// A call on a fake GPU, whose processes share a table of their own.
fn on_fake(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = memplan(arguments);
    command.env("LD_LIBRARY_PATH", fake_cuda()).env("FAKE_CUDA", folder.join("table"));
    command.env("XDG_CONFIG_HOME", folder.join("config"));
    command
}

fn ended(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    if code < 2 { String::from_utf8(output.stdout).unwrap() } else { stderr }
}

/// What a call on a fake GPU answers in JSON.
fn json_on_fake(folder: &Folder, arguments: &[&str]) -> Value {
    answer(arguments, ended(on_fake(folder, arguments), 0).as_bytes())
}

fn close(found: &Value, wanted: f64) -> bool {
    (found.as_f64().unwrap() / wanted - 1.0).abs() < 0.001
}

/// What fake.c says of memory and takes for kernels is found again, and plans read it from then on.
#[test]
fn a_fake_gpu_is_measured() {
    let folder = Folder::new();
    let profile = json_on_fake(&folder, &["calibrate", "--no-pytorch", "--format", "json"]);
    let (memory, speeds) = (&profile["memory"], &profile["speeds"]);
    assert_eq!((&memory["total"], &memory["others"]), (&(4096u64 << 20).into(), &0.into()));
    assert_eq!(memory["granularity"], 2 << 20);
    assert_eq!(
        (&memory["context"], &memory["kernel"], &memory["blas"]),
        (&(500 << 20).into(), &(502 << 20).into(), &(602 << 20).into())
    );
    assert!(close(&speeds["overhead"], 3e-6) && close(&speeds["bandwidth"], 2e12), "{speeds}");
    for (rate, wanted) in
        [("fp64", 30e12), ("fp32", 60e12), ("tf32", 400e12), ("fp16", 800e12), ("bf16", 800e12), ("int8", 1500e12)]
    {
        assert!(close(&speeds["rates"][rate], wanted), "{rate}: {speeds}");
    }
    let planned = json_on_fake(&folder, &["plan", "gpt2", "--format", "json"]);
    assert_eq!(planned["gpu"]["memory"], 4096u64 << 20);
    assert_eq!(planned["step"]["profile"], "nvidia-h200");
    assert_eq!(planned["outside_allocator"]["least"], 602 << 20);
}

/// Memory of another process on the GPU is noticed.
#[test]
fn other_processes_are_noticed() {
    let folder = Folder::new();
    let mut other =
        on_fake(&folder, &["calibrate", "--hold"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(other.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(told, "{\"stage\":\"context\"}\n");
    let profile = json_on_fake(&folder, &["calibrate", "--no-pytorch", "--format", "json"]);
    assert_eq!(profile["memory"]["others"], 500 << 20);
    assert_eq!(profile["memory"]["context"], 500 << 20);
    other.kill().unwrap();
    other.wait().unwrap();
}

/// A stand-in for Python answers as calibrate/pytorch/ does: what it says is in the profile, and in plans.
#[test]
fn what_pytorch_tells_is_kept() {
    let folder = Folder::new();
    let python = folder.write(
        "python",
        r#"#!/bin/sh
case "$2" in
    *is_available*) exit 0 ;;
    *memory_reserved*)
        for stage in tensor product convolution attention; do
            echo "{\"stage\": \"$stage\", \"reserved\": 0, \"version\": \"2.11.0\"}"
            read line
        done ;;
    *) cat >/dev/null
       echo '{"blas": 33554432, "convolutions": [], "attention": []}' ;;
esac
"#,
    );
    std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let python = python.to_str().unwrap();
    let profile = json_on_fake(
        &folder,
        &["calibrate", "--python", python, "--for", "resnet18", "--batch", "4", "--format", "json"],
    );
    assert_eq!(profile["measured"]["pytorch"], "2.11.0");
    assert_eq!(profile["workspaces"]["blas"], 33_554_432);
    assert_eq!(profile["memory"]["pytorch"]["attention"], 0);
}

/// cuDNN's workspaces of a profile are part of the plan: each is there while its convolution runs.
#[test]
fn measured_workspaces_are_planned() {
    let folder = Folder::new();
    let of = |direction: &str| {
        format!(
            "  - of: {{direction: {direction}, input: [4, 3, 224, 224], weight: [64, 3, 7, 7], stride: 2, padding: 3, dilation: 1, \
             dtype: float32, channels_last: false}}\n    heuristic: 3000000000\n    benchmark: 1\n    trying: 2\n"
        )
    };
    folder.write("mine.yaml", profile() + "workspaces:\n  convolutions:\n" + &of("forward"));
    let asked = ["plan", "resnet18", "--batch", "4", "--mode", "infer", "--format", "json"];
    let (plain, measured) =
        (json_of(&asked), json_of(&[&asked[..], &["--profile", &folder.argument("mine.yaml")]].concat()));
    let peak = |report: &Value| report["peak_allocated"].as_u64().unwrap();
    assert!(peak(&measured) > 3_000_000_000 && peak(&plain) < 500_000_000, "{} {}", peak(&plain), peak(&measured));
    assert!(measured["at_peak"]["workspace"].as_u64().unwrap() >= 3_000_000_000);
    let notes = |report: &Value| report["notes"].to_string();
    assert!(notes(&measured).contains("cuDNN workspace not known"), "others were not measured: {}", notes(&measured));
}

#[test]
fn a_replay_says_whether_the_device_does_as_planned() {
    let folder = Folder::new();
    let replay = ["calibrate", "--replay", "gpt2", "--seq", "512", "--precision", "bf16", "--steps", "2"];
    assert_snapshot("replay", &ended(on_fake(&folder, &replay), 0));
    folder.report(&["plan", "gpt2", "--seq", "512", "--events", &folder.argument("events.json")]);
    let events = folder.argument("events.json");
    let report = json_on_fake(&folder, &["calibrate", "--replay", &events, "--format", "json"]);
    assert_eq!((&report["as_planned"], &report["limits"]), (&true.into(), &serde_json::json!([])));
    let expandable = [&replay[..], &["--allocator", "expandable_segments:True"]].concat();
    assert!(ended(on_fake(&folder, &expandable), 2).contains("replay a plan without them"));
}

#[test]
fn what_the_machine_lacks_is_said() {
    let folder = Folder::new();
    let without = |library: &str| {
        let alone = Folder::new();
        for name in
            ["libcuda.so.1", "libcublas.so.13", "libnvrtc.so.13"].iter().filter(|name| !name.starts_with(library))
        {
            std::fs::copy(fake_cuda().join(name), alone.join(name)).unwrap();
        }
        let mut command = on_fake(&folder, &["calibrate", "--no-pytorch", "--replay", "gpt2"]);
        command.env("LD_LIBRARY_PATH", alone.join(""));
        ended(command, 3)
    };
    let with = |name: &str, value: &str| {
        let mut command = on_fake(&folder, &["calibrate"]);
        command.env(name, value);
        ended(command, 3)
    };
    let lines = [
        without("libcublas"),
        without("libnvrtc"),
        with("FAKE_CUDA_VERSION", "11080"),
        with("FAKE_CUDA_NO_DEVICE", "1"),
    ];
    assert_snapshot("errors_calibrate", &lines.concat());
}

#[test]
fn the_agenda_measures_nothing() {
    let folder = Folder::new();
    assert_snapshot("calibrate_dry_run", &ended(on_fake(&folder, &["calibrate", "--dry-run", "--no-pytorch"]), 0));
    assert!(!folder.join("config").exists());
}

/// A machine without a GPU says what would be measured on the one that is named.
#[test]
fn the_agenda_of_another_gpu() {
    let output = memplan(&["calibrate", "--dry-run", "--gpu", "t4"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Tesla T4") && text.contains("speeds: matrix products of each type"), "{text}");
}

/// Whatever is asked, a machine without a GPU says in one line what it lacks. A GPU that is there is hidden.
#[test]
fn without_a_gpu_one_line_says_what_is_missing() {
    for arguments in [&["calibrate"][..], &["calibrate", "--replay", "gpt2"], &["calibrate", "--hold"]] {
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
    assert_snapshot("plan_profile", &folder.report(&["plan", "--full", "gpt2", "--mode", "infer", "--profile", &path]));
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
    let output = memplan(&["plan", "--full", "gpt2", "--profile", &path]).output().unwrap();
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
        folder.error("profile", &[&["plan", "--full", "gpt2", "--profile", &path], more].concat())
    };
    let lines = [
        said(&profile(), &["--gpu", "a100-80gb"]),
        said(&profile().replace("H200", "H900"), &[]),
        said(&profile().replace("memplan_profile: 1", "memplan_profile: 7"), &[]),
        said(&profile().replace("bandwidth", "bandwith"), &[]),
        said(&profile().replace("4.0e+12", "0"), &[]),
        said("h200", &[]),
        folder.error("profile", &["plan", "--full", "gpt2", "--profile", "/no/such/file.yaml"]),
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
