//! The changes that are known: what each does to a run, when it applies, what it costs and the code that makes it.

use Slot::*;

use super::case::Case;
use super::cost::Class;
use super::forms::{
    adapters, autocast, expandable, frozen, halves, micro_batches, offload, optimizer, option, quantized, shards,
};
use crate::run::{Checkpointing, Mode, QuantizedType, Run, ZeroGrad};

/// What of a run a change touches. Of two changes to the same, a run can have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The model, and the precision that keeps its type.
    Variant,
    /// What the loop does, and what it keeps of former steps.
    Loop,
    /// When gradients are let go.
    Gradients,
    /// The sequences at once.
    Size,
    /// The weights' type.
    Precision,
    /// The checkpoints.
    Checkpoints,
    /// The optimizer.
    Optimizer,
    /// How attention is computed.
    Attention,
    /// The allocator's options.
    Allocator,
    /// What is trained, and in which form the rest is kept.
    Trained,
    /// The GPUs.
    Spread,
}

impl Slot {
    /// Takes over what a changed run has in this place.
    pub(super) fn copy(self, into: &mut Run, from: &Run) {
        match self {
            Variant | Precision => into.precision = from.precision,
            Loop => (into.mode, into.keep_losses) = (from.mode, from.keep_losses),
            Gradients => into.zero_grad = from.zero_grad,
            Size => (into.batch, into.accumulate) = (from.batch, from.accumulate),
            Checkpoints => into.checkpoint.clone_from(&from.checkpoint),
            Optimizer => into.optimizer.clone_from(&from.optimizer),
            Attention => into.attention = from.attention,
            Allocator => into.allocator.clone_from(&from.allocator),
            Trained => {
                into.lora.clone_from(&from.lora);
                into.trainable.clone_from(&from.trainable);
                into.quantize = from.quantize;
            }
            Spread => into.parallel.clone_from(&from.parallel),
        }
    }
}

/// One way of making a change.
pub(super) struct Form {
    /// The run with it.
    pub run: Run,
    /// The model in place of the given one.
    pub model: Option<String>,
    /// What it costs within its class.
    pub amount: u64,
    /// What stands for `{}` in the row's code.
    pub value: String,
}

/// A row of the table.
pub(super) struct Row {
    /// The name that people use for it.
    pub name: &'static str,
    /// What it touches.
    pub slot: Slot,
    /// What it is paid with.
    pub class: Class,
    /// The same in words.
    pub cost: &'static str,
    /// The line that makes it.
    pub code: &'static str,
    /// The source: a file or a page that says so.
    pub source: &'static str,
    /// The forms that apply here, the cheapest first.
    pub forms: fn(&Case) -> Vec<Form>,
}

/// The changes.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "no gradients in evaluation",
        slot: Loop,
        class: Class::Nothing,
        cost: "none: nothing is recorded for a backward pass that never comes",
        code: "with torch.no_grad():",
        source: "torch/autograd/grad_mode.py, no_grad",
        forms: |case| {
            case.when(case.run.mode == Mode::EvalWithGrad, |run| (run.mode, run.keep_losses) = (Mode::Infer, 0))
        },
    },
    Row {
        name: "losses without their graphs",
        slot: Loop,
        class: Class::Nothing,
        cost: "none: the numbers stay, their graphs go",
        code: "losses.append(loss.item())",
        source: "torch/_tensor.py, Tensor.item",
        forms: |case| case.when(case.run.keep_losses > 0, |run| run.keep_losses = 0),
    },
    Row {
        name: "gradients let go after the step",
        slot: Gradients,
        class: Class::Nothing,
        cost: "none",
        code: "optimizer.step(); optimizer.zero_grad(set_to_none=True)",
        source: "torch/optim/optimizer.py, zero_grad",
        forms: |case| case.when(case.run.zero_grad != ZeroGrad::AfterStep, |run| run.zero_grad = ZeroGrad::AfterStep),
    },
    Row {
        name: "scaled_dot_product_attention",
        slot: Attention,
        class: Class::Nothing,
        cost: "none: faster, sums are taken in another order",
        code: "from_pretrained(..., attn_implementation=\"sdpa\")",
        source: "transformers/integrations/sdpa_attention.py, sdpa_attention_forward",
        forms: |case| {
            case.when(case.run.attention == Some(crate::run::Attention::Eager), |run| {
                run.attention = Some(crate::run::Attention::Sdpa)
            })
        },
    },
    Row {
        name: "expandable segments",
        slot: Allocator,
        class: Class::Nothing,
        cost: "none: segments grow in place, so that less is cut into pieces",
        code: "PYTORCH_CUDA_ALLOC_CONF={}",
        source: "c10/cuda/CUDACachingAllocator.cpp, ExpandableSegment",
        forms: expandable,
    },
    Row {
        name: "fused optimizer",
        slot: Optimizer,
        class: Class::Nothing,
        cost: "none: one kernel for all parameters, without temporaries",
        code: "torch.optim's {} with fused=True",
        source: "torch/optim/adam.py, _fused_adam",
        forms: |case| option(case, "fused", "true"),
    },
    Row {
        name: "optimizer without foreach",
        slot: Optimizer,
        class: Class::Launches,
        cost: "a slower optimizer step: kernels for each parameter",
        code: "torch.optim's {} with foreach=False",
        source: "torch/optim/optimizer.py, _default_to_fused_or_foreach",
        forms: |case| option(case, "foreach", "false"),
    },
    Row {
        name: "smaller micro-batches",
        slot: Size,
        class: Class::Launches,
        cost: "more and smaller kernels; batch norm sees one micro-batch at a time",
        code: "TrainingArguments({})",
        source: "transformers/trainer.py, gradient_accumulation_steps",
        forms: micro_batches,
    },
    Row {
        name: "checkpoints on all layers",
        slot: Checkpoints,
        class: Class::Recomputation,
        cost: "each layer's forward runs again in the backward pass",
        code: "model.gradient_checkpointing_enable()",
        source: "transformers/modeling_utils.py, gradient_checkpointing_enable",
        forms: |case| {
            let off = case.trains() && case.run.checkpoint == Checkpointing::Off;
            case.when(off, |run| run.checkpoint = Checkpointing::Full)
        },
    },
    Row {
        name: "paged optimizer states",
        slot: Optimizer,
        class: Class::Transfers,
        cost: "optimizer states come from the host in each step",
        code: "bitsandbytes.optim, {}",
        source: "bitsandbytes/optim/optimizer.py, is_paged",
        forms: |case| optimizer(case, "paged_", "32bit", 1),
    },
    Row {
        name: "offload to the host",
        slot: Spread,
        class: Class::Transfers,
        cost: "parameters and gradients cross the bus in each step, the optimizer runs on the CPU",
        code: "fully_shard(block, offload_policy=CPUOffloadPolicy())",
        source: "torch/distributed/fsdp/_fully_shard/_fsdp_api.py, CPUOffloadPolicy",
        forms: offload,
    },
    Row {
        name: "autocast",
        slot: Precision,
        class: Class::Rounding,
        cost: "products are rounded to 16 bits, weights stay in fp32",
        code: "with torch.autocast(\"cuda\", dtype=torch.{}):",
        source: "torch/amp/autocast_mode.py, autocast",
        forms: autocast,
    },
    Row {
        name: "8-bit optimizer states",
        slot: Optimizer,
        class: Class::Rounding,
        cost: "optimizer states are rounded to 8 bits, block by block",
        code: "bitsandbytes.optim, {}",
        source: "bitsandbytes/optim/optimizer.py, Optimizer2State",
        forms: |case| optimizer(case, "", "8bit", 2),
    },
    Row {
        name: "paged 8-bit optimizer states",
        slot: Optimizer,
        class: Class::Rounding,
        cost: "optimizer states are rounded to 8 bits and come from the host in each step",
        code: "bitsandbytes.optim, {}",
        source: "bitsandbytes/optim/optimizer.py, is_paged",
        forms: |case| optimizer(case, "paged_", "8bit", 3),
    },
    Row {
        name: "16-bit weights",
        slot: Precision,
        class: Class::Rounding,
        cost: "all is rounded to 16 bits; in training small updates of weights are lost",
        code: "from_pretrained(..., dtype=torch.{})",
        source: "transformers/modeling_utils.py, from_pretrained",
        forms: halves,
    },
    Row {
        name: "8-bit weights",
        slot: Trained,
        class: Class::Rounding,
        cost: "weights are rounded to 8 bits, products take longer",
        code: "BitsAndBytesConfig(load_in_8bit=True)",
        source: "transformers/integrations/bitsandbytes.py, replace_with_bnb_linear",
        forms: |case| quantized(case, QuantizedType::Int8, 5),
    },
    Row {
        name: "4-bit weights",
        slot: Trained,
        class: Class::Rounding,
        cost: "weights are rounded to 4 bits, products take longer",
        code: "BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=\"nf4\", bnb_4bit_use_double_quant=True)",
        source: "transformers/integrations/bitsandbytes.py, replace_with_bnb_linear",
        forms: |case| quantized(case, QuantizedType::Nf4, 6),
    },
    Row {
        name: "FSDP",
        slot: Spread,
        class: Class::Communication,
        cost: "parameters are gathered for each block, forward and backward, and gradients reduced",
        code: "fully_shard(block) for each block, fully_shard(model), on {}",
        source: "torch/distributed/fsdp/_fully_shard/_fully_shard.py, fully_shard",
        forms: |case| shards(case, false),
    },
    Row {
        name: "FSDP with offload",
        slot: Spread,
        class: Class::Communication,
        cost: "as FSDP; shards cross the bus in each step, the optimizer runs on the CPU",
        code: "fully_shard(block, offload_policy=CPUOffloadPolicy()) on {}",
        source: "torch/distributed/fsdp/_fully_shard/_fsdp_api.py, CPUOffloadPolicy",
        forms: |case| shards(case, true),
    },
    Row {
        name: "half of the blocks frozen",
        slot: Trained,
        class: Class::Training,
        cost: "the first half of the blocks and the embeddings are not trained",
        code: "parameter.requires_grad_(False) for those",
        source: "torch/nn/modules/module.py, requires_grad_",
        forms: frozen,
    },
    Row {
        name: "LoRA",
        slot: Trained,
        class: Class::Training,
        cost: "adapters of rank 16 are trained, the weights are not",
        code: "get_peft_model(model, LoraConfig(r=16))",
        source: "peft/tuners/lora/model.py, LoraModel",
        forms: |case| adapters(case, None, 2),
    },
    Row {
        name: "LoRA on 8-bit weights",
        slot: Trained,
        class: Class::Training,
        cost: "adapters of rank 16 are trained, the weights are rounded to 8 bits",
        code: "BitsAndBytesConfig(load_in_8bit=True), get_peft_model(model, LoraConfig(r=16))",
        source: "peft/tuners/lora/bnb.py, Linear8bitLt",
        forms: |case| adapters(case, Some(QuantizedType::Int8), 3),
    },
    Row {
        name: "QLoRA",
        slot: Trained,
        class: Class::Training,
        cost: "adapters of rank 16 are trained, the weights are rounded to 4 bits",
        code: "BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=\"nf4\"), get_peft_model(model, LoraConfig(r=16))",
        source: "peft/tuners/lora/bnb.py, Linear4bit",
        forms: |case| adapters(case, Some(QuantizedType::Nf4), 4),
    },
    Row {
        name: "a smaller model",
        slot: Variant,
        class: Class::Model,
        cost: "another model: fewer parameters, other results",
        code: "from_pretrained(\"{}\")",
        source: "the family's published configurations",
        forms: |case| case.smaller(),
    },
];
