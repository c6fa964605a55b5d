//! What Python's names hold: read off the lines of the stack traces.
//!
//! ```text
//! File "modeling.py", line 12, in forward        one line for each module that runs, outermost first
//!     hidden_states = self.mlp(hidden_states)    the name holds what the line's last call gives, until it is bound anew
//! ```
//!
//! PyTorch 2.8 to 2.11 write the frames of functions called `forward` (torch/fx/_symbolic_trace.py, `_record_forward_stack_traces_only`);
//! a tensor that no line names goes after its last use.

/// The line of a frame: its number, and its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line<'a> {
    /// The file and the line's number, as written.
    pub place: &'a str,
    /// The text.
    pub text: &'a str,
}

/// The line that runs in the frame at a depth, outermost first; None where the trace has other frames than modules.
pub fn line<'a>(trace: Option<&'a str>, depth: usize, modules: usize) -> Option<Line<'a>> {
    let trace = trace?;
    let mut frames = 0;
    let mut found = None;
    let mut lines = trace.split('\n');
    while let Some(place) = lines.next() {
        let place = place.trim_start();
        if !place.starts_with("File \"") || !place.ends_with(", in forward") {
            continue;
        }
        let text = lines.next().unwrap_or_default().trim();
        if frames == depth {
            found = Some(Line { place, text });
        }
        frames += 1;
    }
    found.filter(|_| frames >= modules)
}

/// What a line binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The names, one or several.
    pub names: Vec<&'a str>,
    /// Whether one call is all of its right side, so that each time it runs is a time of its own.
    pub one_call: bool,
}

/// The names that a line binds; None where it binds none that is plain.
pub fn binding(text: &str) -> Option<Binding<'_>> {
    let equals = assignment(text)?;
    let (left, right) = (&text[..equals], &text[equals + 1..]);
    let left = left.trim_end_matches(['+', '-', '*', '/', '@', '|', '&']);
    let left = left.split(':').next().unwrap_or(left);
    let names: Vec<&str> = left.split(',').map(str::trim).collect();
    let plain = |name: &&str| {
        let mut characters = name.chars();
        characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && characters.all(|other| other.is_alphanumeric() || other == '_')
    };
    let parts = right.split_once('(');
    let one_call =
        parts.is_some_and(|(callee, given)| is_place(callee) && !given.contains(['(', '[', '+', '-', '*', '/', '@']));
    names.iter().all(plain).then_some(Binding { names, one_call })
}

/// Whether a text is a place without any operation: `self.layers[i]`.
fn is_place(text: &str) -> bool {
    text.trim().chars().all(|character| character.is_alphanumeric() || matches!(character, '_' | '.' | '[' | ']'))
}

/// Where the line's `=` is, if it is an assignment: outside brackets, and no comparison.
fn assignment(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    for (place, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' | b'"' | b'\'' | b'#' => return None,
            b'=' if bytes.get(place + 1) == Some(&b'=') => return None,
            b'=' if place > 0 && matches!(bytes[place - 1], b'!' | b'<' | b'>' | b':') => return None,
            b'=' => return Some(place),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        binding(text).map(|binding| binding.names).unwrap_or_default()
    }

    #[test]
    fn lines_that_bind_names() {
        assert_eq!(names("x = self.conv1(x)"), ["x"]);
        assert_eq!(names("query, key = self.c_attn(x).split(self.n, dim=2)"), ["query", "key"]);
        assert_eq!(names("outputs: BaseModelOutput = self.transformer("), ["outputs"]);
        assert_eq!(names("out += identity"), ["out"]);
        for other in ["return x == y", "if a == b:", "self.x = f(x)", "x[0] = y", "f(a=b)", "x, self.y = z", ""] {
            assert_eq!(names(other), [""; 0], "{other}");
        }
        assert!(binding("input = module(input)").is_some_and(|binding| binding.one_call));
        assert!(binding("x = x + self.mlp(x)").is_some_and(|binding| !binding.one_call));
    }

    #[test]
    fn a_frame_for_each_module() {
        let trace = "File \"a.py\", line 1, in forward\n    x = self.a(x)\n  File \"b.py\", line 2, in forward\n    return x + 1";
        assert_eq!(line(Some(trace), 0, 2).map(|line| line.text), Some("x = self.a(x)"));
        assert_eq!(line(Some(trace), 1, 2).map(|line| line.text), Some("return x + 1"));
        assert_eq!(line(Some(trace), 0, 3), None);
    }
}
