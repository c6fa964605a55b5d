//! The recorded sets: what each release was asked, and the cases that are known to be planned otherwise.

use super::case::Case;
use crate::support::{lines_of, text_of, truth_folder};

/// Records of one release, in one file of `tests/truth`.
pub struct Set {
    /// PyTorch's release, or that of transformers 4, with PyTorch 2.11 where the set's name has no other.
    pub release: &'static str,
    /// The set's name, which is its file's.
    pub name: &'static str,
    /// How many cases it has.
    pub count: usize,
    /// Cases whose events or figures are not the plan's, as a reader of the set has to know.
    pub known: &'static [&'static str],
}

/// A set whose cases are all planned as they were recorded.
const fn exact(release: &'static str, name: &'static str, count: usize) -> Set {
    Set { release, name, count, known: &[] }
}

/// All sets.
pub const SETS: &[Set] = &[
    exact("2.11", "truth", 64),
    exact("2.11", "unseen", 108),
    exact("2.11", "text", 160),
    exact("2.11", "caches", 77),
    exact("2.11", "experts", 82),
    exact("2.11", "optimizers", 81),
    exact("2.11", "adapters", 61),
    exact("2.11", "combinations", 52),
    exact("2.11", "selective", 59),
    exact("2.11", "parallel", 39),
    exact("2.11", "vision", 58),
    exact("2.11", "stored", 37),
    exact("2.11", "exports", 38),
    // Two of the 64 cases do not run there: T5 has no sdpa, and a checkpoint of some layers is handed a cache.
    exact("4.57", "truth", 62),
    // Cases of further sizes and modes, T5 as it runs there (eager), experts that tokens are spread over evenly; older.jsonl has the cases alone.
    exact("4.57", "older", 162),
    // Some of them with PyTorch 2.15.
    exact("4.57", "older-2.15", 68),
    exact("2.9", "truth", 64),
    exact("2.10", "truth", 64),
    // Two runs differ in the order in which lists of temporaries go, none in a peak.
    Set { release: "2.12", name: "truth", count: 64, known: &["gpt2-train-fp32-b16", "distilgpt2-train-fp32"] },
    exact("2.13", "truth", 63),
    exact("2.14", "truth", 64),
    exact("2.15", "truth", 64),
    exact("2.15", "unseen", 106),
    exact("2.15", "text", 160),
    exact("2.15", "caches", 77),
    // The emulation computes with numbers that DDP's buckets were seen to keep alive: one copy stays.
    Set { release: "2.15", name: "experts", count: 81, known: &["deepseek-v3-ddp"] },
    exact("2.15", "optimizers", 81),
    exact("2.15", "adapters", 61),
    exact("2.15", "combinations", 51),
    // As above: DDP on the emulation.
    Set { release: "2.15", name: "selective", count: 46, known: &["ddp-gpt2-save-addmm-sdpa"] },
    // The recorder's own loop holds a parameter that is not trained, in 2.11 as well; DDP on the emulation.
    Set {
        release: "2.15",
        name: "parallel",
        count: 36,
        known: &[
            "fsdp-gpt2-trainable",
            "fsdp-llama-lora",
            "fsdp-llama-trainable-norms",
            "fsdp-gpt2-offload-trainable",
            "ddp-bert-static-frozen-amp-clip",
        ],
    },
    exact("2.15", "vision", 58),
    exact("2.15", "exports", 38),
    // 600 tokens each, 12 micro-batches or steps; long.jsonl has the cases alone.
    exact("2.15", "long", 7),
    // `targets: all-linear`; targets.jsonl has the cases alone.
    exact("2.15", "targets", 5),
    // FSDP2 from the meta device and from the CPU; sharding.jsonl has the cases alone.
    exact("2.15", "sharding", 13),
    // peft's bias, modules_to_save, use_rslora and use_dora; lora.jsonl has the cases alone.
    exact("2.15", "lora", 29),
    // An export with a loss of its own, which is cross entropy of scores in bf16 under autocast; losses.jsonl has the cases alone.
    exact("2.15", "losses", 4),
    // A model whose folder brings its own source (own/); own.jsonl has the cases alone.
    exact("2.15", "own", 6),
    // Classes of torch.nn in files of their own (classes/), planned from their source; classes.yaml has the cases.
    exact("2.15", "classes", 26),
    // Models of diffusers 0.42.1; diffusers.yaml has the cases.
    exact("2.15", "diffusers", 58),
    // Builders of torchvision whose specs `memplan import` wrote; torchvision.yaml has the cases. MaxViT trains with one sum of
    // gradients more made beside than PyTorch has: the place of a view, not understood; no peak differs.
    Set { release: "2.15", name: "torchvision", count: 107, known: &["maxvit_t-train-fp32"] },
    // transformers' own ResNet and RegNet, which backbones are made of; detection.jsonl has the cases alone.
    exact("2.15", "detection", 8),
    // Models of timm, from specs that `memplan import` wrote; timm.yaml has the cases.
    exact("2.15", "timm", 314),
    // Images beside tokens, with a shadow of integers; images.jsonl has the cases alone. Gemma 3 goes through a set of names, as ModernBERT below, and
    // makes a mask of another order of conditions in a generation with eager attention; GOT-OCR 2's training adds up gradients of its
    // positions in another order. Neither is understood.
    Set {
        release: "2.15",
        name: "images",
        count: 163,
        known: &[
            "gemma3-Gemma3ForConditionalGeneration-train-fp32",
            "gemma3-Gemma3ForConditionalGeneration-train-amp-bf16",
            "gemma3-Gemma3ForConditionalGeneration-train-x1",
            "gemma3-Gemma3ForConditionalGeneration-generate-x3",
            "got_ocr2-GotOcr2ForConditionalGeneration-train-fp32",
            "got_ocr2-GotOcr2ForConditionalGeneration-train-amp-bf16",
            "got_ocr2-GotOcr2ForConditionalGeneration-train-x1",
        ],
    },
    // Families that `memplan import` wrote; imported.jsonl has the cases alone. ModernBERT goes through a set of names, whose order Python
    // draws anew in each process: lists of temporaries go in another order, no peak differs. Layers that are checkpointed within
    // layers that are (Swin, Zamba2) let their arguments go in another order, as do PhiMoE's checkpointed routers; SegFormer's training for
    // segmentation makes gradients of its upsampling in another order.
    Set {
        release: "2.15",
        name: "imported",
        count: 2055,
        known: &[
            "modernbert-dlm-h0-train-fp32",
            "modernbert-dlm-h1-train-amp-fp16",
            "modernbert-dlm-h2-train-fp16",
            "modernbert-ion-h1-train-fp32",
            "modernbert_decoder-ion-h0-train-amp-fp16",
            "modernbert_decoder-ion-h2-train-fp16",
            "modernbert_decoder-llm-h0-train-bf16",
            "segformer-SegformerForSemanticSegmentation-train-fp32",
            "zamba2-Zamba2ForCausalLM-train-x2",
            "phimoe-PhimoeForCausalLM-train-x2",
            "swin-SwinForImageClassification-train-x2",
            "segformer-SegformerForSemanticSegmentation-train-x1",
            "segformer-SegformerForSemanticSegmentation-train-x3",
        ],
    },
    // Under autocast the conformer's table of relative positions is moved to the lower type, and PyTorch lets the first one go (three
    // runs); its batch norm makes a copy more backward in half precision, not understood yet (three runs).
    Set {
        release: "2.15",
        name: "speech",
        count: 105,
        known: &[
            "wav2vec2_conformer-Wav2Vec2ConformerForSequenceClassification-train-c",
            "wav2vec2_conformer-Wav2Vec2ConformerForSequenceClassification-train-x3",
            "wav2vec2_conformer-Wav2Vec2ConformerModel-infer-x7",
        ],
    },
];

impl Set {
    /// `2.15/truth`
    pub fn path(&self) -> String {
        format!("{}/{}", self.release, self.name)
    }

    /// The set's cases. Those of 2.11 lie as they were recorded first, with a trace a file; those of other releases hold theirs.
    pub fn cases(&'static self) -> Vec<Case> {
        let file = match self.release {
            "2.11" => format!("{}.jsonl", self.name),
            "4.57" => format!("transformers-4.57/{}.jsonl.gz", self.name),
            release => format!("torch-{release}/{}.jsonl.gz", self.name),
        };
        let text = text_of(&truth_folder().join(file));
        lines_of(&text).map(|line| Case::new(self, line)).collect()
    }
}
