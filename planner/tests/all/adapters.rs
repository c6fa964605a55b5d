//! Plans with frozen parameters, LoRA adapters and quantised weights against what PyTorch recorded:
//! `tests/truth/adapters.yaml` with its records and traces.

use crate::support::plans::{gpu_of, model_of};
use crate::support::{records, truth_case};
use planner::plan::plan;
use planner::read::gpus::GpuCatalogue;
use planner::read::run_file;
use planner::run::{Lora, Mode, Run};

#[test]
fn contradictions_get_one_clear_line() {
    let model = model_of(&truth_case("llama-3.2-1b-train-lora").case);
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let gpu = catalogue.find("h200").expect("an H200");
    let lora = |text: &str| Some(text.parse().expect("adapters"));
    let nf4 = Some("nf4".parse().expect("a form"));
    let pattern = |text: &str| Some(text.parse().expect("a pattern"));
    let cases = [
        (Run { quantize: nf4, ..Run::default() }, "quantised weights cannot be trained"),
        (Run { lora: lora("targets=q_proj"), trainable: pattern("norm"), ..Run::default() }, "leave trainable out"),
        (Run { lora: lora("targets=c_attn"), ..Run::default() }, "the target `c_attn` matches no module"),
        (Run { lora: lora("targets=mlp"), ..Run::default() }, "a target that is a LlamaMLP is not known"),
        (Run { lora: lora("modules_to_save=score"), ..Run::default() }, "`score` matches no module: leave it out"),
        (
            Run { lora: lora("modules_to_save=proj"), ..Run::default() },
            "a module that is adapted cannot be trained whole",
        ),
        (Run { lora: lora("modules_to_save=mlp+down_proj"), ..Run::default() }, "a module lies within another"),
        (Run { lora: lora("modules_to_save=q_proj+v_proj"), ..Run::default() }, "nothing is left to adapt"),
        (
            Run { quantize: nf4, lora: lora("modules_to_save=o_proj"), ..Run::default() },
            "a module whose weights are quantised cannot be trained",
        ),
        (Run { trainable: pattern("encoder"), ..Run::default() }, "`encoder` matches no parameter"),
        (Run { quantize: nf4, trainable: pattern("q_proj"), ..Run::default() }, "is quantised and cannot be trained"),
    ];
    for (run, expected) in cases {
        let error = plan(&model, &run, gpu).expect_err(expected).to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
    let infer = Run { mode: Mode::Infer, quantize: nf4, ..Run::default() };
    assert!(plan(&model, &infer, gpu).is_ok(), "inference with quantised weights needs no adapters");
}

#[test]
fn weights_that_are_stored_quantised_are_refused_with_one_clear_line() {
    let mut model = model_of(&truth_case("llama-3.2-1b-train-lora").case);
    model.config.insert("quantization_config".to_owned(), serde_json::json!({"quant_method": "gptq", "bits": 4}));
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let error = plan(&model, &Run::default(), catalogue.find("h200").expect("an H200")).expect_err("not known");
    let text = error.to_string();
    assert!(text.contains("gptq") && text.contains("memplan inspect") && !text.contains('\n'), "{text}");
}

#[test]
fn without_double_quantisation_the_scales_stay_numbers() {
    let model = model_of(&truth_case("llama-3.2-1b-train-qlora").case);
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let gpu = catalogue.find("h200").expect("an H200");
    let loaded = |double_quant| {
        let run =
            Run { mode: Mode::Infer, quantize: Some("nf4".parse().expect("a form")), double_quant, ..Run::default() };
        let plan = plan(&model, &run, gpu).expect("a plan");
        plan.outcome.phases[0].allocated.0
    };
    assert!(loaded(false) > loaded(true), "a float32 scale takes more than a byte");
}

#[test]
fn choices_are_words_or_a_mapping() {
    let words: Lora = "r=4,use_rslora=true,bias=lora_only,modules_to_save=norm+lm_head".parse().expect("adapters");
    assert_eq!(words.to_string(), "r=4,alpha=8,modules_to_save=norm+lm_head,bias=lora-only");
    let file = "lora: {r: 4, use_rslora: true, bias: lora_only, modules_to_save: [norm, lm_head]}";
    let options = run_file::parse("run.yaml".as_ref(), file).expect("a run");
    assert_eq!(options.lora.as_ref(), Some(&words));
    for (text, expected) in [
        ("bias=some", "`some` is no choice of biases: it is one of none, all, lora-only"),
        ("modules_to_save=", "a module to save has no name"),
        ("use_rslora=yes", "use_rslora must be true or false, not `yes`"),
        ("rank_pattern=x", "unknown key `rank_pattern`"),
    ] {
        let error = text.parse::<Lora>().expect_err(expected);
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn what_dora_is_not_planned_for_gets_one_clear_line() {
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let gpu = catalogue.find("h200").expect("an H200");
    let lora = |text: &str| Some(text.parse().expect("adapters"));
    let (gpt2, llama) = (truth_case("gpt2-train-fp32-b16"), truth_case("llama-3.2-1b-train-lora"));
    let quantize = Some("nf4".parse().expect("a form"));
    let run = Run { seq: 16, ..Run::default() };
    for (record, run, expected) in [
        (
            &gpt2,
            Run { lora: lora("use_dora=true,dropout=0.1"), ..run.clone() },
            "leave dropout out, or say a precision",
        ),
        (&llama, Run { lora: lora("use_dora=true"), quantize, ..run.clone() }, "not planned for quantised layers"),
    ] {
        let error = plan(&model_of(&record.case), &run, gpu).expect_err(expected).to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}

/// peft 0.21.2, utils/constants.py.
#[test]
fn without_targets_pefts_own_are_adapted() {
    let cases = records("adapters.jsonl");
    let record = cases.iter().find(|record| record.case["model"]["architecture"] == "LlamaForCausalLM").expect("one");
    let (model, gpu) = (model_of(&record.case), gpu_of(record));
    let adapters = |words: &str| {
        let run = Run { lora: Some(words.parse().expect("adapters")), seq: 16, ..Run::default() };
        let plan = plan(&model, &run, &gpu).expect("a plan");
        let names = plan.graph.parameters.iter().map(|parameter| parameter.name.clone());
        names.filter(|name| name.contains("lora_")).collect::<Vec<_>>()
    };
    assert_eq!(adapters("r=4"), adapters("r=4,targets=q_proj+v_proj"));
    assert!(!adapters("r=4").is_empty());
}
