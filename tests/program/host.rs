//! The host's memory in `memplan plan`.

use crate::support::{Folder, assert_snapshot, call, json_of, report};

/// The part of a report from the host's verdict on, with the call and the exit code.
fn host(arguments: &[&str]) -> String {
    let text = report(arguments);
    let (call, rest) = text.split_once('\n').unwrap();
    let (_, host) = rest.split_once("\nhost: ").unwrap();
    let (host, end) = host.split_once("\n\n").unwrap_or_else(|| host.split_at(host.find("exit code").unwrap()));
    format!("{call}\nhost: {host}\n{}\n", end.lines().last().unwrap())
}

#[test]
fn loaders_offload_and_loading() {
    let image = ["--workers", "12", "--sample", "image=1024x1024", "--host-ram", "32GB"];
    let pinned = ["--workers", "4", "--prefetch", "8", "--pin-memory", "--host-ram", "64GiB"];
    let calls = [
        host(&[&["plan", "--full", "resnet50", "--batch", "104", "--gpu", "rtx4090"], &image[..]].concat()),
        host(&[&["plan", "--full", "llama-3.2-1b", "--fsdp", "4,offload", "--seq", "2048"], &pinned[..]].concat()),
        host(&["plan", "--full", "gpt2", "--optimizer", "paged_adamw8bit", "--workers", "0"]),
        host(&[
            "plan",
            "--full",
            "bert-base",
            "--mode",
            "infer",
            "--batch",
            "32",
            "--sample",
            "600kB",
            "--workers",
            "2",
        ]),
    ];
    assert_snapshot("host", &calls.join("\n"));
}

#[test]
fn json_has_the_parts() {
    let run =
        ["plan", "vit-base-patch16-224", "--batch", "8", "--workers", "2", "--host-ram", "1GiB", "--format", "json"];
    let plan = json_of(&run);
    let host = &plan["host_memory"];
    let parts = host["parts"].as_array().unwrap();
    let running = parts.iter().filter(|part| part["when"] == "running").map(|part| part["bytes"].as_u64().unwrap());
    assert_eq!(host["running"], running.sum::<u64>());
    let batch = 8 * (3 * 224 * 224 * 4 + 8);
    assert_eq!((&parts[1]["each"], &parts[1]["count"]), (&batch.into(), &4.into()));
    assert!(
        json_of(&["plan", "vit-base-patch16-224", "--format", "json"])["host_memory"].is_null(),
        "where it was not asked"
    );
    let code =
        |ram: &str| call(&["plan", "--full", "vit-base-patch16-224", "--batch", "8", "--host-ram", ram]).status.code();
    assert_eq!((code("8GiB"), code("100MiB")), (Some(0), Some(1)));
}

#[test]
fn loaders_that_cannot_be() {
    let folder = Folder::new();
    let errors = [
        folder.error("prefetch without workers", &["plan", "--full", "gpt2", "--prefetch", "4"]),
        folder.error("nothing prefetched", &["plan", "--full", "gpt2", "--workers", "2", "--prefetch", "0"]),
        folder.error("too many workers", &["plan", "--full", "gpt2", "--workers", "20000"]),
        folder.error("no sample", &["plan", "--full", "gpt2", "--sample", "image=10"]),
        folder.error(
            "a sample beyond any machine",
            &["plan", "--full", "gpt2", "--workers", "9999", "--sample", "9TB", "--batch", "99999"],
        ),
    ];
    assert_snapshot("errors_host", &errors.concat());
}
