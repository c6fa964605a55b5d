//! The choices of a training run: levers compared, checkpoints from a file, what does not go together.

use crate::support::{Folder, assert_snapshot, json_of, report};

#[test]
fn levers_alone_and_together() {
    let run = ["plan", "--full", "gpt2", "--batch", "4", "--seq", "512", "--attention", "eager", "--compare"];
    assert_snapshot("compare_gpt2", &report(&run));
    let rows = json_of(&[&run[..], &["--format", "json"]].concat());
    let peak = |row: usize| rows["rows"][row]["peak_reserved"].as_u64().unwrap();
    let last = rows["rows"].as_array().unwrap().len() - 1;
    assert!((1..last).all(|row| peak(last) <= peak(row)), "all levers together take least");
}

#[test]
fn evaluation_says_what_no_grad_would_save() {
    let text = report(&["plan", "--full", "gpt2", "--mode", "eval-with-grad", "--batch", "4", "--seq", "512"]);
    assert!(text.contains("note: under torch.no_grad() the peaks would be 1.38 GiB allocated"), "{text}");
}

#[test]
fn kept_losses_keep_their_graphs() {
    let plain = ["plan", "gpt2", "--mode", "eval-with-grad", "--format", "json"];
    let kept = [&plain[..], &["--keep-losses", "3"]].concat();
    let peak = |arguments: &[&str]| json_of(arguments)["peak_allocated"].as_u64().unwrap();
    // Two more graphs than one: parameters and one graph take `plain`.
    let parameters = 498_575_360;
    assert!(peak(&kept) > peak(&plain) + (peak(&plain) - parameters), "two earlier graphs live on");
}

#[test]
fn gradients_that_live_longer_cost_memory() {
    let peak = |when: &str| {
        let run = ["plan", "gpt2", "--batch", "4", "--seq", "512", "--zero-grad", when, "--format", "json"];
        json_of(&run)["peak_allocated"].as_u64().unwrap()
    };
    assert_eq!(peak("after-step"), peak("before-forward"));
    assert!(peak("before-backward") > peak("after-step"));
}

#[test]
fn checkpoints_from_a_file() {
    let folder = Folder::new();
    let file = folder.write("layers.txt", "transformer.h.0\n# the next\ntransformer.h.1\n");
    let listed = json_of(&["plan", "gpt2", "--checkpoint", "transformer.h.0,transformer.h.1", "--format", "json"]);
    let read = json_of(&["plan", "gpt2", "--checkpoint", &format!("@{}", file.display()), "--format", "json"]);
    assert_eq!(listed["peak_allocated"], read["peak_allocated"]);
    assert_eq!(listed["run"]["checkpoint"], read["run"]["checkpoint"]);
}

#[test]
fn operators_are_saved_by_any_of_their_names() {
    let folder = Folder::new();
    let file =
        folder.write("run.yaml", "checkpoint: full\ncheckpoint-save: [torch.ops.aten.addmm.default, mul.Tensor]\n");
    let file = file.display().to_string();
    let planned = |more: &[&str]| json_of(&[&["plan", "gpt2", "--format", "json"], more].concat());
    let by_flag = planned(&["--checkpoint", "full", "--checkpoint-save", "aten.mul, addmm"]);
    let by_file = planned(&["--run", &file]);
    assert_eq!(by_flag["run"]["checkpoint_save"], "addmm,mul");
    assert_eq!(by_flag["run"], by_file["run"]);
    assert_eq!(by_flag["peak_allocated"], by_file["peak_allocated"]);
    let (none, all) = (planned(&["--checkpoint", "full"]), planned(&[]));
    let forward = |plan: &serde_json::Value| plan["phases"][1]["allocated"].as_u64().expect("a figure");
    assert!(forward(&none) < forward(&by_flag) && forward(&by_flag) < forward(&all), "{none} {by_flag} {all}");
}

#[test]
fn choices_that_do_not_go_together() {
    let folder = Folder::new();
    let errors = [
        folder.error(
            "checkpointing in inference",
            &["plan", "--full", "gpt2", "--mode", "infer", "--checkpoint", "full"],
        ),
        folder.error("clipping in generation", &["plan", "--full", "gpt2", "--mode", "generate", "--clip", "1.0"]),
        folder.error("kept losses in inference", &["plan", "--full", "gpt2", "--mode", "infer", "--keep-losses", "2"]),
        folder.error(
            "nested checkpoints",
            &["plan", "--full", "gpt2", "--checkpoint", "transformer.h.0,transformer.h.0.mlp"],
        ),
        folder.error("an unknown module", &["plan", "--full", "gpt2", "--checkpoint", "transformer.h.99"]),
        folder.error(
            "float16 without the loss scaler",
            &["plan", "--full", "gpt2", "--precision", "amp-fp16", "--grad-scaler", "off"],
        ),
        folder.error(
            "the loss scaler in bfloat16",
            &["plan", "--full", "gpt2", "--precision", "bf16", "--grad-scaler", "on"],
        ),
        folder.error("reentrant without a checkpoint", &["plan", "--full", "gpt2", "--reentrant"]),
        folder.error(
            "reentrant under fsdp",
            &["plan", "--full", "gpt2", "--checkpoint", "full", "--reentrant", "--fsdp", "4"],
        ),
        folder.error(
            "reentrant with named arguments",
            &["plan", "--full", "gpt2", "--checkpoint", "transformer.h.0.attn", "--reentrant"],
        ),
        folder.error("saved operators without a checkpoint", &["plan", "--full", "gpt2", "--checkpoint-save", "mm"]),
        folder.error(
            "saved operators under reentrant checkpoints",
            &["plan", "--full", "gpt2", "--checkpoint", "full", "--reentrant", "--checkpoint-save", "mm"],
        ),
        folder.error(
            "saved casts under fsdp with offload",
            &[
                "plan",
                "--full",
                "gpt2",
                "--checkpoint",
                "full",
                "--checkpoint-save",
                "_to_copy",
                "--fsdp",
                "4,offload=true",
            ],
        ),
        folder.error(
            "a misspelled operator",
            &["plan", "--full", "gpt2", "--checkpoint", "full", "--checkpoint-save", "mm,adm"],
        ),
        folder.error(
            "another overload",
            &["plan", "--full", "gpt2", "--checkpoint", "full", "--checkpoint-save", "aten.mul.out"],
        ),
        folder.error("a file that is not there", &["plan", "--full", "gpt2", "--checkpoint", "@layers.txt"]),
    ];
    assert_snapshot("errors_choices", &errors.concat());
}

#[test]
fn an_optimizer_that_cannot_step_over_shards_is_planned_with_a_warning() {
    let warnings = |optimizer: &str| {
        json_of(&["plan", "gpt2", "--fsdp", "4", "--optimizer", optimizer, "--format", "json"])["warnings"].to_string()
    };
    assert!(warnings("adamw8bit").contains("cannot step over FSDP2's parameters"));
    assert_eq!(warnings("adamw"), "[]");
}

/// flash-attn runs the kernels that PyTorch copied from it: no mask, keys and values of fewer heads as they are.
#[test]
fn the_package_flash_attn() {
    let planned = |more: &[&str]| {
        let run =
            ["plan", "llama-3.2-1b", "--seq", "1024", "--gpu", "a100-80gb", "--precision", "bf16", "--batch", "2"];
        json_of(&[&run[..], &["--format", "json"], more].concat())
    };
    let (package, own) = (planned(&["--attention", "flash_attention_2"]), planned(&["--sdpa", "flash"]));
    assert_eq!(package["peak_allocated"], own["peak_allocated"]);
    let folder = Folder::new();
    let errors = [
        folder.error("flash-attn in float32", &["plan", "gpt2", "--attention", "flash_attention_2"]),
        folder.error(
            "flash-attn on a T4",
            &["plan", "llama-3.2-1b", "--attention", "flash_attention_2", "--gpu", "t4", "--precision", "fp16"],
        ),
        folder.error("flash-attn with T5", &["plan", "t5-small", "--attention", "fa2", "--precision", "bf16"]),
        folder.error("flash-attn 3", &["plan", "gpt2", "--attention", "flash_attention_3"]),
    ];
    assert_snapshot("errors_flash", &errors.concat());
}

#[test]
fn where_a_sharded_model_is_loaded() {
    let planned = |load: &str| {
        let fsdp = format!("4{load}");
        let run = ["plan", "gpt2", "--fsdp", &fsdp, "--format", "json"];
        let plan = json_of(&run);
        let load = plan["phases"][0]["peak_allocated"].as_u64().unwrap();
        (load, plan["peak_allocated"].as_u64().unwrap(), plan["notes"].to_string())
    };
    let (meta, cpu, gpu) = (planned(""), planned(",load=cpu"), planned(",load=gpu"));
    assert_eq!(meta, planned(",load=meta"));
    assert!(meta.0 < cpu.0 && cpu.0 < gpu.0, "{meta:?} {cpu:?} {gpu:?}");
    assert!(meta.1.abs_diff(cpu.1) * 100 < cpu.1, "steps hardly depend on it: {meta:?} {cpu:?}");
    let folder = Folder::new();
    let run = ["plan", "gpt2", "--lora", "r=8", "--quantize", "nf4", "--fsdp", "4,load=meta"];
    assert_snapshot("errors_fsdp_load", &folder.error("quantised weights on the meta device", &run));
}

/// Nobody knows which GPU these tests run on: `CUDA_VISIBLE_DEVICES` hides it.
#[test]
fn a_machine_without_a_gpu() {
    let output = crate::support::memplan(&["plan", "gpt2", "--gpu", "local"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.starts_with("memplan: error: --gpu local: CUDA_VISIBLE_DEVICES hides all GPUs"), "{said}");
}
