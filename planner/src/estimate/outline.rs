//! What a config.json says of a decoder or an encoder of text, under the names that configs have for it.

use std::path::PathBuf;

use serde_json::Value;

use super::{EstimateError, Range};
use crate::model::undescribed::Undescribed;
use crate::read::config::Config;

/// The sections of a config that have a model's text part.
const TEXT: [&str; 4] = ["text_config", "llm_config", "language_config", "thinker_config"];

/// What the class of a causal language model, of text or beside images, ends with.
const CAUSAL: [&str; 6] = [
    "ForCausalLM",
    "LMHeadModel",
    "ForConditionalGeneration",
    "ForImageTextToText",
    "ForVision2Seq",
    "ForConditionalGenerationV2",
];

/// Entries that recurrent layers and convolutions have, beginnings of them.
const OTHER_LAYERS: [&str; 14] = [
    "ssm_",
    "mamba_",
    "state_size",
    "d_state",
    "conv_L_cache",
    "conv_kernel",
    "lru_width",
    "linear_num_",
    "linear_conv",
    "rwkv",
    "attention_hidden_size",
    "time_step_",
    "mlstm",
    "xlstm",
];

/// The sections of a config that have other parts, which a run of text leaves alone.
const OTHER_PARTS: [&str; 6] =
    ["vision_config", "visual_config", "vit_config", "audio_config", "speech_config", "img_processor"];

/// The entries of attention that scores all tokens by small heads and attends to the best: no stand-in has these.
const INDEXERS: [&str; 2] = ["index_n_heads", "index_head_dim"];

/// The entries that say the kinds of layers.
const LAYER_KINDS: [&str; 4] = ["layer_types", "layers_block_type", "block_types", "hybrid_override_pattern"];

/// The largest sizes, so that no sum over them overflows: of a dimension, and of the number of layers.
const LARGEST: u64 = 1 << 24;
const MOST_LAYERS: u64 = 1 << 14;

/// What a model gives, and so what a run can do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Logits for the next token; it can generate.
    Causal,
    /// Logits for tokens that are hidden.
    Masked,
    /// A class for a sequence.
    Classes,
    /// Hidden states: a base model, without a loss.
    Nothing,
}

/// The heads of an attention: the query's, those of keys and values, and the elements of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    pub query: u64,
    pub cached: u64,
    pub width: u64,
}

/// A mixture of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    pub count: u64,
    /// How many a token goes through.
    pub chosen: u64,
    /// The inner size of each.
    pub inner: u64,
    /// The inner size of what all tokens go through beside them, where there is any.
    pub shared: u64,
    /// The layers at the beginning that have none.
    pub dense_layers: u64,
    /// Whether others may have none.
    pub may_be_dense: bool,
    /// The inner size of the MLPs of layers without experts; None where the config gives none of their own.
    pub dense: Option<u64>,
}

/// A decoder or an encoder of text, by its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    pub head: Head,
    pub layers: u64,
    pub hidden: u64,
    pub vocab: u64,
    /// The least and the most that attention can have. They differ where keys and values are made of something smaller (`kv_lora_rank`).
    pub heads: (Heads, Heads),
    /// The ranks of what queries, and keys and values, are made of where these are made of something smaller.
    pub ranks: Option<(Option<u64>, u64)>,
    /// The inner size of the MLP.
    pub inner: u64,
    /// How many layers have weights of their own.
    pub own_layers: u64,
    /// The elements of an embedding.
    pub embedding: Range<u64>,
    /// The rows of tables beside the tokens' and the positions'.
    pub tables: Vec<u64>,
    /// Whether its activation is one that gates.
    pub gated: bool,
    pub experts: Option<Experts>,
    /// The tokens that attention sees, where a window bounds them in some layers.
    pub window: Option<u64>,
    /// The most tokens that it takes, where the config says.
    pub positions: Option<u64>,
    /// Whether the embeddings of tokens are the head's too; None where the config does not say.
    pub tied: Option<bool>,
    pub labels: u64,
    /// The section of the config that it stands in, where the model has other parts.
    pub section: Option<&'static str>,
    /// Whether the model has other parts.
    pub other_parts: bool,
}

/// Reads the outline of a model.
///
/// # Errors
/// A config that lacks a size or has one that cannot be, and models that are neither a decoder nor an encoder of text.
pub fn read(model: &Undescribed) -> Result<Outline, EstimateError> {
    let whole = &model.config;
    if whole.get("quantization_config").is_some() {
        return Err(EstimateError::StoredQuantized { path: whole.path().to_owned() });
    }
    let head = head_of(&model.architecture).ok_or(EstimateError::NoText)?;
    let section = TEXT.into_iter().find(|key| whole.get(key).is_some_and(Value::is_object));
    let part = match section {
        Some(key) => whole.section(key)?,
        None => None,
    };
    let entries = Entries { config: part.as_ref().unwrap_or(whole), whole };
    entries.refuse_other_layers()?;
    let layers = entries.needed(&["num_hidden_layers", "n_layer", "num_layers", "n_layers"], MOST_LAYERS)?;
    let hidden = entries.needed(&["hidden_size", "n_embd", "d_model", "dim", "model_dim"], LARGEST)?;
    let vocab = entries.needed(&["vocab_size", "padded_vocab_size", "n_vocab"], LARGEST)?;
    let inner = ["intermediate_size", "n_inner", "ffn_dim", "d_ff", "ffn_hidden_size", "hidden_dim"];
    let stated = entries.size(&inner, LARGEST)?;
    let inner = stated.unwrap_or(4 * hidden);
    let outline = Outline {
        head,
        layers,
        hidden,
        vocab,
        heads: entries.heads(hidden)?,
        ranks: match entries.size(&["kv_lora_rank"], LARGEST)? {
            Some(rank) => Some((entries.size(&["q_lora_rank"], LARGEST)?, rank)),
            None => None,
        },
        inner,
        own_layers: entries.size(&["num_hidden_groups"], MOST_LAYERS)?.unwrap_or(layers).min(layers),
        embedding: entries.embedding(hidden)?,
        tables: entries.tables(),
        gated: entries.is_gated(),
        experts: entries.experts(inner, stated)?,
        window: entries.size(&["sliding_window", "attention_window_size", "window_size"], LARGEST)?,
        positions: entries.size(&["max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"], LARGEST)?,
        tied: entries.flag("tie_word_embeddings"),
        labels: entries.labels(),
        section,
        other_parts: section.is_some() || OTHER_PARTS.iter().any(|key| whole.get(key).is_some_and(Value::is_object)),
    };
    Ok(outline)
}

fn head_of(architecture: &str) -> Option<Head> {
    let ends_with = |end: &&str| architecture.ends_with(end);
    if CAUSAL.iter().any(ends_with) {
        return Some(Head::Causal);
    }
    let others =
        [("ForMaskedLM", Head::Masked), ("ForSequenceClassification", Head::Classes), ("Model", Head::Nothing)];
    others.into_iter().find(|(end, _)| ends_with(end)).map(|(_, head)| head)
}

/// The entries of the text part, and of the whole config.
struct Entries<'a> {
    config: &'a Config,
    whole: &'a Config,
}

impl Entries<'_> {
    /// A size by the first of its names that has one.
    fn size(&self, names: &[&'static str], most: u64) -> Result<Option<u64>, EstimateError> {
        for name in names {
            let Some(size) = self.config.integer(name)? else { continue };
            if !(1..=most).contains(&size) {
                return Err(EstimateError::Size { path: self.path(), key: name, found: size, most });
            }
            return Ok(Some(size));
        }
        Ok(None)
    }

    fn needed(&self, names: &[&'static str], most: u64) -> Result<u64, EstimateError> {
        self.size(names, most)?.ok_or_else(|| EstimateError::Lacks { path: self.path(), names: names.join(", ") })
    }

    fn path(&self) -> PathBuf {
        self.config.path().to_owned()
    }

    /// True or false where the text part says it, else where the whole config does.
    fn flag(&self, name: &str) -> Option<bool> {
        let said = |config: &Config| config.get(name).and_then(Value::as_bool);
        said(self.config).or_else(|| said(self.whole))
    }

    /// Refuses encoders with decoders, and layers that are no attention.
    fn refuse_other_layers(&self) -> Result<(), EstimateError> {
        let refuse = |what: String| Err(EstimateError::OtherLayers { path: self.path(), what });
        if self.flag("is_encoder_decoder") == Some(true) {
            return refuse("an encoder with a decoder".to_owned());
        }
        let keys = self.config.values().iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key);
        if let Some(key) = keys.into_iter().find(|key| OTHER_LAYERS.iter().any(|begin| key.starts_with(begin))) {
            return refuse(format!("layers that are no attention, by its entry \"{key}\""));
        }
        if let Some(key) = INDEXERS.into_iter().find(|key| self.config.get(key).is_some_and(|value| !value.is_null())) {
            return refuse(format!("attention that chooses its tokens by heads of their own, by its entry \"{key}\""));
        }
        for key in LAYER_KINDS {
            let other = match self.config.get(key) {
                Some(Value::Array(kinds)) => {
                    let kinds = kinds.iter().map(|kind| kind.as_str().unwrap_or_default());
                    kinds.into_iter().find(|kind| !kind.contains("attention") || kind.contains("linear"))
                }
                Some(Value::String(pattern)) => Some(pattern.as_str()),
                _ => None,
            };
            if let Some(other) = other {
                return refuse(format!("layers that are no attention, {key}: \"{other}\""));
            }
        }
        Ok(())
    }

    /// The least and the most elements of an embedding.
    fn embedding(&self, hidden: u64) -> Result<Range<u64>, EstimateError> {
        let own = self.size(&["embedding_size", "word_embed_proj_dim", "input_embedding_size"], LARGEST)?;
        let is_width = |key: &str| ["embedding_size", "embed_dim", "emb_size"].iter().any(|end| key.ends_with(end));
        let others = self.config.values().iter().filter(|(key, _)| is_width(key));
        let widest = others.filter_map(|(_, value)| value.as_u64().filter(|width| *width <= LARGEST)).max();
        Ok(Range { low: own.unwrap_or(hidden).min(hidden), high: widest.unwrap_or(hidden).max(hidden) })
    }

    /// The sizes of other vocabularies.
    fn tables(&self) -> Vec<u64> {
        let others = self.config.values().iter().filter(|(key, _)| *key != "vocab_size" && key.ends_with("vocab_size"));
        others.filter_map(|(_, value)| value.as_u64().filter(|rows| *rows <= LARGEST)).collect()
    }

    fn heads(&self, hidden: u64) -> Result<(Heads, Heads), EstimateError> {
        const NAMES: [&str; 5] = ["num_attention_heads", "n_head", "num_heads", "n_heads", "num_query_heads"];
        let query = self.needed(&NAMES, LARGEST)?;
        let cached = [
            "num_key_value_heads",
            "num_kv_heads",
            "n_kv_heads",
            "n_head_kv",
            "num_query_groups",
            "multi_query_group_num",
        ];
        let single = ["multi_query", "multi_query_attention"].iter().any(|name| self.flag(name) == Some(true));
        let cached = match self.size(&cached, LARGEST)? {
            Some(cached) => cached,
            None if single => 1,
            None => query,
        };
        let refuse = |what: String| Err(EstimateError::OtherLayers { path: self.path(), what });
        if !query.is_multiple_of(cached) {
            return refuse(format!("{query} attention heads that do not share {cached} heads of keys and values"));
        }
        let width = match self.size(&["head_dim", "attention_head_dim", "kv_channels", "d_kv"], LARGEST)? {
            Some(width) => width,
            None if hidden.is_multiple_of(query) => hidden / query,
            None => return refuse(format!("a hidden size of {hidden} that is no multiple of {query} heads")),
        };
        if self.size(&["kv_lora_rank"], LARGEST)?.is_none() {
            let heads = Heads { query, cached, width };
            return Ok((heads, heads));
        }
        let turned = self.size(&["qk_rope_head_dim"], LARGEST)?.unwrap_or(0);
        let plain = self.size(&["qk_nope_head_dim"], LARGEST)?.unwrap_or(width);
        let value = self.size(&["v_head_dim"], LARGEST)?.unwrap_or(width);
        let least = Heads { query, cached: 1, width: value.min(plain + turned) };
        Ok((least, Heads { query, cached: query, width: value.max(plain + turned) }))
    }

    fn is_gated(&self) -> bool {
        let names = ["hidden_act", "hidden_activation", "activation_function", "hidden_activation"];
        let said = names.iter().find_map(|name| self.config.get(name)?.as_str());
        said.is_some_and(|name| name.contains("silu") || name.contains("swish") || name.contains("glu"))
    }

    fn experts(&self, inner: u64, stated: Option<u64>) -> Result<Option<Experts>, EstimateError> {
        let counts = ["num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"];
        let Some(count) = self.size(&counts, LARGEST)?.filter(|count| *count > 1) else { return Ok(None) };
        let chosen =
            ["num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k", "experts_per_token"];
        let chosen = self.size(&chosen, LARGEST)?.unwrap_or(count).min(count);
        let own = self.size(&["moe_intermediate_size", "expert_intermediate_size", "expert_ffn_size"], LARGEST)?;
        let shared = match self.size(&["shared_expert_intermediate_size"], LARGEST)? {
            Some(shared) => shared,
            None => {
                let count =
                    ["n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts"].iter();
                let count = count.filter_map(|name| self.config.get(name)?.as_u64()).next().unwrap_or(0);
                count.min(LARGEST / own.unwrap_or(inner)) * own.unwrap_or(inner)
            }
        };
        let dense_layers = ["first_k_dense_replace", "moe_layer_start_index"].iter();
        let dense_layers = dense_layers.filter_map(|name| self.config.get(name)?.as_u64()).next().unwrap_or(0);
        let dense = stated.filter(|_| own.is_some());
        let may_be_dense = ["mlp_only_layers", "decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step"];
        let says_all = |value: &Value| *value == 1 || value.as_array().is_some_and(Vec::is_empty);
        let may_be_dense = may_be_dense.iter().any(|name| self.config.get(name).is_some_and(|value| !says_all(value)));
        let inner = own.unwrap_or(inner);
        Ok(Some(Experts { count, chosen, inner, shared, dense_layers, may_be_dense, dense }))
    }

    fn labels(&self) -> u64 {
        let listed = self.whole.get("id2label").and_then(Value::as_object).map(|labels| labels.len() as u64);
        listed.or_else(|| self.whole.get("num_labels")?.as_u64()).unwrap_or(2).clamp(1, LARGEST)
    }
}
