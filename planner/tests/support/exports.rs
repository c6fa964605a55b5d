//! Exported programs that are written for a test: the JSON of a graph, and archives.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

/// A tensor's metadata: float32 of these sizes.
pub fn meta(sizes: &[i64]) -> Value {
    let sizes: Vec<Value> = sizes.iter().map(|size| json!({ "as_int": size })).collect();
    json!({ "dtype": 7, "sizes": sizes, "requires_grad": true, "strides": [], "storage_offset": { "as_int": 0 }, "layout": 7,
        "device": { "type": "cpu", "index": null } })
}

/// A node of a module's: `target` over tensors, which gives one.
pub fn node(target: &str, inputs: &[(&str, &str)], output: &str, module: &str) -> Value {
    let inputs: Vec<Value> = inputs
        .iter()
        .map(|(name, tensor)| json!({ "name": name, "arg": { "as_tensor": { "name": tensor } } }))
        .collect();
    let stack =
        if module.is_empty() { "L,,m.Model".to_owned() } else { format!("L,,m.Model;L_{module},{module},m.Block") };
    json!({ "target": target, "inputs": inputs, "outputs": [{ "as_tensor": { "name": output } }],
        "metadata": { "nn_module_stack": stack } })
}

/// A program that takes `x` of these sizes and holds `weight`, of these nodes; the last one's output comes out.
pub fn program(sizes: &[i64], weight: &[i64], nodes: Vec<Value>) -> Value {
    let last = nodes.last().map_or(json!("x"), |node| node["outputs"][0]["as_tensor"]["name"].clone());
    let mut values = serde_json::Map::new();
    values.insert("x".to_owned(), meta(sizes));
    values.insert("p_weight".to_owned(), meta(weight));
    for node in &nodes {
        if let Some(name) = node["outputs"][0]["as_tensor"]["name"].as_str() {
            values.insert(name.to_owned(), meta(sizes));
        }
    }
    let named = |name: &str| json!({ "as_tensor": { "name": name } });
    json!({
        "schema_version": { "major": 8, "minor": 17 },
        "graph_module": {
            "graph": { "inputs": [named("p_weight"), named("x")], "outputs": [{ "as_tensor": { "name": last } }], "nodes": nodes,
                "tensor_values": values, "sym_int_values": {} },
            "signature": {
                "input_specs": [{ "parameter": { "arg": { "name": "p_weight" }, "parameter_name": "weight" } },
                    { "user_input": { "arg": named("x") } }],
                "output_specs": [{ "user_output": { "arg": { "as_tensor": { "name": last } } } }],
            },
            "module_call_graph": [],
        },
    })
}

/// A chain of so many operators in blocks of ten, each a module.
pub fn chain(length: usize) -> Value {
    let name = |number: usize| if number == 0 { "x".to_owned() } else { format!("t{number}") };
    let each = |number: usize| {
        let (from, to, module) = (name(number), name(number + 1), format!("block{}", number / 10));
        match number % 2 {
            0 => node("torch.ops.aten.mul.Tensor", &[("self", &from), ("other", "p_weight")], &to, &module),
            _ => node("torch.ops.aten.relu.default", &[("self", &from)], &to, &module),
        }
    };
    program(&[8, 64], &[64], (0..length).map(each).collect())
}

/// Writes an archive with these entries.
pub fn archive(path: &Path, entries: &[(&str, &[u8])]) {
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).expect("a file"));
    for (name, bytes) in entries {
        let fast = Some(1);
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated).compression_level(fast);
        archive.start_file(*name, options).expect("an entry");
        archive.write_all(bytes).expect("its bytes");
    }
    archive.finish().expect("a directory");
}
