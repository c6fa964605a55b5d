//! The short report: 20 lines, the answer first, what was taken for granted, and what to call next.

use crate::support::{Folder, assert_snapshot, call, memplan, report};

#[test]
fn a_plan_in_short() {
    assert_snapshot("brief_gpt2", &report(&["plan", "gpt2"]));
    let qlora = ["plan", "qwen3-8b", "--gpu", "rtx4090", "--qlora", "--batch-size", "2", "--seq-len", "2048"];
    assert_snapshot("brief_qwen3_qlora", &report(&qlora));
    assert_snapshot("brief_resnet50", &report(&["plan", "resnet50", "--batch", "32", "--gpu", "4090"]));
}

#[test]
fn it_has_twenty_lines() {
    for run in [
        &["gpt2"][..],
        &["llama-3.1-70b", "--fsdp", "8", "--checkpoint", "full", "--gpu", "h100", "--seq", "4096"],
        &["mixtral-8x7b", "--mode", "generate", "--cache", "paged", "--vram", "48G"],
        &["t5-small", "--precision", "amp-fp16", "--clip", "1", "--accumulate", "4", "--optimizer", "adafactor"],
        &["gpt2-xl", "--batch", "8", "--seq", "1024", "--gpu", "rtx4090", "--allocator", "expandable_segments:True"],
    ] {
        let output = call(&[&["plan"], run].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().count() <= 20, "{run:?}: {} lines\n{text}", text.lines().count());
        assert!(text.starts_with("fits") || text.starts_with("does not fit: "), "{text}");
    }
}

#[test]
fn what_comes_next_can_be_pasted() {
    let output = call(&["plan", "gpt2-large", "--batch", "8", "--seq", "1024", "--gpu", "rtx3060"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let next = text.lines().find_map(|line| line.strip_prefix("next: memplan ")).unwrap();
    assert_eq!(next, "advise gpt2-large --batch 8 --seq 1024 --gpu rtx3060");
    let advice = memplan(&next.split(' ').collect::<Vec<_>>()).output().unwrap();
    assert!(advice.status.code().is_some_and(|code| code < 2), "{advice:?}");
}

#[test]
fn the_host_belongs_to_the_verdict() {
    let text = report(&["plan", "gpt2", "--host-ram", "64MiB"]);
    assert!(
        text.contains("\ndoes not fit: the host needs up to 474.70 MiB of 64.00 MiB\non the GPU it fits: "),
        "{text}"
    );
    assert!(text.ends_with("exit code 1\n"), "{text}");
}

#[test]
fn what_is_no_snapshot_is_passed_over_and_said() {
    let folder = Folder::new();
    call(&["snapshot", "gpt2", "-o", &folder.argument("kept/gpt2.yaml")]);
    folder.write("kept/other.yaml", "something: else\n");
    let check = |code| {
        let output = memplan(&["check", &folder.argument("kept")]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let said = check(0);
    assert!(said.contains("note: passed over: ") && said.contains("other.yaml is no snapshot"), "{said}");
    folder.write("kept/gpt2.yaml", "");
    let said = check(2);
    assert!(said.contains("gpt2.yaml: cannot be planned") || said.contains("gpt2.yaml"), "{said}");
}
