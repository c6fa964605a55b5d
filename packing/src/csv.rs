//! Buffers as text: minimalloc's CSV, one buffer a line, columns named by the first line and in any order.
//!
//! ```text
//! id,lower,upper,size[,alignment][,offset]      a lifetime is [lower, upper)
//! id,start,end,size[,alignment][,offset]        a lifetime is [start, end]: `end` still lives
//! ```
//!
//! An empty alignment or offset is none. Ids are plain text; nothing is quoted.

use std::fmt::Write;

use rustc_hash::FxHashMap;

use crate::buffer::{Buffer, LARGEST};

/// Why text is no list of buffers, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {fault}", .column.map_or(String::new(), |column| format!(", column `{column}`")))]
pub struct CsvError {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, where it is about one.
    pub column: Option<&'static str>,
    /// What is wrong there.
    pub fault: CsvFault,
}

/// What is wrong in a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvFault {
    /// The text has no line.
    #[error("there is no header: `id,lower,upper,size` is expected")]
    Empty,
    /// Bytes that are no text.
    #[error("this is not UTF-8")]
    NotText,
    /// A column that is not known.
    #[error("unknown column `{}`: known are id, lower, upper, start, end, size, alignment, offset", shortened(.name))]
    UnknownColumn {
        /// Its name.
        name: String,
    },
    /// Two columns of one meaning.
    #[error("the header has it twice")]
    ColumnTwice,
    /// A column that is needed.
    #[error("the header does not have it")]
    ColumnMissing,
    /// A line with more or fewer fields than the header.
    #[error("{found} fields, where the header has {expected}")]
    Fields {
        /// Fields of the line.
        found: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// A field without anything.
    #[error("it is empty")]
    Nothing,
    /// A quote: ids are plain.
    #[error("quotes are not read: write `{}` plainly", shortened(.text))]
    Quoted {
        /// The field.
        text: String,
    },
    /// A field that is no whole number, or not of 64 bits.
    #[error("`{}` is no whole number of 64 bits", shortened(.text))]
    NoNumber {
        /// The field.
        text: String,
    },
    /// Bytes below 0 or above 2^60.
    #[error("{} is not between {least} and 2^60 bytes", shortened(.text))]
    OutOfRange {
        /// The field.
        text: String,
        /// The least that makes sense.
        least: i64,
    },
    /// A lifetime that ends before it begins.
    #[error("the lifetime ends at {upper}, which is not after {lower}")]
    Lifetime {
        /// When it begins.
        lower: i64,
        /// When it ends: not alive any more.
        upper: i64,
    },
    /// An id that occurred before.
    #[error("`{}` is already the id of line {first}", shortened(.id))]
    Duplicate {
        /// The id.
        id: String,
        /// The line in which it occurred.
        first: usize,
    },
}

/// What the columns say; where `end` is one, it still lives.
const COLUMNS: [(&str, Column); 11] = [
    ("id", Column::Id),
    ("buffer", Column::Id),
    ("buffer_id", Column::Id),
    ("lower", Column::Lower),
    ("start", Column::Lower),
    ("begin", Column::Lower),
    ("upper", Column::Upper),
    ("end", Column::Upper),
    ("size", Column::Size),
    ("alignment", Column::Alignment),
    ("offset", Column::Offset),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Id,
    Lower,
    Upper,
    Size,
    Alignment,
    Offset,
}

/// The columns of a text.
struct Header {
    /// Which field says what.
    fields: [Option<usize>; 6],
    count: usize,
    /// Whether the end of a lifetime still lives.
    end_lives: bool,
}

/// Reads buffers.
pub fn read(text: &[u8]) -> Result<Vec<Buffer>, CsvError> {
    let mut lines = text.split(|byte| *byte == b'\n').enumerate().map(|(number, line)| (number + 1, line));
    let header = lines.next().map_or(&[][..], |(_, line)| line);
    let header = header_of(line_text(1, header)?)?;
    let mut buffers = Vec::new();
    let mut seen: FxHashMap<String, usize> = FxHashMap::default();
    for (number, line) in lines {
        let line = line_text(number, line)?;
        if line.is_empty() {
            continue;
        }
        let buffer = header.buffer(number, line)?;
        if let Some(first) = seen.insert(buffer.id.clone(), number) {
            return Err(error(number, Some("id"), CsvFault::Duplicate { id: buffer.id, first }));
        }
        buffers.push(buffer);
    }
    Ok(buffers)
}

/// Writes buffers with their offsets in bytes, one for each; alignments where a buffer has one.
pub fn write(buffers: &[Buffer], offsets: &[u64]) -> String {
    let aligned = buffers.iter().any(|buffer| buffer.alignment.is_some());
    let mut text = format!("id,lower,upper,size{},offset\n", if aligned { ",alignment" } else { "" });
    for (buffer, offset) in buffers.iter().zip(offsets) {
        let _ = write!(text, "{},{},{},{}", buffer.id, buffer.lower, buffer.upper, buffer.size);
        if aligned {
            let _ = write!(text, ",{}", buffer.alignment.map_or(String::new(), |alignment| alignment.to_string()));
        }
        let _ = writeln!(text, ",{offset}");
    }
    text
}

fn error(line: usize, column: Option<&'static str>, fault: CsvFault) -> CsvError {
    CsvError { line, column, fault }
}

fn line_text(number: usize, line: &[u8]) -> Result<&str, CsvError> {
    std::str::from_utf8(line).map(str::trim).map_err(|_| error(number, None, CsvFault::NotText))
}

fn header_of(line: &str) -> Result<Header, CsvError> {
    let line = line.trim_start_matches('\u{feff}');
    if line.is_empty() {
        return Err(error(1, None, CsvFault::Empty));
    }
    let mut header = Header { fields: [None; 6], count: 0, end_lives: false };
    for name in line.split(',').map(str::trim) {
        let Some(&(known, column)) = COLUMNS.iter().find(|(known, _)| *known == name) else {
            return Err(error(1, None, CsvFault::UnknownColumn { name: name.to_owned() }));
        };
        header.end_lives |= known == "end";
        if header.fields[column as usize].replace(header.count).is_some() {
            return Err(error(1, Some(known), CsvFault::ColumnTwice));
        }
        header.count += 1;
    }
    for (name, column) in
        [("id", Column::Id), ("lower", Column::Lower), ("upper", Column::Upper), ("size", Column::Size)]
    {
        if header.fields[column as usize].is_none() {
            return Err(error(1, Some(name), CsvFault::ColumnMissing));
        }
    }
    Ok(header)
}

impl Header {
    fn buffer(&self, number: usize, line: &str) -> Result<Buffer, CsvError> {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        if fields.len() != self.count {
            let fault = CsvFault::Fields { found: fields.len(), expected: self.count };
            return Err(error(number, None, fault));
        }
        let field = |column: Column| self.fields[column as usize].map_or("", |at| fields[at]);
        let upper_name = if self.end_lives { "end" } else { "upper" };
        let id = field(Column::Id);
        if id.is_empty() {
            return Err(error(number, Some("id"), CsvFault::Nothing));
        }
        if id.contains('"') {
            return Err(error(number, Some("id"), CsvFault::Quoted { text: id.to_owned() }));
        }
        let lower = number_of(number, "lower", field(Column::Lower))?;
        let end = number_of(number, upper_name, field(Column::Upper))?;
        let upper = if self.end_lives { end.checked_add(1) } else { Some(end) };
        let upper = upper.ok_or_else(|| {
            error(number, Some(upper_name), CsvFault::NoNumber { text: field(Column::Upper).to_owned() })
        })?;
        if upper <= lower {
            return Err(error(number, Some(upper_name), CsvFault::Lifetime { lower, upper }));
        }
        Ok(Buffer {
            id: id.to_owned(),
            lower,
            upper,
            size: bytes_of(number, "size", field(Column::Size), 0)?,
            alignment: optional(number, "alignment", field(Column::Alignment), 1)?,
            offset: optional(number, "offset", field(Column::Offset), 0)?,
        })
    }
}

fn number_of(line: usize, column: &'static str, text: &str) -> Result<i64, CsvError> {
    if text.is_empty() {
        return Err(error(line, Some(column), CsvFault::Nothing));
    }
    text.parse().map_err(|_| error(line, Some(column), CsvFault::NoNumber { text: text.to_owned() }))
}

fn bytes_of(line: usize, column: &'static str, text: &str, least: i64) -> Result<u64, CsvError> {
    let number = number_of(line, column, text)?;
    match u64::try_from(number) {
        Ok(bytes) if number >= least && bytes <= LARGEST => Ok(bytes),
        _ => Err(error(line, Some(column), CsvFault::OutOfRange { text: text.to_owned(), least })),
    }
}

fn optional(line: usize, column: &'static str, text: &str, least: i64) -> Result<Option<u64>, CsvError> {
    if text.is_empty() { Ok(None) } else { bytes_of(line, column, text, least).map(Some) }
}

/// A field as a message shows it: short, and on one line.
fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        shown.push_str("...");
    }
    shown
}
