//! Writes a family as a spec.

use std::fmt::Write as _;

use crate::family::{Architecture, Class, Family};
use crate::translate::Code;

/// The text of a spec file.
pub fn spec(family: &Family) -> String {
    let mut text = String::new();
    write(&mut text, family).map_or_else(|_| String::new(), |()| text)
}

fn write(text: &mut String, family: &Family) -> std::fmt::Result {
    writeln!(text, "# Written by `memplan import`; what is changed here is lost when it is imported again.")?;
    writeln!(text, "name: {}", family.name)?;
    writeln!(text, "source: {}", family.source)?;
    writeln!(text, "imported: true")?;
    if !family.release.is_empty() {
        writeln!(text, "read_in: transformers {}", family.release)?;
    }
    let takes_images = family.architectures.values().any(|architecture| architecture.images.is_some());
    let uses = match takes_images {
        true => "transformers, loops, images".to_owned(),
        false if family.uses.is_empty() => "transformers, loops".to_owned(),
        false => family.uses.join(", "),
    };
    writeln!(text, "uses: [{uses}]")?;
    writeln!(text, "architectures:")?;
    for (name, architecture) in &family.architectures {
        self::architecture(text, name, architecture)?;
    }
    if !family.lora_targets.is_empty() {
        writeln!(text, "lora_targets: [{}]", family.lora_targets.join(", "))?;
    }
    if !family.defaults.is_empty() || !family.derive.is_empty() {
        config(text, family)?;
    }
    for (section, is_module) in [("modules", true), ("classes", false)] {
        let classes = family.classes.iter().filter(|(_, class)| class.is_module == is_module);
        if classes.clone().next().is_none() {
            continue;
        }
        writeln!(text, "{section}:")?;
        for (place, (name, class)) in classes.enumerate() {
            if place > 0 {
                writeln!(text)?;
            }
            self::class(text, name, class)?;
        }
    }
    if !family.functions.is_empty() {
        writeln!(text, "functions:")?;
        for (place, (name, code)) in family.functions.iter().enumerate() {
            if place > 0 {
                writeln!(text)?;
            }
            function(text, 2, name, code)?;
        }
    }
    if !family.configurations.is_empty() {
        writeln!(text, "configurations:")?;
        family.configurations.iter().try_for_each(|line| writeln!(text, "  {line}"))?;
    }
    Ok(())
}

fn config(text: &mut String, family: &Family) -> std::fmt::Result {
    writeln!(text, "config:")?;
    writeln!(text, "  defaults:")?;
    for (name, value) in &family.defaults {
        writeln!(text, "    {name}: {value}")?;
    }
    if !family.aliases.is_empty() {
        let aliases: Vec<String> = family.aliases.iter().map(|(alias, entry)| format!("{alias}: {entry}")).collect();
        writeln!(text, "  aliases: {{{}}}", aliases.join(", "))?;
    }
    if !family.derive.is_empty() {
        writeln!(text, "  derive: |")?;
        family.derive.iter().try_for_each(|line| writeln!(text, "    {line}"))?;
    }
    Ok(())
}

fn architecture(text: &mut String, name: &str, architecture: &Architecture) -> std::fmt::Result {
    writeln!(text, "  {name}:")?;
    writeln!(text, "    inputs: {}", architecture.inputs)?;
    if let Some(made) = &architecture.made {
        writeln!(text, "    made: {made}")?;
    }
    if architecture.takes_images {
        writeln!(text, "    takes_images: true")?;
    }
    if let Some(images) = architecture.images {
        writeln!(text, "    images: {images}")?;
    }
    if architecture.takes_text {
        writeln!(text, "    takes_text: true")?;
    }
    if let Some(rows) = &architecture.image_rows {
        writeln!(text, "    image_rows: {{{rows}}}")?;
    }
    if !architecture.base_prefix.is_empty() {
        writeln!(text, "    base_prefix: {}", architecture.base_prefix)?;
    }
    if !architecture.tied.is_empty() {
        let pairs: Vec<String> = architecture.tied.iter().map(|(name, other)| format!("{name}: {other}")).collect();
        writeln!(text, "    tied: {{{}}}", pairs.join(", "))?;
    }
    if !architecture.ignored.is_empty() {
        let patterns: Vec<String> =
            architecture.ignored.iter().map(|pattern| format!("'{}'", pattern.replace('\'', "''"))).collect();
        writeln!(text, "    ignored: [{}]", patterns.join(", "))?;
    }
    for (key, entries) in [("renamed", &architecture.renamed), ("merged", &architecture.merged)] {
        if !entries.is_empty() {
            writeln!(text, "    {key}:")?;
            entries.iter().try_for_each(|(from, to)| writeln!(text, "      '{from}': {to}"))?;
        }
    }
    if architecture.generates {
        writeln!(text, "    generates: true")?;
    }
    if architecture.generates && !architecture.keeps_logits {
        writeln!(text, "    keeps_logits: false")?;
    }
    if !architecture.sdpa {
        writeln!(text, "    sdpa: false")?;
    }
    if let Some(name) = architecture.cache_argument.filter(|name| *name != "past_key_values") {
        writeln!(text, "    cache_argument: {name}")?;
    }
    Ok(())
}

fn class(text: &mut String, name: &str, class: &Class) -> std::fmt::Result {
    key(text, 2, &format!("{name}({})", class.parameters))?;
    writeln!(text)?;
    let is_empty = !class.checkpointing_layer && class.init.is_empty() && class.methods.is_empty();
    if is_empty {
        writeln!(text, "    checkpointing_layer: false")?;
    }
    if class.checkpointing_layer {
        writeln!(text, "    checkpointing_layer: true")?;
    }
    if !class.init.is_empty() {
        writeln!(text, "    init: |")?;
        class.init.iter().try_for_each(|line| writeln!(text, "      {line}"))?;
    }
    class.methods.iter().try_for_each(|(name, code)| match class.properties.contains(name) {
        true => function(text, 4, &format!("property {name}"), code),
        false => function(text, 4, name, code),
    })
}

fn function(text: &mut String, indent: usize, name: &str, code: &Code) -> std::fmt::Result {
    key(text, indent, &format!("{name}({})", code.parameters))?;
    writeln!(text, " |")?;
    if code.lines.is_empty() {
        writeln!(text, "{:indent$}  return None", "")?;
    }
    code.lines.iter().try_for_each(|line| writeln!(text, "{:indent$}  {line}", ""))
}

/// The longest key of YAML that needs no sign before it (YAML 1.2, 7.4.2).
const LONGEST_KEY: usize = 1000;

/// A key of YAML, in quotes where it needs them.
fn key(text: &mut String, indent: usize, key: &str) -> std::fmt::Result {
    let needs = key.contains(['"', '{', '[', '#', '&', '*']) || key.contains(": ");
    let key = if needs { format!("'{}'", key.replace('\'', "\"")) } else { key.to_owned() };
    match key.len() > LONGEST_KEY {
        true => write!(text, "{:indent$}? {key}\n{:indent$}:", "", ""),
        false => write!(text, "{:indent$}{key}:", ""),
    }
}
