//! The weights of a model that no family describes, as the model `specs/estimate/weights.yaml` has them: a tree of modules by the names
//! of its tensors, of which an optimizer, LoRA and bitsandbytes make what they make of any model's.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::outline::{Head, Outline};
use crate::read::checkpoint::Checkpoint;
use crate::read::header::Dtype;

/// The deepest that a name is taken apart.
const DEEPEST: usize = 16;

/// Names that a module of a spec has for itself.
const TAKEN: [&str; 4] = ["", "config", "listed_parts", "training"];

/// What of a name says that a matrix is a table of embeddings.
const TABLES: [&str; 3] = ["embed", "wte", "wpe"];

/// What of a name says that a matrix is the output's.
const HEADS: [&str; 4] = ["lm_head", "embed_out", "output_layer", "lm_output"];

/// A tensor by its name and sizes.
pub type Tensor = (String, Vec<u64>);

/// Which bound weights are for, where that makes a difference.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Only these have a gradient; matrices of experts are linear layers, which bitsandbytes quantises.
    Least(Used),
    /// All have a gradient; matrices of experts are bare parameters, which bitsandbytes leaves, and what chooses among them is in float32.
    Most,
}

/// Which weights a run uses, and so trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// All of them.
    All,
    /// Those of the vocabulary, and of numbered layers where the model has no other parts: no name tells surely whose a layer is.
    Layers,
    /// The same without experts.
    LayersWithoutExperts,
}

impl Used {
    /// Whether a tensor is among them.
    pub fn holds(self, name: &str, sizes: &[u64], outline: &Outline) -> bool {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let is_left_out = self == Used::LayersWithoutExperts && name.contains("expert");
        let is_of_layer = name.split('.').any(is_number) && !outline.other_parts && !is_left_out;
        self == Used::All || is_of_layer || sizes == [outline.vocab, outline.hidden]
    }
}

impl Bound {
    fn uses(self, name: &str, sizes: &[u64], outline: &Outline) -> bool {
        match self {
            Bound::Least(used) => used.holds(name, sizes, outline),
            Bound::Most => true,
        }
    }
}

/// A module of the tree, or a tensor of one.
enum Node {
    Part(IndexMap<String, Node>),
    Own { kind: &'static str, sizes: Vec<u64>, bias: bool, used: bool },
}

/// The tensors of a checkpoint that the run loads as weights: numbers with a point, and each that is tied once.
pub fn stored(checkpoint: &Checkpoint, outline: &Outline) -> Vec<Tensor> {
    let loaded = checkpoint.tensors.iter().filter(|(_, tensor)| is_weight(tensor.dtype));
    let mut tensors: Vec<Tensor> = loaded.map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    let table = [outline.vocab, outline.hidden];
    let is_head = |(name, sizes): &Tensor| sizes[..] == table && HEADS.iter().any(|head| name.contains(head));
    let is_table = |tensor: &Tensor| tensor.1[..] == table && !is_head(tensor);
    let (has_table, has_head) = (tensors.iter().any(is_table), tensors.iter().any(is_head));
    let has_logits = matches!(outline.head, Head::Causal | Head::Masked);
    match outline.tied {
        Some(true) if has_table => tensors.retain(|tensor| !is_head(tensor)),
        Some(false) if has_table && !has_head && has_logits => {
            let tables = tensors.iter().filter(|tensor| is_table(tensor)).count();
            tensors.extend((tables == 1).then(|| ("lm_head.weight".to_owned(), table.to_vec())));
        }
        _ => {}
    }
    tensors
}

fn is_weight(dtype: Dtype) -> bool {
    !matches!(
        dtype,
        Dtype::BOOL
            | Dtype::U8
            | Dtype::I8
            | Dtype::U16
            | Dtype::I16
            | Dtype::U32
            | Dtype::I32
            | Dtype::U64
            | Dtype::I64
    )
}

/// The most positions that have embeddings of their own; models of longer sequences turn heads instead.
const EMBEDDED_POSITIONS: u64 = 1 << 13;

/// The tensors that a model of the outline has at least, and at most.
pub fn of_config(outline: &Outline, at_most: bool) -> Vec<Tensor> {
    let Outline { hidden, vocab, embedding, .. } = *outline;
    let mut tensors: Vec<Tensor> = Vec::new();
    let mut add = |name: &str, sizes: &[u64]| tensors.push((format!("{name}.weight"), sizes.to_vec()));
    add("model.embed_tokens", &[vocab, if at_most { hidden } else { embedding.low }]);
    if at_most {
        let positions = outline.positions.filter(|positions| *positions <= EMBEDDED_POSITIONS);
        for (number, rows) in positions.iter().chain(&outline.tables).enumerate() {
            add(&format!("model.embed_others.{number}"), &[*rows, embedding.high]);
        }
    }
    for layer in 0..if at_most { outline.layers } else { outline.own_layers } {
        let mut add = |name: &str, sizes: &[u64]| add(&format!("model.layers.{layer}.{name}"), sizes);
        add("input_layernorm", &[hidden]);
        add("post_attention_layernorm", &[hidden]);
        attention(outline, at_most, &mut add);
        mlp(outline, at_most, layer, &mut add);
    }
    add("model.norm", &[hidden]);
    match outline.head {
        Head::Causal | Head::Masked => {
            if !outline.tied.unwrap_or(!at_most) {
                add("lm_head", &[vocab, if at_most { embedding.high } else { embedding.low }]);
            }
            if at_most && outline.head == Head::Masked {
                add("head.dense", &[embedding.high, hidden]);
            }
        }
        Head::Classes => add("score", &[outline.labels, hidden]),
        Head::Nothing => {}
    }
    if at_most && matches!(outline.head, Head::Classes | Head::Nothing) {
        add("pooler.dense", &[hidden, hidden]);
    }
    tensors
}

fn attention(outline: &Outline, at_most: bool, add: &mut dyn FnMut(&str, &[u64])) {
    let (hidden, heads) = (outline.hidden, if at_most { outline.heads.1 } else { outline.heads.0 });
    let (query, cached) = (heads.query * heads.width, heads.cached * heads.width);
    match outline.ranks.filter(|_| at_most) {
        Some((query_rank, cached_rank)) => {
            match query_rank {
                Some(rank) => {
                    add("self_attn.q_a_proj", &[rank, hidden]);
                    add("self_attn.q_b_proj", &[query, rank]);
                }
                None => add("self_attn.q_proj", &[query, hidden]),
            }
            add("self_attn.kv_a_proj", &[cached_rank + heads.width, hidden]);
            add("self_attn.kv_b_proj", &[2 * cached, cached_rank]);
        }
        None => {
            add("self_attn.q_proj", &[query, hidden]);
            add("self_attn.k_proj", &[cached, hidden]);
            add("self_attn.v_proj", &[cached, hidden]);
        }
    }
    add("self_attn.o_proj", &[hidden, query]);
}

fn mlp(outline: &Outline, at_most: bool, layer: u64, add: &mut dyn FnMut(&str, &[u64])) {
    let (hidden, is_gated) = (outline.hidden, at_most || outline.gated);
    let dense = |name: &str, inner: u64, add: &mut dyn FnMut(&str, &[u64])| {
        let gate = is_gated.then_some("gate_proj");
        for projection in gate.into_iter().chain(["up_proj"]) {
            add(&format!("{name}.{projection}"), &[inner, hidden]);
        }
        add(&format!("{name}.down_proj"), &[hidden, inner]);
    };
    let Some(experts) = outline.experts.filter(|experts| layer >= experts.dense_layers) else {
        return dense("mlp", outline.inner, add);
    };
    if experts.may_be_dense && !at_most {
        return dense("mlp", outline.inner.min(experts.inner * experts.count), add);
    }
    let shared = if at_most { experts.shared.max(experts.inner) } else { experts.shared };
    if shared > 0 {
        dense("mlp.shared_experts", shared, add);
    }
    let up = experts.inner * if is_gated { 2 } else { 1 };
    add("mlp.experts.gate_up_proj", &[experts.count, up, hidden]);
    add("mlp.experts.down_proj", &[experts.count, hidden, experts.inner]);
    add("mlp.gate", &[experts.count, hidden]);
}

/// The config of the model that has these weights and nothing else.
pub fn config(tensors: &[Tensor], outline: &Outline, bound: Bound) -> Map<String, Value> {
    let named: IndexMap<&str, &[u64]> = tensors.iter().map(|(name, sizes)| (name.as_str(), &sizes[..])).collect();
    let mut root = IndexMap::new();
    for (&name, &sizes) in &named {
        if let Some(module) = name.strip_suffix(".bias")
            && named.get(&*format!("{module}.weight")).is_some_and(|matrix| takes_bias(matrix, sizes))
        {
            continue;
        }
        let (path, own) = match name.strip_suffix(".weight").filter(|_| sizes.len() == 2) {
            Some(module) => {
                let bias = named.get(&*format!("{module}.bias")).copied().filter(|bias| takes_bias(sizes, bias));
                (module, matrix(name, sizes, bias, (outline, bound)))
            }
            None => {
                let used = bound.uses(name, sizes, outline);
                (name, Node::Own { kind: "tensor", sizes: sizes.to_vec(), bias: false, used })
            }
        };
        place(&mut root, &path.splitn(DEEPEST, '.').collect::<Vec<_>>(), own);
    }
    let weights = ("weights".to_owned(), written(&root));
    [weights].into_iter().collect()
}

/// Whether a vector is the bias of a matrix, stored either way round.
fn takes_bias(matrix: &[u64], bias: &[u64]) -> bool {
    matrix.len() == 2 && bias.len() == 1 && matrix.contains(&bias[0])
}

fn matrix(name: &str, sizes: &[u64], bias: Option<&[u64]>, (outline, bound): (&Outline, Bound)) -> Node {
    let is_table = sizes.contains(&outline.vocab) || TABLES.iter().any(|word| name.contains(word));
    let is_layer = matches!(bound, Bound::Least(_)) || !name.contains("expert");
    let used = bound.uses(name, sizes, outline);
    let routes = matches!(bound, Bound::Most) && outline.experts.is_some_and(|experts| experts.count == sizes[0]);
    let kind = match (is_table, is_layer) {
        (true, _) if bias.is_none() => "table",
        _ if routes => "router",
        (_, true) => "linear",
        _ => "matrix",
    };
    // of a matrix that is stored the other way round the bias has as many elements as it has columns
    let turned = bias.is_some_and(|bias| bias[0] != sizes[0]);
    let sizes = if turned { vec![sizes[1], sizes[0]] } else { sizes.to_vec() };
    Node::Own { kind, sizes, bias: bias.is_some(), used }
}

/// Puts a tensor or a module into the tree; where something else has its name, beside it.
fn place(parts: &mut IndexMap<String, Node>, path: &[&str], own: Node) {
    let Some((first, rest)) = path.split_first() else { return };
    let mut name = if rest.is_empty() { first.replace('.', "_") } else { (*first).to_owned() };
    while TAKEN.contains(&&*name) || clashes(parts.get(&name), rest) {
        name.push('_');
    }
    match rest {
        [] => _ = parts.insert(name, own),
        _ => {
            if let Node::Part(below) = parts.entry(name).or_insert_with(|| Node::Part(IndexMap::new())) {
                place(below, rest, own);
            }
        }
    }
}

fn clashes(there: Option<&Node>, rest: &[&str]) -> bool {
    match there {
        None => false,
        Some(Node::Part(_)) => rest.is_empty(),
        Some(Node::Own { .. }) => true,
    }
}

fn written(parts: &IndexMap<String, Node>) -> Value {
    let part = |(name, node): (&String, &Node)| match node {
        Node::Part(below) => json!({ "name": name, "kind": "part", "parts": written(below), "used": true }),
        Node::Own { kind, sizes, bias, used } => {
            json!({ "name": name, "kind": kind, "sizes": sizes, "bias": bias, "used": used })
        }
    };
    Value::Array(parts.iter().map(part).collect())
}
