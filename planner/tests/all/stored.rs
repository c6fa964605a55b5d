//! Plans of checkpoints that store weights quantised against what PyTorch recorded: `tests/truth/stored.yaml` with its
//! records, traces and the checkpoints' configs and headers (`record_stored.py` there).

use crate::support::models::{folder, stored};
use crate::support::plans::{gpu_of, run_of};
use crate::support::records;
use planner::model;
use planner::model::Agreement;
use planner::plan::{Emulation, Plan, PlanError, plan, plan_with};
use planner::read::gpus::GpuCatalogue;
use planner::read::spec::Shelf;
use planner::report::{self, Planned};
use planner::run::{Mode, Precision, Run};

/// The plan of a recorded checkpoint after changes to its config and header, as one line where there is none.
fn changed(id: &str, run: &str, change: impl FnOnce(&mut serde_json::Value, &mut serde_json::Value)) -> String {
    let record = records("stored.jsonl").into_iter().find(|record| record.id == id).expect("a record");
    let (mut config, mut header) = stored(id);
    change(&mut config["quantization_config"], &mut header);
    let folder = folder(&config, &header);
    let run = match run {
        "" => run_of(&record),
        "train" => Run { mode: Mode::Train, ..run_of(&record) },
        other => Run { quantize: Some(other.parse().expect("a form")), ..run_of(&record) },
    };
    let plan = model::open(&folder.path().display().to_string(), None, &Shelf::default())
        .map_err(PlanError::from)
        .and_then(|model| plan_with(&model, &run, &gpu_of(&record), Emulation::RECORDS));
    match plan {
        Ok(_) => "a plan".to_owned(),
        Err(error) => error.to_string().replace(&*folder.path().to_string_lossy(), "DIR"),
    }
}

#[test]
fn bad_checkpoints_get_one_clear_line() {
    const ABSMAX: &str = "model.layers.0.mlp.up_proj.weight.absmax";
    let nf4 = "nf4-double-infer";
    let set = |key: &'static str, value: serde_json::Value| {
        move |config: &mut serde_json::Value, _: &mut serde_json::Value| config[key] = value
    };
    let remove = |name: &'static str| {
        move |_: &mut serde_json::Value, header: &mut serde_json::Value| {
            let removed = header.as_object_mut().expect("a header").remove(name);
            let at = removed.expect("the tensor")["data_offsets"].clone();
            header["unused"] = serde_json::json!({"dtype": "U8", "shape": [span(&at)], "data_offsets": at});
        }
    };
    let retype = |name: &'static str, dtype: &'static str, width: u64| {
        move |_: &mut serde_json::Value, header: &mut serde_json::Value| {
            let span = span(&header[name]["data_offsets"]);
            header[name]["dtype"] = dtype.into();
            header[name]["shape"] = serde_json::json!([span / width]);
        }
    };
    let lines = [
        changed(nf4, "train", |_, _| {}),
        changed(nf4, "nf4", |_, _| {}),
        changed(nf4, "", set("quant_method", "exotic".into())),
        changed(nf4, "", set("bnb_4bit_quant_type", "nf5".into())),
        changed(nf4, "", set("bnb_4bit_compute_dtype", "int8".into())),
        changed(nf4, "", set("bnb_4bit_quant_storage", "bfloat16".into())),
        changed(nf4, "", set("bnb_4bit_use_double_quant", 3.into())),
        changed(nf4, "", set("load_in_8bit", true.into())),
        changed(nf4, "", set("llm_int8_skip_modules", "lm_head".into())),
        changed(nf4, "", set("llm_int8_skip_modules", serde_json::json!(["(?=x)"]))),
        changed(nf4, "", set("llm_int8_skip_modules", serde_json::json!(["model"]))),
        changed(nf4, "", set("llm_int8_skip_modules", serde_json::json!(["q_proj"]))),
        changed(nf4, "", remove(ABSMAX)),
        changed(nf4, "", remove("model.layers.1.self_attn.k_proj.weight.quant_state.bitsandbytes__nf4")),
        changed(nf4, "", remove("model.layers.1.self_attn.k_proj.weight")),
        changed(nf4, "", retype(ABSMAX, "F32", 4)),
        changed("int8-infer", "", remove("model.layers.0.mlp.up_proj.SCB")),
        changed("int8-infer", "", retype("model.layers.0.mlp.up_proj.SCB", "F16", 2)),
        changed("int8-infer", "", set("llm_int8_has_fp16_weight", true.into())),
    ];
    assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:#?}");
    assert_snapshot("errors_stored", &lines.join("\n"));
}

fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn span(offsets: &serde_json::Value) -> u64 {
    offsets[1].as_u64().expect("an end") - offsets[0].as_u64().expect("a begin")
}

/// The header of a small Llama whose layers are packed as GPTQ or AWQ has them: 4 bits, groups of 32 inputs.
fn packed_header(by_output: bool) -> serde_json::Value {
    let (hidden, middle, vocabulary) = (64u64, 96u64, 128u64);
    let mut tensors = vec![
        ("lm_head.weight".to_owned(), "F16", vec![vocabulary, hidden]),
        ("model.embed_tokens.weight".to_owned(), "F16", vec![vocabulary, hidden]),
        ("model.norm.weight".to_owned(), "F16", vec![hidden]),
    ];
    for norm in ["input_layernorm", "post_attention_layernorm"] {
        tensors.push((format!("model.layers.0.{norm}.weight"), "F16", vec![hidden]));
    }
    let attention = ["q_proj", "k_proj", "v_proj", "o_proj"].map(|name| (format!("self_attn.{name}"), hidden, hidden));
    let up = ["gate_proj", "up_proj"].map(|name| (format!("mlp.{name}"), hidden, middle));
    let layers = attention.into_iter().chain(up).chain([("mlp.down_proj".to_owned(), middle, hidden)]);
    for (layer, inputs, outputs) in layers {
        let mut add = |name: &str, dtype, shape| tensors.push((format!("model.layers.0.{layer}.{name}"), dtype, shape));
        let packed = if by_output { vec![inputs, outputs / 8] } else { vec![inputs / 8, outputs] };
        add("qweight", "I32", packed);
        add("qzeros", "I32", vec![inputs / 32, outputs / 8]);
        add("scales", "F16", vec![inputs / 32, outputs]);
        if !by_output {
            add("g_idx", "I32", vec![inputs]);
        }
    }
    let mut at = 0;
    let mut header = serde_json::Map::new();
    for (name, dtype, shape) in tensors {
        let bytes = shape.iter().product::<u64>() * if dtype == "I32" { 4 } else { 2 };
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes]});
        header.insert(name, entry);
        at += bytes;
    }
    header.into()
}

fn packed_config(quantization: serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "dtype": "bfloat16", "vocab_size": 128, "hidden_size": 64,
        "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
        "max_position_embeddings": 512, "quantization_config": quantization,
    })
}

fn packed(quantization: serde_json::Value, header: &serde_json::Value, run: Run) -> Result<Plan, String> {
    let folder = folder(&packed_config(quantization), header);
    let path = folder.path().display().to_string();
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let model = model::open(&path, None, &Shelf::default()).map_err(|error| error.to_string());
    let plan = plan(&model?, &Run { seq: 16, ..run }, catalogue.find("a100-80gb").expect("an A100"));
    plan.map_err(|error| error.to_string().replace(&path, "DIR"))
}

fn gptq() -> serde_json::Value {
    serde_json::json!({"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": false})
}

fn awq() -> serde_json::Value {
    serde_json::json!({"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": true})
}

#[test]
fn packed_weights_take_what_the_headers_say() {
    for (quantization, by_output, precision) in [(gptq(), false, Precision::Bf16), (awq(), true, Precision::Fp16)] {
        let header = packed_header(by_output);
        let plan = packed(quantization, &header, Run { mode: Mode::Infer, ..Run::default() }).expect("a plan");
        assert_eq!(plan.precision, precision);
        let Agreement { missing, unexpected, .. } = &plan.agreement;
        assert!(missing.is_empty() && unexpected.is_empty(), "{missing:?}, {unexpected:?}");
        let tensors = header.as_object().expect("a header").values();
        let stored: u64 = tensors.map(|tensor| span(&tensor["data_offsets"])).sum();
        let loaded = plan.trace.allocations().filter(|allocation| plan.trace.operator(allocation) == "load");
        // Beside what is stored there are the frequencies of rotary embeddings, twice 16 numbers.
        assert_eq!(loaded.map(|allocation| allocation.bytes.0).sum::<u64>(), stored + 2 * 64);
        // 108 multiprocessors times 16 rows of 256 float32.
        const MARLIN: u64 = 108 * 16 * 256 * 4;
        let kernels = plan.trace.allocations().filter(|allocation| plan.trace.operator(allocation) == "kernel");
        assert_eq!(
            kernels.map(|allocation| allocation.bytes.0).max(),
            Some(MARLIN + 16 * 96 * 2),
            "sums, and a sorted input"
        );
    }
}

#[test]
fn bad_packed_checkpoints_get_one_clear_line() {
    let infer = || Run { mode: Mode::Infer, ..Run::default() };
    let line = |quantization, header: &serde_json::Value, run| match packed(quantization, header, run) {
        Ok(_) => "a plan".to_owned(),
        Err(error) => error,
    };
    let with = |mut quantization: serde_json::Value, key: &str, value: serde_json::Value| {
        quantization[key] = value;
        quantization
    };
    let without = |name: &str| {
        let mut header = packed_header(false);
        let removed = header.as_object_mut().expect("a header").remove(name).expect("the tensor");
        let at = removed["data_offsets"].clone();
        header["unused"] = serde_json::json!({"dtype": "U8", "shape": [span(&at)], "data_offsets": at});
        header
    };
    let mut retyped = packed_header(false);
    retyped["model.layers.0.mlp.up_proj.qzeros"]["dtype"] = "F32".into();
    let header = packed_header(false);
    let fp8 = serde_json::json!({"quant_method": "fp8", "weight_block_size": [128, 128]});
    let lines = [
        line(gptq(), &header, Run::default()),
        line(with(gptq(), "bits", 5.into()), &header, infer()),
        line(with(gptq(), "bits", 8.into()), &header, infer()),
        line(with(gptq(), "group_size", 0.into()), &header, infer()),
        line(with(gptq(), "group_size", 64.into()), &header, infer()),
        line(gptq(), &without("model.layers.0.mlp.up_proj.scales"), infer()),
        line(gptq(), &retyped, infer()),
        line(awq(), &header, infer()),
        line(with(awq(), "version", "gemv".into()), &header, infer()),
        line(with(awq(), "bits", 3.into()), &header, infer()),
        line(awq(), &packed_header(true), Run { precision: Some(Precision::Bf16), ..infer() }),
        line(fp8.clone(), &header, infer()),
        line(with(fp8.clone(), "weight_block_size", serde_json::json!([128])), &header, infer()),
        line(with(fp8.clone(), "activation_scheme", "static".into()), &header, infer()),
        line(with(fp8, "scale_fmt", "ue8m0".into()), &header, infer()),
        line(serde_json::json!({"quant_method": "compressed-tensors"}), &header, infer()),
        line(serde_json::json!({}), &header, infer()),
        line(serde_json::json!("gptq"), &header, infer()),
    ];
    assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:#?}");
    assert_snapshot("errors_packed", &lines.join("\n"));
}

#[test]
fn reports_say_what_is_planned_with_a_bound() {
    let folder = folder(&packed_config(gptq()), &packed_header(false));
    let model = model::open(&folder.path().display().to_string(), None, &Shelf::default()).expect("a model");
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let gpu = catalogue.find("h200").expect("an H200");
    let run = Run { mode: Mode::Infer, seq: 16, ..Run::default() };
    let plan = plan(&model, &run, gpu).expect("a plan");
    let text = report::text::text(&Planned { model: &model, run: &run, gpu, plan: &plan });
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("gptq weights as stored"), "{text}");
    assert!(
        words.contains(
            "whose temporaries are not known: planned with a bound for Marlin's and Triton's, up to 2.07 MiB"
        ),
        "{text}"
    );
}

#[test]
fn fp8_layers_leave_room_for_either_kernel_on_hopper() {
    let record = records("stored.jsonl").into_iter().find(|record| record.id == "fp8-infer").expect("a record");
    let (config, header) = stored("fp8-infer");
    let folder = folder(&config, &header);
    let model = model::open(&folder.path().display().to_string(), None, &Shelf::default()).expect("a model");
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let kernels = |gpu: &str| {
        let plan = plan(&model, &run_of(&record), catalogue.find(gpu).expect("a GPU")).expect("a plan");
        plan.trace.allocations().filter(|allocation| plan.trace.operator(allocation) == "kernel").count()
    };
    // Four shapes are tuned for; DeepGEMM quantises the input of each of two times seven layers in two steps.
    assert_eq!((kernels("rtx4090"), kernels("h200")), (4, 28));
}
