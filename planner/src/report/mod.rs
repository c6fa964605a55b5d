//! Shows a plan: as text for people, as JSON for programs, and its event stream in the traces' format.
//!
//! Nothing is computed here but layout: what is shown, [`Plan`] says.

pub mod advise;
pub mod arena;
mod blocks;
pub mod brief;
pub mod buy;
pub mod calibrate;
pub mod catalogue;
pub mod changes;
pub mod check;
pub mod checkpoint;
mod colours;
pub mod compare;
pub mod estimate;
pub mod events;
pub mod fit;
pub mod graph;
pub mod inspect;
pub mod json;
mod options;
pub mod packed;
pub mod page;
pub mod perfetto;
pub mod picture;
pub mod replay;
#[cfg(feature = "schemas")]
pub mod schemas;
pub mod sweep;
mod table;
pub mod text;
pub mod versions;
pub mod why;

use std::sync::Arc;

use crate::bytes::Bytes;
use crate::graph::Parameter;
use crate::model::Model;
use crate::model::export::{Exported, Origin};
use crate::model::quantization::{Method, Quantization};
use crate::ops::{GROUPED_MM, KERNEL, NONZERO, PAGES_KERNEL, convolution_workspace, other_kernels};
use crate::plan::Plan;
use crate::read::gpus::Gpu;
use crate::read::profiles::Profile;
use crate::run::{Attention, CacheKind, LoadedTo, LossKind, Mode, Parallel, Run};
use crate::versions::Release;
use crate::words::quote;

pub use table::lay_out_for;

/// The version of the answers in JSON, which each has under `schema`: another number means that a key changed its name or meaning.
pub const SCHEMA: u32 = 1;

/// How many of the largest tensors are shown.
const LARGEST: usize = 10;

/// A plan with what was planned.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// The model.
    pub model: &'a Model,
    /// The run.
    pub run: &'a Run,
    /// The GPU.
    pub gpu: &'a Gpu,
    /// The plan.
    pub plan: &'a Plan,
}

/// The autograd name that PyTorch gives to cuDNN's attention.
const CUDNN_ATTENTION: &str = "_scaled_dot_product_cudnn_attention";

/// What is not known of the package flash-attn.
const FLASH_NOTE: &str = "flash-attn is planned with the kernels that PyTorch has copied from it: what it allocates is the same by \
                          both sources, the order of small buffers was not compared";

/// A matrix of weights for each expert.
const EXPERTS_DIMENSIONS: usize = 3;

/// A time for people.
fn seconds(seconds: f64) -> String {
    match seconds {
        0.0 => "0 s".to_owned(),
        ..1e-3 => format!("{:.3} us", seconds * 1e6),
        ..1.0 => format!("{:.3} ms", seconds * 1e3),
        _ => format!("{seconds:.3} s"),
    }
}

impl Planned<'_> {
    /// How the checkpoint stores its weights quantised, if it does.
    fn quantization(&self) -> Option<Quantization> {
        self.model.quantization().ok().flatten()
    }

    /// What a user should look at.
    fn warnings(&self) -> Vec<String> {
        let agreement = &self.plan.agreement;
        let missing = (&agreement.missing, "missing from the weights, to be newly initialised");
        let unexpected = (&agreement.unexpected, "in the weights that this architecture has no use for");
        let some = [("parameter", missing), ("tensor", unexpected)];
        let some = some.iter().filter(|(_, (names, _))| !names.is_empty());
        let sharded = match (&self.run.parallel, &self.plan.optimizer) {
            (Some(Parallel::Fsdp(_)), Some(optimizer)) => optimizer.when_sharded.clone(),
            _ => None,
        };
        let newer = self.run.versions().unknown().map(|(library, release)| {
            let (name, newest) = (library.name(), library.newest());
            format!("{name} {release} is not known here: planned by the rules of {newest}, the newest that is")
        });
        let other = self.model.family.read_in.and_then(|(library, release)| {
            let planned = self.run.versions().of(library);
            let (family, name) = (&self.model.family.name, library.name());
            (planned != release).then(|| {
                format!("{family} was read in {name} {release}: what it does otherwise in {planned} is not known here")
            })
        });
        let before = self.run.versions().transformers < Release::new(5, 17);
        let loading = self.quantization().filter(|_| before).map(|_| {
            let release = self.run.versions().transformers;
            format!("weights that are stored quantised are loaded as transformers 5.17 does: how {release} does is not known here")
        });
        let lists = some.map(|(noun, (names, what))| {
            let first: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
            let more = if names.len() > 3 { format!(" and {} more", names.len() - 3) } else { String::new() };
            let plural = if names.len() == 1 { "" } else { "s" };
            format!("{} {noun}{plural} {what}: {}{more}", names.len(), quote::cut(&first.join(", ")))
        });
        newer
            .into_iter()
            .chain(other)
            .chain(loading)
            .chain(lists)
            .chain(self.not_quantized())
            .chain(sharded)
            .chain(self.unknown_operators())
            .collect()
    }

    /// Experts that stay as they are where linear layers are quantised: they are parameters of three dimensions of a module that is no
    /// Linear (transformers 5.17.0, quantizers/quantizer_bnb_4bit.py, `param_needs_quantization`).
    fn not_quantized(&self) -> Option<String> {
        self.run.quantize?;
        let weights = self.plan.precision.dtype();
        let graph = &self.plan.graph;
        let convolves = |parameter: &Parameter| graph.modules[parameter.module.index()].class.starts_with("Conv");
        let is_left = |parameter: &&Parameter| {
            !parameter.buffer && parameter.shape.len() == EXPERTS_DIMENSIONS && !convolves(parameter)
        };
        let left: Vec<&Parameter> = graph.parameters.iter().filter(is_left).collect();
        let bytes = |parameter: &&Parameter| {
            parameter.shape.iter().product::<u64>() * parameter.dtype.unwrap_or(weights).size()
        };
        let total = Bytes(left.iter().map(bytes).sum());
        let first = left.first()?;
        Some(format!(
            "{total} stay in {weights}: {} parameters of experts are no linear layers, which alone are quantised, such as {}",
            left.len(),
            quote::cut(&first.name)
        ))
    }

    /// Workspaces that nobody can know without a measurement, where the run has some.
    fn unknown_workspaces(&self) -> impl Iterator<Item = String> {
        self.cudnn_attention_note().into_iter().chain(self.convolutions_note())
    }

    /// What the figures leave out or take for granted.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some((allocated, reserved)) = self.plan.without_grad {
            notes.push(format!(
                "under torch.no_grad() the peaks would be {allocated} allocated and {reserved} reserved"
            ));
        }
        if self.plan.architecture != self.model.architecture {
            notes.push(format!(
                "{} has no loss of its own: planned as {}",
                self.model.architecture, self.plan.architecture
            ));
        }
        notes.extend(self.no_weights_note());
        notes.extend(self.cudnn_attention_note());
        notes.extend((self.plan.graph.attention() == Some(Attention::FlashAttention2)).then(|| FLASH_NOTE.to_owned()));
        if self.plan.graph.ops.iter().any(|op| op.operator.name == GROUPED_MM) {
            notes.push(
                "all experts are computed at once: no size depends on how tokens are spread over them".to_owned(),
            );
        }
        if self.plan.graph.ops.iter().any(|op| op.operator.name == NONZERO) {
            notes.push("experts are taken to get equally many tokens: which get how many is not known".to_owned());
        }
        notes.extend(self.convolutions_note());
        notes.extend(self.model.exported.as_ref().map(|exported| self.exported_note(exported)));
        let host = &self.plan.trace.host;
        if !host.is_empty() {
            let total = self.plan.trace.host_bytes();
            let parts = host.iter().map(|(category, bytes)| format!("{} {bytes}", category.name()));
            let parts = parts.collect::<Vec<_>>().join(", ");
            notes.push(format!("{} bytes ({total}) lie in the host's memory, not counted here: {parts}", total.0));
        }
        notes.extend((self.run.cache_kind() == CacheKind::Paged).then(|| self.pages_note()));
        notes.extend(self.quantization().and_then(|stored| self.quantization_note(&stored)));
        let is_quantized = self.plan.graph.is_quantized();
        notes.extend(self.run.parallel.as_ref().map(|parallel| parallel_note(parallel, is_quantized)));
        notes
    }
}

impl Planned<'_> {
    /// Where a config stands alone: whose the parameters are.
    fn no_weights_note(&self) -> Option<String> {
        let config = self.model.config_file.as_ref().filter(|_| self.model.weights.is_none())?;
        Some(format!(
            "no weights beside {}: parameters are those that {} has with it",
            config.display(),
            self.plan.architecture
        ))
    }

    /// Where cuDNN computes attention: what is known of its workspaces.
    fn cudnn_attention_note(&self) -> Option<String> {
        let trace = &self.plan.trace;
        trace.most_bytes(|allocation| trace.operator(allocation).starts_with(CUDNN_ATTENTION))?;
        let profile = self.gpu.profile.as_ref();
        let measured =
            |profile: &&Arc<Profile>| self.plan.cudnn.attention.iter().all(|key| profile.attention(key).is_some());
        Some(match profile.filter(measured).filter(|_| !self.plan.cudnn.attention.is_empty()) {
            Some(profile) => format!(
                "cuDNN computes attention here; its workspaces are those that the profile {} measured",
                profile.name
            ),
            None => "cuDNN computes attention here; its workspaces cannot be derived and count as 0 bytes".to_owned(),
        })
    }

    /// What is known of cuDNN's workspaces for convolutions.
    fn convolutions_note(&self) -> Option<String> {
        let calls = &self.plan.cudnn;
        if let Some(profile) =
            self.gpu.profile.as_ref().filter(|profile| calls.are_measured(profile) && !calls.convolutions.is_empty())
        {
            return Some(format!(
                "cuDNN's workspaces of convolutions are those that the profile {} measured",
                profile.name
            ));
        }
        let precision = self.plan.precision;
        let element = precision.autocast().unwrap_or(precision.dtype()).size();
        let bound = convolution_workspace(&self.plan.graph, element);
        (bound > Bytes(0)).then(|| {
            format!(
                "cuDNN workspace not known, up to {bound}: what the largest convolution takes as an explicit matrix product, \
                 with its tensors once more in another layout; counted as 0 bytes"
            )
        })
    }

    /// What an export leaves to be said: the loss, and what it cannot know.
    fn exported_note(&self, exported: &Exported) -> String {
        let from = match exported.origin {
            Origin::Export => "planned from the graph that torch.export wrote, as eager PyTorch runs it",
            Origin::Class => "planned from its source, which is read and never run",
        };
        let inputs = exported.inputs_in_words();
        let mut parts = vec![if inputs.is_empty() { from.to_owned() } else { format!("{from}: inputs {inputs}") }];
        if self.run.mode.records() {
            parts.push(match self.run.loss.or(self.plan.graph.loss).or(exported.loss) {
                Some(LossKind::Output) => "the loss is its own".to_owned(),
                Some(LossKind::CrossEntropy) => {
                    "the loss is the cross entropy of its first output, with a label a row (--loss)".to_owned()
                }
                _ => "the loss is the sum of its first output (--loss)".to_owned(),
            });
        }
        match (exported.training, self.run.mode == Mode::Train) {
            (Some(false), true) => parts.push(
                "it was exported in eval mode: dropout and batch norm are planned as in training, but what its code does in training \
                 alone (dropout within attention, stochastic depth) is not in it: export it after model.train()"
                    .to_owned(),
            ),
            (Some(true), false) => parts.push(
                "it was exported in training mode: dropout and batch norm are planned as in eval mode, but what its code does in \
                 training alone stays in it: export it after model.eval()"
                    .to_owned(),
            ),
            _ => {}
        }
        if !exported.has_table {
            parts.push(
                "the archive has no table of weights (PyTorch 2.8), or none of them has a byte (exported on the device meta or \
                 in a FakeTensorMode): parameters that are tied count as several"
                    .to_owned(),
            );
        }
        let exported_in = self.model.dtype.unwrap_or(crate::dtype::Dtype::F32);
        if self.plan.precision.dtype() != exported_in {
            parts.push(format!("it was exported in {exported_in}: casts to that type follow the run's, where their line does not name it"));
        }
        parts.join("; ")
    }

    /// The operators that the table lacks, with the bytes in doubt.
    fn unknown_operators(&self) -> Option<String> {
        let unknown = self.plan.unknown_operators(self.run);
        let total: Bytes = unknown.iter().map(|operator| operator.bytes).sum();
        let words = unknown.iter().map(|operator| match operator.calls {
            1 => operator.name.clone(),
            calls => format!("{} x{calls}", operator.name),
        });
        let words = quote::cut(&words.collect::<Vec<_>>().join(", "));
        (!unknown.is_empty()).then(|| {
            let count = unknown.len();
            let plural = if count == 1 { "" } else { "s" };
            format!(
                "{count} operator{plural} not known ({words}): outputs are those of the export's graph, and all inputs and outputs are \
                 planned to be kept for backward; up to {} bytes ({total}) in doubt, and what kernels take beside",
                total.0
            )
        })
    }

    /// What an engine's pages take, and what is not known of its kernels.
    fn pages_note(&self) -> String {
        let cached = self.plan.most_cached();
        let total = cached.total();
        let parts = match cached.window {
            Bytes(0) => String::new(),
            windows => format!(" ({} for layers that see all tokens, {} for windows)", cached.full.0, windows.0),
        };
        format!(
            "pages are an inference engine's, not PyTorch's: {} bytes ({total}){parts}, made before the first prompt; its kernels \
             read them in place, and what they take beside their output is planned with a bound for FlashAttention's, up to {}; \
             buffers that an engine keeps, as FlashInfer's workspace (394 MiB in vllm), are not counted; all else is planned as \
             transformers runs it",
            total.0,
            self.largest_by(PAGES_KERNEL)
        )
    }

    /// What is not known of a checkpoint's quantised weights.
    fn quantization_note(&self, stored: &Quantization) -> Option<String> {
        match stored.method {
            Method::Int8 { threshold: true } => Some(
                "LLM.int8() computes columns of the input with outliers apart; how many there are is not known before a run: \
                 planned with none"
                    .to_owned(),
            ),
            Method::Fp8 { .. } => Some(format!(
                "fp8 layers run kernels that are not PyTorch's (finegrained-fp8 with Triton, or DeepGEMM): what they take beside \
                 their output is planned with a bound, up to {}",
                self.largest_by(KERNEL)
            )),
            Method::Packed(packed) => {
                let other = if packed.by_output { "AWQ's own" } else { "exllama's" };
                Some(format!(
                    "{} layers run gptqmodel's kernels, whose temporaries are not known: planned with a bound for Marlin's and \
                     Triton's, up to {}; not counted are {other}, which would take up to {}, and the repacking of weights",
                    stored.word(),
                    self.largest_by(KERNEL),
                    other_kernels(&self.plan.graph)
                ))
            }
            _ => None,
        }
    }

    /// The most that a kernel of that name takes beside its output.
    fn largest_by(&self, kernel: &str) -> Bytes {
        let trace = &self.plan.trace;
        trace.most_bytes(|allocation| trace.operator(allocation) == kernel).unwrap_or_default()
    }
}

/// What a plan of one rank leaves out.
fn parallel_note(parallel: &Parallel, is_quantized: bool) -> String {
    let meant = match parallel {
        Parallel::Ddp(_) => "",
        Parallel::Fsdp(fsdp) => match fsdp.loaded_to(is_quantized) {
            LoadedTo::Meta => ", whose model is sharded on the meta device (load=cpu or load=gpu otherwise)",
            LoadedTo::Cpu => ", which takes one block after another to the GPU to shard it",
            LoadedTo::Gpu => ", which loads the whole model before it shards it",
        },
    };
    let ranks = parallel.ranks();
    format!(
        "one GPU of {ranks} is planned, the first{meant}; NCCL's own buffers lie outside the allocator and are not in these \
         figures"
    )
}
