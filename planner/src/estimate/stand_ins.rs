//! The models that stand for one that no family describes, and their runs: as the run is, but for what only the weights have.

use serde_json::json;

use super::outline::{Head, Outline};
use super::{EstimateError, ROOM, of_spec};
use crate::model::Model;
use crate::model::undescribed::Undescribed;
use crate::plan::PlanError;
use crate::read::spec::{Shelf, SpecError};
use crate::run::{
    ALL_LINEAR, Attention, CacheKind, Checkpointing, Kernel, Lora, Mode, OptimizerChoice, Pattern, Precision, Run,
};

/// The linear layers of a stand-in, by the names that most families have.
const LAYERS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// The most positions of models whose layers keep a mask of all of them: older ones.
const KEPT: u64 = 2048;

/// The run with its precision, without a limit of memory.
///
/// # Errors
/// Options that cannot be taken over, and a type of weights that nothing computes in.
pub fn settled(model: &Undescribed, head: Head, run: &Run) -> Result<Run, EstimateError> {
    let refuse = |reason| Err(EstimateError::Option(reason));
    match run {
        _ if head == Head::Nothing && run.mode.records() => {
            return refuse("a base model has no loss to train it with: --mode infer estimates it");
        }
        Run { mode: Mode::Generate, .. } if head != Head::Causal => {
            return refuse("--mode generate is for causal language models: --mode infer estimates a forward pass");
        }
        Run { parallel: Some(_), .. } => {
            return refuse("an estimate is of one GPU: --ddp and --fsdp need a plan");
        }
        Run { checkpoint: Checkpointing::Modules(_), .. } => {
            return refuse("an estimate knows no modules: --checkpoint takes full or none, others need a plan");
        }
        Run { image: Some(_), .. } => return refuse("an estimate is of text: --image needs a plan"),
        _ => {}
    }
    let precision = match (run.precision, model.dtype) {
        (Some(precision), _) => precision,
        (None, None) => Precision::Fp32,
        (None, Some(found)) => Precision::of(found).ok_or(PlanError::Precision { found })?,
    };
    Ok(Run { precision: Some(precision), capacity: Some(ROOM), allow_mismatch: false, ..run.clone() })
}

/// The run of the weights alone: nothing is computed whose memory counts, so that what runs do beside training says nothing of them.
pub fn run_of_weights(settled: &Run) -> Run {
    let mode = if settled.mode == Mode::Train { Mode::Train } else { Mode::Infer };
    let plain = Run::default();
    Run {
        mode,
        batch: 1,
        seq: 1,
        checkpoint: Checkpointing::Off,
        checkpoint_save: None,
        reentrant: false,
        attention: None,
        sdpa: Kernel(None),
        cache: None,
        cache_tokens: None,
        cache_dtype: None,
        page_tokens: plain.page_tokens,
        prefill_tokens: None,
        use_cache: None,
        ..settled.clone()
    }
}

/// The run of a stand-in. Its parameters do not count: the plainest optimizer trains them.
pub fn run(settled: &Run, outline: &Outline, is_rich: bool) -> Run {
    let optimizer = OptimizerChoice { name: "sgd".to_owned(), options: Vec::new() };
    let is_paged = settled.cache_kind() == CacheKind::Paged;
    let attention = settled.attention.or((is_rich && !is_paged).then_some(Attention::Eager));
    let keeps_kernel = !is_rich || attention == Some(Attention::FlashAttention2);
    // what of a model is trained decides what is saved: at least nothing below its head is, at most all
    let trainable = settled.trainable.is_some() && !is_rich;
    let trainable = trainable.then_some(if outline.head == Head::Classes { "^score" } else { "^lm_head" });
    let trainable = trainable.and_then(|pattern| regex::Regex::new(pattern).ok()).map(Pattern);
    let lora = settled.lora.as_ref().map(|lora| Lora {
        targets: targets(lora, outline, is_rich),
        saved: Vec::new(),
        ..lora.clone()
    });
    let sdpa = if keeps_kernel { settled.sdpa } else { Kernel(None) };
    Run { optimizer, attention, sdpa, trainable, lora, ..settled.clone() }
}

/// The layers of a stand-in that are adapted. The rich one has those that are named, or all where its layers have other names. The lean one
/// has one for each input that all linear layers together have, or one alone.
fn targets(lora: &Lora, outline: &Outline, is_rich: bool) -> Vec<String> {
    let named = !lora.targets.is_empty() && lora.targets.iter().all(|target| LAYERS.contains(&&**target));
    let chosen = match (is_rich, named) {
        (true, true) => return lora.targets.clone(),
        (true, false) => &[ALL_LINEAR][..],
        (false, _) if lora.targets != [ALL_LINEAR] => &["q_proj"],
        (false, _) if outline.experts.is_some() => &["q_proj", "o_proj"],
        (false, _) => &["q_proj", "o_proj", "down_proj"],
    };
    chosen.iter().map(|target| (*target).to_owned()).collect()
}

/// The stand-in of an outline.
///
/// # Errors
/// A wrong spec.
pub fn model(outline: &Outline, is_rich: bool, shelf: &Shelf) -> Result<Model, SpecError> {
    let heads = if is_rich { outline.heads.1 } else { outline.heads.0 };
    let inner = match outline.experts {
        None => outline.inner,
        Some(experts) if is_rich => experts.shared.max(experts.inner).max(experts.dense.unwrap_or(0)),
        Some(experts) => (experts.chosen * experts.inner).min(experts.dense.unwrap_or(u64::MAX)),
    };
    let experts = outline.experts.filter(|_| is_rich);
    let keeps_cache = match outline.head {
        Head::Causal => true,
        Head::Masked => false,
        Head::Classes | Head::Nothing => is_rich,
    };
    let config = json!({
        "vocab_size": outline.vocab,
        "hidden_size": outline.hidden,
        "intermediate_size": inner,
        "gated": outline.gated,
        "num_hidden_layers": outline.layers,
        "num_attention_heads": heads.query,
        "num_key_value_heads": heads.cached,
        "head_dim": heads.width,
        "keeps_cache": keeps_cache,
        "experts": experts.map_or(0, |experts| experts.count),
        "experts_per_token": experts.map_or(0, |experts| experts.chosen),
        "expert_size": experts.map_or(0, |experts| experts.inner),
        "sliding_window": outline.window.filter(|_| !is_rich),
        "kept_mask": outline.positions.filter(|positions| is_rich && *positions <= KEPT).unwrap_or(0),
        "num_labels": outline.labels,
    });
    let kind = match outline.head {
        Head::Causal | Head::Masked => "LanguageModel",
        Head::Classes => "Classifier",
        Head::Nothing => "Base",
    };
    let architecture = format!("{}{kind}", if is_rich { "Rich" } else { "Lean" });
    of_spec(shelf, ("text", &architecture), config.as_object().cloned().unwrap_or_default())
}
